from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from slimgate.flow import Case, Status, Verdict
from slimgate.gate import Judgement, load_run
from slimgate.gate.causes import (
    Cause,
    cause_of_complaint,
    cause_of_drift,
    cause_of_failed_tests,
    cause_of_missing_file,
    cause_of_missing_run,
    cause_of_red_job,
    causes_of_run,
    causes_to_json,
    lasting_text,
)

from fixtures.goldens import DEVICE, FP32, INT8, make_measurement, make_run

OTHER = "the record is of another run (other weights: 68588cbd49f5 → c840fa34e721)"


def verdict(
    status: Status = Status.FAIL,
    metric: str = "map50_95",
    case: Case = INT8,
    cause: str = "",
    measured: float = 0.5,
) -> Verdict:
    lines = [f"{case} {metric}: {status.value}", *([f"  cause      {cause}"] if cause else [])]
    return Verdict(
        case=case,
        metric=metric,
        status=status,
        measured=measured,
        floor=0.8,
        unit="fraction",
        message="\n".join([*lines, f"  measured   {measured}"]),
    )


def causes_of(folder: Path, *verdicts: Verdict, **options: bool) -> list[Cause]:
    judgement = Judgement(verdicts=verdicts)
    return causes_of_run(load_run(make_run(folder, [make_measurement()], judgement)), **options)


def test_the_same_cause_on_another_night_has_the_same_fingerprint(tmp_path: Path) -> None:
    (one,) = causes_of(tmp_path / "a", verdict(measured=0.5))
    (two,) = causes_of(tmp_path / "b", verdict(measured=0.41), verdict(Status.PASS, "map50"))
    assert one.fingerprint == two.fingerprint
    assert len(one.fingerprint) == 12
    assert one.title == "codes/int8@onnxruntime: FAIL: map50_95"


def test_a_failure_is_one_cause_per_case_and_kind_of_floor(tmp_path: Path) -> None:
    causes = causes_of(
        tmp_path / "run",
        verdict(metric="map50_95"),
        verdict(metric="recall/qrcode"),
        verdict(metric="size_bytes"),
        verdict(case=FP32),
        verdict(Status.INCONCLUSIVE),
    )
    assert len({cause.fingerprint for cause in causes}) == 4
    assert causes[0].title == "codes/int8@onnxruntime: FAIL: map50_95, recall/qrcode"


def test_what_cannot_be_judged_is_one_cause_per_reason_whatever_the_cases(tmp_path: Path) -> None:
    invalid = [
        verdict(Status.INVALID, metric, case, OTHER)
        for case in (FP32, INT8)
        for metric in ("map50_95", "size_bytes")
    ]
    missing = verdict(Status.INVALID, "map75", INT8, "the metric was not measured")
    causes = causes_of(tmp_path / "run", *invalid, missing)
    assert [cause.title for cause in causes] == [
        "codes: INVALID: the record is of another run (other weights)",
        "codes: INVALID: the metric was not measured",
    ]
    assert len(causes[0].verdicts) == 4


@pytest.mark.parametrize(
    ("tonight", "tomorrow"),
    [
        (OTHER, OTHER.replace("c840fa34e721", "0123456789ab")),
        ("the reference codes/fp32@onnxruntime has no map50", "the reference codes/fp32@torch has no map50"),
        (
            "no floor: paste into [case.floor]: map50 = { min = 0.79 }",
            "no floor: paste into [case.floor]: map75 = { min = 0.71 }",
        ),
        ("the A/A control was off by 7.1 %", "the A/A control was off by 12 %"),
        ("it failed: /tmp/a/x.onnx: no such file", "it failed: /home/ci/b/x.onnx: no such file"),
        ("measured nan, which is no number", "measured nan, which is no number"),
    ],
)
def test_what_passes_does_not_enter_a_cause(tonight: str, tomorrow: str) -> None:
    assert lasting_text(tonight) == lasting_text(tomorrow)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (OTHER, OTHER.replace("weights", "dataset")),
        ("it failed: x.onnx: no such file", "it failed: y.onnx: no such file"),
        ("no floor: paste into [case.floor]: a", "no record of an accepted run stands behind the floor"),
    ],
)
def test_different_causes_stay_different(one: str, other: str) -> None:
    assert lasting_text(one) != lasting_text(other)


def test_the_body_holds_the_fingerprint_the_messages_and_where_they_come_from(tmp_path: Path) -> None:
    (cause,) = causes_of(tmp_path / "run", *(verdict(metric=f"recall/{index}") for index in range(12)))
    body = cause.to_markdown()
    assert body.startswith(f"<!-- slimgate-cause: {cause.fingerprint} -->\n12 verdicts in 1 cases of `codes`")
    assert f"`codes`: codes/int8@onnxruntime\n\nRun `now`, commit 1234567890ab, device {DEVICE}.\n" in body
    assert "codes/int8@onnxruntime recall/0: FAIL\n  measured   0.5" in body
    assert "\n```text\ncodes/int8@onnxruntime recall/0: FAIL\n" in body
    assert body.endswith("\n```\nand 2 more, in the report\n")
    (cause,) = causes_of(tmp_path / "ten", *(verdict(metric=f"recall/{index}") for index in range(10)))
    assert cause.to_markdown().endswith("  measured   0.5\n```\n")


