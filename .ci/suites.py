"""Run every suite that needs no GPU: what ``tox run -e cpu`` does.

Without arguments in two sessions. What neither judges the study nor times anything goes first, on several workers; the
gate and the timed suites after it, alone on the machine. Arguments are pytest's, and make it one session.
"""

from __future__ import annotations

import subprocess
import sys

ALONE = "gate or timing"
"""What is serial: the study is one job for the whole machine, and beside other tests no time means anything."""

SESSIONS = (
    # worksteal: a few tests take many times as long as the rest. More workers than four gain little, and take memory.
    ["-n", "auto", "--maxprocesses", "4", "--dist", "worksteal", "-m", f"not ({ALONE})"],
    ["-m", ALONE],
)


def main(arguments: list[str]) -> int:
    """Return 0 if every session passed, else the exit code of the first that did not; all are run."""
    codes = [_pytest(session) for session in ([arguments] if arguments else SESSIONS)]
    return next((code for code in codes if code), 0)


def _pytest(arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)  # pytest has said so already
