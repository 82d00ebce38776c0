"""What the images can tell is said beside a verdict, and never changes one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from slimgate.flow import Case, Difference, Measurement, Status, Verdict
from slimgate.gate import Acceptance, Floor, Judgement, judge, load_records, propose_floor, write_records
from slimgate.gate.serialise import (
    judgement_from_json,
    judgement_to_json,
    measurements_from_json,
    measurements_to_json,
)

from fixtures.goldens import FP32, INT8, make_floor, make_measurement, make_record

OTHER = Case(study="codes", variant="slim", runtime="onnxruntime")


def difference(value: float, half: float, reference: Case = FP32) -> Difference:
    return Difference(
        reference=reference,
        value=value,
        interval=(value - half, value + half),
        confidence=0.95,
        images=500,
        resamples=1000,
        seed=1,
    )


def judged(floor: Floor, value: float, half: float, reference: float = 0.9) -> Verdict:
    known = (difference(value - reference, half),)
    measurement = make_measurement(floor.metric, value, differences=known)
    return judge(
        measurement,
        floor,
        record=make_record(measurement),
        reference=make_measurement(floor.metric, reference, case=FP32),
    )


def line(verdict: Verdict, label: str) -> str:
    found = [one for one in verdict.message.splitlines() if one.startswith(f"  {label} ")]
    return found[0].removeprefix(f"  {label}").strip() if found else ""


DROP = make_floor(relative_to=FP32, max_drop=0.005)


@pytest.mark.parametrize(
    ("value", "half", "status", "said"),
    [
        (0.890, 0.004, Status.FAIL, "a drop of more than the allowed 0.005 is shown"),
        (0.894, 0.004, Status.FAIL, "a drop is shown, but not that it is more than the allowed 0.005"),
        (0.894, 0.007, Status.FAIL, "these images do not tell it from no drop at all"),
        (0.898, 0.002, Status.PASS, "within what is allowed, noise included"),
        (
            0.898,
            0.004,
            Status.PASS,
            "within what is allowed, but these images do not show that it always would be",
        ),
    ],
)
def test_a_drop_is_held_against_what_is_allowed_and_against_none(
    value: float, half: float, status: Status, said: str
) -> None:
    verdict = judged(DROP, value, half)
    assert verdict.status is status
    assert line(verdict, "noise").endswith(f"on 500 images: {said}")


@pytest.mark.parametrize(
    ("value", "half", "said"),
    [
        # Numbers that floats hold exactly: what just reaches the bound is neither beyond it nor short of it.
        (0.46875, 0.03125, "within what is allowed, noise included"),
        (0.375, 0.0625, "a drop is shown, but not that it is more than the allowed 0.0625"),
        (0.4375, 0.0625, "within what is allowed, but these images do not show that it always would be"),
    ],
)
def test_an_interval_that_just_reaches_the_bound(value: float, half: float, said: str) -> None:
    verdict = judged(make_floor(relative_to=FP32, max_drop=0.0625), value, half, 0.5)
    assert line(verdict, "noise").endswith(f"on 500 images: {said}")


def test_the_difference_is_shown_with_its_interval() -> None:
    assert line(judged(DROP, 0.894, 0.004), "noise").startswith(
        "-0.0060 to codes/fp32@onnxruntime, 95% interval -0.0100 to -0.0020 on 500 images: "
    )


def test_detectors_that_no_image_tells_apart_are_not_called_noisy() -> None:
    verdict = judged(DROP, 0.9, 0.0)
    assert line(verdict, "noise").endswith("on 500 images: no image changes it")
    assert verdict.note == ""


def test_counts_are_shown_as_counts() -> None:
    floor = make_floor("partial", relative_to=FP32, max_rise=3)
    assert line(judged(floor, 11, 2.5, 6), "noise").startswith(
        "+5 to codes/fp32@onnxruntime, 95% interval +2.5"
    )


def test_a_rise_is_held_against_what_is_allowed() -> None:
    floor = make_floor("miss_rate", relative_to=FP32, max_rise=0.01)
    assert "a rise of more than the allowed 0.01 is shown" in judged(floor, 0.12, 0.005, 0.1).message
    assert "a rise is shown, but not that it is more than" in judged(floor, 0.115, 0.008, 0.1).message
    assert "do not tell it from no rise at all" in judged(floor, 0.115, 0.02, 0.1).message
    assert "within what is allowed, noise included" in judged(floor, 0.1, 0.005, 0.1).message


@pytest.mark.parametrize(
    ("bounds", "half", "note"),
    [
        ({"max_drop": 0.005}, 0.006, "it allows 0.005, and the difference to {} is known to ±0.006"),
        ({"max_drop": 0.005}, 0.004, ""),
        ({"min_fraction": 0.99}, 0.01, "it allows 0.009, and the difference to {} is known to ±0.01"),
        ({"min_fraction": 0.95}, 0.01, ""),
        ({"max_drop": 0.0}, 0.001, "it allows 0, and the difference to {} is known to ±0.001"),
        ({"max_drop": 0.0}, 0.0, ""),
    ],
)
def test_a_relative_floor_that_is_finer_than_the_images_is_named(
    bounds: dict[str, float], half: float, note: str
) -> None:
    verdict = judged(make_floor(relative_to=FP32, **bounds), 0.9, half)
    assert verdict.status is Status.PASS
    expected = f"this floor is finer than 500 images resolve: {note.format(FP32)}" if note else ""
    assert verdict.note == expected
    assert line(verdict, "note") == expected


def test_the_slack_of_an_absolute_floor_is_held_against_what_the_images_resolve() -> None:
    coarse, fine = make_floor(min=0.895, slack=0.002), make_floor(min=0.895, slack=0.001)
    assert judged(coarse, 0.8955, 0.004).note == ""
    assert judged(fine, 0.8955, 0.004).note == (
        "this floor is finer than 500 images resolve: it has a slack of 0.001, "
        "and the difference to codes/fp32@onnxruntime is known to ±0.004"
    )


def test_an_absolute_floor_says_whether_it_is_missed_by_more_than_noise() -> None:
    floor = make_floor(min=0.9, slack=0.01)
    near, far = judged(floor, 0.897, 0.004), judged(floor, 0.89, 0.004)
    assert near.status is far.status is Status.FAIL
    assert line(near, "noise").endswith(
        "the bound is missed by less than the ±0.004 that these images resolve"
    )
    assert line(far, "noise").endswith(
        "the bound is missed by more than the ±0.004 that these images resolve"
    )
    assert line(judged(floor, 0.901, 0.004), "noise") == ""
    most = make_floor("misses", max=10, slack=5)
    assert line(judged(most, 15, 3, 9), "noise").endswith(
        "is missed by more than the ±3 that these images resolve"
    )
    assert line(judged(most, 12, 3, 9), "noise").endswith(
        "is missed by less than the ±3 that these images resolve"
    )
    assert line(judged(most, 10, 3, 9), "noise") == ""


def test_without_a_known_difference_nothing_is_said() -> None:
    plain = make_measurement(value=0.894)
    elsewhere = make_measurement(value=0.894, differences=(difference(-0.006, 0.004, OTHER),))
    for measurement in (plain, elsewhere):
        verdict = judge(
            measurement, DROP, record=make_record(plain), reference=make_measurement(value=0.9, case=FP32)
        )
        assert verdict.status is Status.FAIL
        assert (line(verdict, "noise"), line(verdict, "note"), verdict.note) == ("", "", "")


def test_what_is_invalid_has_no_noise() -> None:
    measurement = make_measurement(value=0.89, differences=(difference(-0.01, 0.02),))
    verdict = judge(measurement, DROP, record=None, reference=make_measurement(value=0.9, case=FP32))
    assert verdict.status is Status.INVALID
    assert "noise" not in verdict.message
    assert verdict.note == ""


@pytest.mark.parametrize("half", [0.0, 0.001, 0.5])
@pytest.mark.parametrize("value", [0.8, 0.8949, 0.895, 0.9, 0.95])
def test_noise_changes_no_verdict(value: float, half: float) -> None:
    for floor in (DROP, make_floor(min=0.895, slack=0.01)):
        plain = make_measurement(value=value)
        noisy = make_measurement(value=value, differences=(difference(value - 0.9, half),))
        verdicts = [
            judge(one, floor, record=make_record(plain), reference=make_measurement(value=0.9, case=FP32))
            for one in (plain, noisy)
        ]
        assert verdicts[0].status is verdicts[1].status


# Every kind of accuracy floor that there is, at the value that just holds it and the one that just does not.
KINDS: list[tuple[str, dict[str, object], float, float, float]] = [
    ("map50_95", {"relative_to": FP32, "min_fraction": 0.99}, 0.9, 0.8911, 0.8909),
    ("map50_95", {"relative_to": FP32, "min_fraction": 0.95}, 0.9, 0.8551, 0.8549),
    ("recall/qrcode", {"min": 0.9, "slack": 0.02}, 0.0, 0.9, 0.8999),
    ("recall/qrcode", {"relative_to": FP32, "max_drop": 0.02}, 0.95, 0.9301, 0.9299),
    ("recall/qrcode", {"relative_to": FP32, "min_fraction": 0.99}, 0.9, 0.8911, 0.8909),
    ("recall[codes:test]", {"relative_to": FP32, "max_drop": 0.02}, 0.95, 0.9301, 0.9299),
    ("partial", {"max": 12, "slack": 4}, 0.0, 12, 13),
    ("partial", {"relative_to": FP32, "max_rise": 3}, 6, 9, 10),
    ("false_detections", {"relative_to": FP32, "max_fraction": 1.5}, 20, 30, 31),
    ("score_shift", {"min": -0.01, "slack": 0.02}, 0.0, -0.0099, -0.0101),
]


@pytest.mark.parametrize(("metric", "bounds", "reference", "holds", "fails"), KINDS)
def test_every_kind_of_accuracy_floor_holds_and_fails(
    metric: str, bounds: dict[str, object], reference: float, holds: float, fails: float
) -> None:
    floor = make_floor(metric, **bounds)

    def status(value: float) -> Status:
        measurement = make_measurement(metric, value)
        return judge(
            measurement,
            floor,
            record=make_record(measurement),
            reference=make_measurement(metric, reference, case=FP32),
        ).status

    assert status(holds) is Status.PASS
    assert status(fails) is Status.FAIL


def test_a_score_shift_below_zero_is_proposed_as_a_lower_bound() -> None:
    assert propose_floor(make_measurement("score_shift", -0.0021)) == (
        'score_shift = { min = -0.008, slack = 0.01, unit = "fraction" }'
    )


def test_differences_and_notes_survive_the_files(tmp_path: Path) -> None:
    measurement: Measurement = make_measurement(
        value=0.89, differences=(difference(-0.01, 0.02), difference(0.001, 0.0, OTHER))
    )
    assert measurements_from_json(measurements_to_json([measurement])) == (measurement,)
    verdict = dataclasses.replace(judged(DROP, 0.9, 0.01), note="finer than the images")
    judgement = Judgement(verdicts=(verdict, dataclasses.replace(verdict, note="")))
    assert judgement_from_json(judgement_to_json(judgement)) == judgement


def test_a_record_keeps_the_value_and_not_what_other_cases_of_its_run_were(tmp_path: Path) -> None:
    measurement = make_measurement(value=0.89, differences=(difference(-0.01, 0.02),))
    acceptance = Acceptance(run_id="one", started="2026-11-20T08:00:00Z", git_commit="fedcba")
    write_records([measurement], acceptance, tmp_path)
    record = load_records(tmp_path, "codes", device="any").find(INT8, "map50_95", "any")
    assert record is not None
    assert record.measurement == dataclasses.replace(measurement, differences=())


def test_a_measurement_finds_its_difference_by_case() -> None:
    first, second = difference(-0.01, 0.02), difference(0.001, 0.0, OTHER)
    measurement = make_measurement(differences=(first, second))
    assert measurement.difference_to(OTHER) is second
    assert measurement.difference_to(INT8) is None
    assert first.half_width == pytest.approx(0.02)
