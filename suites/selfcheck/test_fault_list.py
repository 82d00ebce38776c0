"""The list of planted faults and the document that is made of it: whole, in step, and able to fail."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from slimgate.flow import Case, Status, Verdict
from slimgate.gate import judge
from slimgate.gate.kinds import is_timed
from slimgate.measure import METRICS

from fixtures.fault_table import DOCUMENT, brief, document_from, masked, messages_of
from fixtures.faults import AREAS, FAULTS, OPTION, Caught, Fault, read_faults
from fixtures.goldens import DEVICE, make_floor, make_measurement, make_record

FAULT = Fault(name="a plant", area="data", planted="something", check="a check", says="the cause")


def test_there_are_enough_of_them_and_every_area_has_some() -> None:
    counted = Counter(fault.area for fault in FAULTS.values())
    assert sum(counted.values()) >= 40
    assert [area for area in AREAS if not counted[area]] == []


def test_the_document_is_what_the_list_and_the_results_make(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption(OPTION):
        pytest.skip("it is being written")
    text = DOCUMENT.read_text(encoding="utf-8")
    messages = messages_of(DOCUMENT)
    assert set(messages) == set(FAULTS), f"pytest suites/selfcheck {OPTION} writes it"
    assert document_from(text, FAULTS.values(), messages) == text, (
        f"pytest suites/selfcheck {OPTION} writes it"
    )


def verdict(message: str, status: Status = Status.FAIL) -> Verdict:
    return Verdict(
        case=Case(study="s", variant="v", runtime="r"),
        metric="map50_95",
        status=status,
        measured=0.5,
        floor=0.9,
        unit="fraction",
        message=message,
    )


@pytest.mark.parametrize(
    ("red", "complaint"),
    [
        ([], "turned nothing red"),
        ([verdict("the cause", Status.PASS)], "assert"),
        ([verdict("the cause"), verdict("something else")], "does not name the cause"),
        ([verdict("another  cause")], "does not name the cause"),
        ([verdict("the cause is new")], "out of date about 'a plant'"),
    ],
)
def test_what_is_not_caught_for_the_right_reason_fails(red: list[Verdict], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        Caught(FAULT, "the cause is old").verdicts(red)


def test_of_several_only_those_about_a_metric_have_to_tell() -> None:
    other = replace(verdict("something else"), metric="misses")
    Caught(FAULT, None).verdicts([other, verdict("the cause")], about="map50")
    with pytest.raises(AssertionError, match="turned nothing about map50 red"):
        Caught(FAULT, None).verdicts([other], about="map50")


def test_what_is_caught_is_taken() -> None:
    caught = Caught(FAULT, "s/v@r: FAIL … cause the cause, 7 of 12 at device")
    caught.text("s/v@r: FAIL\n  measured  1\n  cause     the cause, 8 of 13 at cpu:AMD EPYC 9R14\n")
    assert caught.message == "s/v@r: FAIL … cause the cause, 8 of 13 at cpu:AMD EPYC 9R14"


def test_a_message_is_shown_without_folders_of_the_machine() -> None:
    assert brief("/tmp/a/b-1/weights.onnx: cut off\n  expected: more", "cut off") == "weights.onnx: cut off"
    assert brief("golden/floors/codes.toml:3: bad", "bad") == "golden/floors/codes.toml:3: bad"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("difference -0.0410 to min", "difference +0.2 to min"),
        ("weights with sha256 0a1b2c3d4e5f…", "weights with sha256 f9e8d7c6b5a4…"),
        ("1 234 567 bytes", "89 bytes"),
    ],
)
def test_what_differs_between_machines_does_not_count(one: str, other: str) -> None:
    assert masked(one) == masked(other)
    assert masked(one) != masked(f"{one} and more")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('area = "nowhere"', "unknown area 'nowhere'"),
        ('area = "data"', "two faults are called 'a plant'"),
    ],
)
def test_a_list_that_cannot_be_meant(tmp_path: Path, text: str, complaint: str) -> None:
    entry = f'[[fault]]\nname = "a plant"\n{text}\nplanted = "p"\ncheck = "c"\nsays = "s"\n'
    (tmp_path / "list.toml").write_text(entry * 2)
    with pytest.raises(ValueError, match=complaint):
        read_faults(tmp_path / "list.toml")


def test_a_finding_can_be_read_by_itself() -> None:
    """Rows are in the order of the flow: what a row before said may stand after it."""
    findings = [fault for fault in FAULTS.values() if fault.added]
    assert findings
    assert [fault.name for fault in findings if fault.added.startswith("the same")] == []


def fails_of(metric: str) -> list[str]:
    """Return what every FAIL of a metric prints, too high and too low, timed or not: all but where to look."""
    timed = {"device": DEVICE, "interval": (0.6, 0.7), "confidence": 0.95} if is_timed(metric) else {}
    measurement = make_measurement(metric, 0.65, **timed)
    bounds: tuple[dict[str, float], ...] = (
        {"min": 0.8, "max": 0.9},
        {"max": 0.5},
        {"min": 0.8},
        {"min": 0.1, "max": 0.2},
    )
    messages = []
    for bound in bounds:
        floor = make_floor(metric, device=measurement.device, slack=0.01, **bound)
        verdict = judge(measurement, floor, record=make_record(measurement))
        assert verdict.status is Status.FAIL
        messages.append("\n".join(line for line in verdict.message.splitlines() if "  look at " not in line))
    return messages


def bare(text: str) -> str:
    """Return a text without its numbers and spaces, as a phrase is looked for: any number of any FAIL."""
    return re.sub(r"\s+", "", masked(" ".join(text.split()).lower()))


PRINTED = [bare(text) for metric in (*METRICS, "recall/qrcode") for text in fails_of(metric)]


def is_vacuous(phrase: str) -> bool:
    """Return whether a phrase names no cause: any FAIL holds it, or it is a headline, or a single plain word."""
    headlines = [f"{metric}: {status}".lower() for metric in (*METRICS, "recall/qrcode") for status in Status]
    return (
        any(bare(phrase) in text for text in PRINTED)
        or phrase.lower() in headlines
        or (phrase.isalpha() and len(phrase) < 4)
    )


@pytest.mark.parametrize("name", FAULTS)
def test_every_phrase_names_a_cause_and_not_what_any_fail_prints(name: str) -> None:
    assert not is_vacuous(FAULTS[name].says)


@pytest.mark.parametrize(
    "phrase",
    [
        "difference",
        "difference -0.0410 to min",
        "measured 0.6000",
        "measured 24 000 000 bytes",
        "floor min 0.9699, max 0.9701",
        "to max",
        "max 1.1500",
        "interval 1.8000 to 1.9000",
        "parity_max_abs: FAIL",
        "map50_95: STALE",
        "NaN",
    ],
)
def test_a_phrase_that_any_fail_prints_is_noticed(phrase: str) -> None:
    assert is_vacuous(phrase)


SUITE = """
import pytest
@pytest.mark.fault("NaN")
def test_one(): pass
"""


def run_with_list(pytester: pytest.Pytester, suite: str) -> pytest.RunResult:
    pytester.makepyfile(suite)
    return pytester.runpytest_inprocess(
        "-p", "fixtures.faults", "-p", "no:randomly", "-p", "no:cacheprovider"
    )


def test_a_test_that_plants_and_shows_nothing_fails(pytester: pytest.Pytester) -> None:
    result = run_with_list(pytester, SUITE)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["'NaN' was planted, and nothing is shown that caught it"])


@pytest.mark.parametrize(
    ("suite", "complaint"),
    [
        (SUITE.replace("NaN", "NaNs"), "*unknown fault 'NaNs'; did you mean 'NaN'?"),
        (SUITE + SUITE.replace("test_one", "test_two"), "*'NaN' is planted by * already"),
    ],
)
def test_a_mark_that_is_not_of_the_list_is_refused(
    pytester: pytest.Pytester, suite: str, complaint: str
) -> None:
    result = run_with_list(pytester, suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([complaint])