def test_what_is_invalid_without_a_cause_goes_by_its_first_line(tmp_path: Path) -> None:
    invalid = [verdict(Status.INVALID, measured=value) for value in (0.5, 0.4)]
    told = [replace(one, message=f"{one.message}\n  reproduce  slimgate study") for one in invalid]
    causes = causes_of(tmp_path / "run", *told)
    assert [cause.title for cause in causes] == ["codes: INVALID: <case> map50_95: INVALID"]


def test_messages_of_failed_tests_stand_apart_and_no_more_than_ten() -> None:
    cause = cause_of_failed_tests("two broke", ("test", "a"), ["first\nline", "second"])
    assert cause.text == "```text\nfirst\nline\n\nsecond\n```"
    ten, eleven = (cause_of_failed_tests("t", ("k",), ["m"] * count).text for count in (10, 11))
    assert ten.endswith("m\n```")
    assert eleven.endswith("m\n```\nand 1 more, in the JUnit XML")


def test_a_stale_floor_is_a_cause_only_where_floors_are_strict(tmp_path: Path) -> None:
    assert causes_of(tmp_path / "a", verdict(Status.STALE)) == []
    (cause,) = causes_of(tmp_path / "b", verdict(Status.STALE), strict_floors=True)
    judgement = Judgement(verdicts=(verdict(Status.STALE),))
    ran_strict = load_run(make_run(tmp_path / "c", [make_measurement()], judgement, strict_floors=True))
    assert causes_of_run(ran_strict) == [cause]
    assert "STALE" in cause.title


def test_silence_is_a_cause(tmp_path: Path) -> None:
    (nothing,) = causes_of(tmp_path / "run")
    assert nothing.title == "codes: the gate judged nothing"
    missing, job = cause_of_missing_run(tmp_path / "nightly"), cause_of_red_job("latency")
    assert missing.title == "nightly: no run was written"
    assert missing.text.startswith("There is no run at `nightly`: the job ended before anything was judged.")
    assert job.title == "latency: red without a red verdict"
    assert job.text == (
        "The job `latency` was red and no verdict explains it: a test outside the gate failed, or fewer cases ran "
        "than were asked for, and neither the run nor the JUnit XML holds it. Its log says which."
    )
    assert len({nothing.fingerprint, missing.fingerprint, job.fingerprint}) == 3


def test_fingerprints_do_not_change_with_the_release(tmp_path: Path) -> None:
    """Issues are found by them: with others, every issue that is open would be opened a second time."""
    found = {
        cause_of_missing_run(tmp_path / "night"): "no run\nnight",
        cause_of_missing_file(tmp_path / "junit.xml"): "no file\njunit.xml",
        cause_of_drift("codes/a@b", "map50", "text"): "drift\ncodes/a@b\nmap50",
        cause_of_complaint("accuracy", "too few cases"): "session\naccuracy\ntoo few cases",
        cause_of_red_job("latency"): "job\nlatency",
    }
    for cause, key in found.items():
        assert cause.fingerprint == hashlib.sha256(key.encode()).hexdigest()[:12]


def test_a_session_that_did_not_end_or_was_red_as_a_whole_is_a_cause(tmp_path: Path) -> None:
    file = cause_of_missing_file(tmp_path / "junit-latency.xml")
    assert file.title == "junit-latency.xml: the session did not come to its end"
    assert file.text.startswith("There is no `junit-latency.xml`: pytest writes it at the very end")
    assert file.fingerprint != cause_of_missing_run(tmp_path / "junit-latency.xml").fingerprint
    one, two = (cause_of_complaint("accuracy", f"{count} cases ran\nof 20") for count in (3, 4))
    assert one.title == "accuracy: 3 cases ran"
    assert one.text.endswith("whatever its verdicts:\n\n```text\n3 cases ran\nof 20\n```")
    assert one.fingerprint == two.fingerprint != cause_of_complaint("size", "3 cases ran").fingerprint


def test_a_cause_that_two_runs_share_is_listed_once(tmp_path: Path) -> None:
    causes = [*causes_of(tmp_path / "a", verdict()), *causes_of(tmp_path / "b", verdict())]
    document = causes_to_json(causes)
    assert document["format"] == "slimgate-causes/1"
    (only,) = document["causes"]
    assert only["cases"] == ["codes/int8@onnxruntime"]
    assert only["body"] == causes[0].to_markdown()
