"""Why runs are red, as causes that keep their fingerprint from night to night, so that each is reported once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimgate.errors import name_offenders
from slimgate.flow import Json, Status, Verdict
from slimgate.gate.kinds import kind_of
from slimgate.gate.serialise import RunFiles

CAUSES_FORMAT = "slimgate-causes/1"

_SHOWN = 10
_DIGITS = 12
_MOST_TEXT = 4000
_CAUSE_LINE = re.compile(r"^ {2}cause +(.+)$", re.MULTILINE)
_PASSING = (
    # What differs from night to night while the cause stays the same, and what stands in its place.
    (re.compile(r"[\w.+-]+/[\w.+-]+@[\w.+-]+"), "<case>"),
    (re.compile(r": paste into \[case\.floor\].*", re.DOTALL), ""),
    (re.compile(r"(?:/[\w.+-]+)+/"), ""),
    (re.compile(r": [^():]*→[^()]*(?=\))"), ""),
    (re.compile(r"\b[0-9a-f]{8,}\b"), "#"),
    (re.compile(r"-?\b\d[\d ,.]*\d|\b\d\b"), "#"),
)


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One reason for red, however many verdicts it made red.

    Attributes:
        fingerprint: twelve hexadecimal digits; the same reason has the same on another night.
        title: one line for people.
        text: Markdown: what is red, with the gate's messages.
        verdicts: what it made red; empty where nothing was judged at all.
    """

    fingerprint: str
    title: str
    text: str
    verdicts: tuple[Verdict, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return the cause as JSON values."""
        return {
            "fingerprint": self.fingerprint,
            "title": self.title,
            "cases": sorted({str(verdict.case) for verdict in self.verdicts}),
            "body": self.to_markdown(),
        }

    def to_markdown(self) -> str:
        """Return the body of an issue; a comment in it holds the fingerprint, for a machine to find."""
        return f"<!-- slimgate-cause: {self.fingerprint} -->\n{self.text}\n"


def causes_of_run(files: RunFiles, *, strict_floors: bool = False) -> list[Cause]:
    """Return the causes of a run's red verdicts, worst first.

    What cannot be judged is one cause per reason, whatever the cases: a new checkpoint makes every verdict of a
    study INVALID, and is one cause. What was judged and does not hold is one cause per case and kind of floor.
    """
    study = str(files.run["study"]["id"])
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in files.judgement.red(strict_floors=strict_floors or files.strict_floors):
        groups.setdefault(_key_of(study, verdict), []).append(verdict)
    causes = [_cause_of_verdicts(key, verdicts, files) for key, verdicts in groups.items()]
    if not files.judgement.verdicts:
        text = f"The run of `{study}` at `{files.directory.name}` judged nothing."
        causes.append(_cause((study, "nothing judged"), f"{study}: the gate judged nothing", text))
    return causes


def cause_of_missing_run(directory: Path) -> Cause:
    """Return the cause that a run directory is not there: the job ended before anything was judged."""
    text = f"There is no run at `{directory.name}`: the job ended before anything was judged. Its log says where."
    return _cause(("no run", directory.name), f"{directory.name}: no run was written", text)


def cause_of_missing_file(path: Path) -> Cause:
    """Return the cause that a session did not come to its end: its JUnit XML is not there."""
    text = f"There is no `{path.name}`: pytest writes it at the very end, and did not come so far. The log says where."
    return _cause(("no file", path.name), f"{path.name}: the session did not come to its end", text)


def cause_of_drift(case: str, metric: str, text: str) -> Cause:
    """Return the cause that a metric has drifted for the worse since the pinned baseline."""
    body = f"A lasting change for the worse since the baseline in `golden/baseline.toml`.\n\n```text\n{text}\n```"
    return _cause(("drift", case, metric), f"{case}: DRIFT: {metric}", body)


def cause_of_complaint(lane: str, complaint: str) -> Cause:
    """Return the cause that a session was red as a whole: too few cases ran, or the gate judged nothing."""
    first = complaint.partition("\n")[0]
    text = f"The session of `{lane}` was red as a whole, whatever its verdicts:\n\n```text\n{complaint}\n```"
    return _cause(("session", lane, lasting_text(first)), f"{lane}: {first}", text)


def cause_of_failed_tests(title: str, key: tuple[str, ...], messages: Sequence[str]) -> Cause:
    """Return the cause that tests failed for which no verdict speaks.

    Args:
        title: one line for people.
        key: what stays the same from night to night.
        messages: what the tests said.
    """
    shown = "\n\n".join(message[:_MOST_TEXT] for message in messages[:_SHOWN])
    more = f"\nand {len(messages) - _SHOWN} more, in the JUnit XML" if len(messages) > _SHOWN else ""
    return _cause(key, title, f"```text\n{shown}\n```{more}")


def cause_of_red_job(name: str) -> Cause:
    """Return the cause that a job was red though no verdict was: a test of another kind, or too few cases."""
    text = (
        f"The job `{name}` was red and no verdict explains it: a test outside the gate failed, or fewer cases ran "
        "than were asked for, and neither the run nor the JUnit XML holds it. Its log says which."
    )
    return _cause(("job", name), f"{name}: red without a red verdict", text)


def causes_to_json(causes: Iterable[Cause]) -> dict[str, Json]:
    """Return a document of causes, each once."""
    by_fingerprint = {cause.fingerprint: cause.to_json() for cause in causes}
    return {"format": CAUSES_FORMAT, "causes": list(by_fingerprint.values())}


def lasting_text(text: str) -> str:
    """Return a cause's text without what passes: case ids, numbers, hashes, folders."""
    for pattern, replacement in _PASSING:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def _key_of(study: str, verdict: Verdict) -> tuple[str, ...]:
    if verdict.status is Status.INVALID:
        return (study, verdict.status.value, lasting_text(_reason_of(verdict)))
    return (study, verdict.status.value, str(verdict.case), kind_of(verdict.metric))


def _reason_of(verdict: Verdict) -> str:
    found = _CAUSE_LINE.search(verdict.message)
    return found[1] if found else verdict.message.partition("\n")[0]


def _cause_of_verdicts(key: tuple[str, ...], verdicts: Sequence[Verdict], files: RunFiles) -> Cause:
    first = verdicts[0]
    cases = sorted({str(verdict.case) for verdict in verdicts})
    if first.status is Status.INVALID:
        title = f"{key[0]}: INVALID: {key[2]}"
    else:
        metrics = name_offenders(dict.fromkeys(verdict.metric for verdict in verdicts))
        title = f"{first.case}: {first.status.value}: {metrics}"
    commit = str(files.run.get("git", {}).get("commit") or "no commit")[:_DIGITS]
    lines = [
        f"{len(verdicts)} verdicts in {len(cases)} cases of `{key[0]}`: {name_offenders(cases)}",
        "",
        f"Run `{files.run['run_id']}`, commit {commit}, device {files.run.get('device', 'unknown')}.",
        "",
        "```text",
        "\n\n".join(verdict.message for verdict in verdicts[:_SHOWN]),
        "```",
    ]
    if len(verdicts) > _SHOWN:
        lines.append(f"and {len(verdicts) - _SHOWN} more, in the report")
    return _cause(key, title, "\n".join(lines), tuple(verdicts))


def _cause(key: tuple[str, ...], title: str, text: str, verdicts: tuple[Verdict, ...] = ()) -> Cause:
    digest = hashlib.sha256("\n".join(key).encode()).hexdigest()
    return Cause(fingerprint=digest[:_DIGITS], title=title, text=text, verdicts=verdicts)
