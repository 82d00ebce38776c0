"""Mutation testing of the rooms that find and judge: mutmut on a sample, and its outcome as JSON.

    python .ci/mutants.py [--sample N] [--seed S] [--only GLOB ...] [--jobs N]

mutmut wants the package below ``src``, so it runs in a stage of links (``.mutants``), one for each room: a mutant is
tried on the tests of its own room that reach it. ``measure`` is not among them: mutants are tried in forks of a process
in which the tests have run, and the evaluator's threads do not live on in a fork, so that it waits for them for ever.

What is counted and who survived goes to ``suites/selfcheck/results/mutants.json``, from which ``docs/faults.md`` is
made.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STAGE = ROOT / ".mutants"
RESULT = ROOT / "suites" / "selfcheck" / "results" / "mutants.json"
ROOMS = ("gate", "detect")
LINKED = (
    ".ci",
    ".github",
    ".gitlab-ci.yml",
    "conftest.py",
    "docs",
    "fixtures",
    "golden",
    "README.md",
    "suites",
    "tox.ini",
)
KILLED = (1, 3, -11, -9, -24, 24, 36, 152)
"""A test failed, pytest broke, or the mutant crashed or ran for ever."""

UNTESTED = 33

FIRST = {
    "gate": "slimgate.gate.pays.x__bound__mutmut_1",
    "detect": "slimgate.detect.boxes.x_box_iou__mutmut_1",
}


def main() -> int:
    """Run mutmut on a sample of the mutants and write the outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sample", type=int, default=0, help="mutants to try, of all rooms (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", action="append", default=[], metavar="GLOB", help="only mutants so called")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at a time (default: 1)")
    parser.add_argument("--report", action="store_true", help="try nothing, only write the outcome again")
    arguments = parser.parse_args()
    for room in ROOMS:
        make_stage(room)
    if not arguments.report:
        names = []
        for room in ROOMS:
            # A run of one mutant makes all of them, and learns which test reaches which function.
            run_mutmut(room, [FIRST[room]], arguments.jobs)
            names += sorted(read_outcomes(room))
        chosen = choose(names, arguments)
        for room in ROOMS:
            of_room = [name for name in chosen if name.startswith(f"slimgate.{room}.")]
            if of_room:
                run_mutmut(room, of_room, arguments.jobs)
    write_result(arguments)
    return 0


def make_stage(room: str) -> None:
    """Make a folder in which the package lies where mutmut looks for it, set to a room and its tests."""
    stage = STAGE / room
    stage.mkdir(parents=True, exist_ok=True)
    for name, target in (("src", ROOT / "lib"), *((name, ROOT / name) for name in LINKED)):
        link = stage / name
        if not link.is_symlink():
            link.symlink_to(target)
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8").rstrip()
    settings += f"""
only_mutate = ["src/slimgate/{room}/*"]
pytest_add_cli_args_test_selection = ["suites/unit/{room}"]
"""
    (stage / "pyproject.toml").write_text(settings, encoding="utf-8")


def run_mutmut(room: str, names: list[str], jobs: int) -> None:
    """Run mutmut on these mutants of a room, so many at a time."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *names]
    subprocess.run(command, cwd=STAGE / room, check=True)


def read_outcomes(room: str) -> dict[str, int | None]:
    """Return the exit code of every mutant of a room by its name; None where it was not tried."""
    found: dict[str, int | None] = {}
    for path in (STAGE / room / "mutants" / "src" / "slimgate" / room).rglob("*.meta"):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def choose(names: list[str], arguments: argparse.Namespace) -> list[str]:
    """Return the mutants that are tried: those asked for, or a seeded sample of them."""
    if arguments.only:
        names = [name for name in names if any(fnmatch.fnmatch(name, glob) for glob in arguments.only)]
    if arguments.sample and arguments.sample < len(names):
        names = sorted(random.Random(arguments.seed).sample(names, arguments.sample))
    return names


def write_result(arguments: argparse.Namespace) -> None:
    """Write what became of the mutants, and the lines of those that survived."""
    outcomes = {name: code for room in ROOMS for name, code in read_outcomes(room).items()}
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    reasons = {one["mutant"]: one["why"] for one in known.get("survivors", ()) if one.get("why")}
    rooms: dict[str, dict[str, int]] = {}
    for room in ROOMS:
        codes = [code for name, code in outcomes.items() if name.startswith(f"slimgate.{room}.")]
        rooms[room] = {
            "mutants": len(codes),
            "tried": sum(code is not None for code in codes),
            "killed": sum(code in KILLED for code in codes),
            "survived": sum(code == 0 for code in codes),
            "untested": sum(code == UNTESTED for code in codes),
        }
    survivors = [
        describe(name, reasons.get(name, "")) for name, code in sorted(outcomes.items()) if code == 0
    ]
    result: dict[str, Any] = {
        "tool": "mutmut",
        "seed": arguments.seed,
        "rooms": rooms,
        "survivors": survivors,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def describe(name: str, why: str) -> dict[str, str]:
    """Return a mutant's function and the lines that it changes."""
    room = name.split(".")[1]
    command = [sys.executable, "-m", "mutmut", "show", name]
    shown = subprocess.run(command, cwd=STAGE / room, check=True, capture_output=True, text=True)
    lines = shown.stdout.splitlines()
    before = [line[1:] for line in lines if line.startswith("-") and not line.startswith("---")]
    after = [line[1:] for line in lines if line.startswith("+") and not line.startswith("+++")]
    function = name.partition("__mutmut_")[0].removeprefix("slimgate.").replace("x_", "", 1)
    return {
        "mutant": name,
        "function": function.replace("xǁ", "").replace("ǁ", "."),
        "before": "\n".join(before),
        "after": "\n".join(after),
        "why": why,
    }


if __name__ == "__main__":
    if shutil.which(str(Path(sys.executable).with_name("mutmut"))) is None:
        sys.exit("mutmut is not installed here: pip install 'mutmut>=3.8'")
    sys.exit(main())
