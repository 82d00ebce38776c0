from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from slimgate.flow import Measurement
from slimgate.gate.history import Drift, Entry, Point, find_drift, find_drifts
from slimgate.gate.history.drift import fewest_runs, find_changes_in

from fixtures.goldens import INT8, make_measurement
from fixtures.histories import measure, run_name, with_version

MakeEntry = Callable[..., Entry]


def nights(
    make_entry: MakeEntry, values: Sequence[float], metric: str = "map50_95", **changes: object
) -> list[Entry]:
    return [
        make_entry(number, [make_measurement(metric, value, **changes)])
        for number, value in enumerate(values)
    ]


def drifts(entries: Sequence[Entry], **options: object) -> tuple[Drift, ...]:
    return find_drifts(entries, entries[0], **options).drifts  # type: ignore[arg-type]


def test_a_lasting_drop_is_found_with_the_run_it_began_in(make_entry: MakeEntry) -> None:
    entries = nights(make_entry, [0.9] * 8 + [0.89] * 4)
    (drift,) = drifts(entries)
    assert (drift.case, drift.metric, drift.worse) == (str(INT8), "map50_95", True)
    assert (drift.start, drift.end, drift.runs) == (0.9, 0.89, 4)
    assert (drift.since.run_id, drift.before.run_id) == (run_name(8), run_name(7))


def test_a_drop_so_slow_that_no_two_runs_differ_by_more_than_noise_is_found(make_entry: MakeEntry) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 60)
    ratios = [float(0.6 * np.exp(noise[night] + 0.0025 * night)) for night in range(60)]
    entries = [make_entry(night, measure(ratio=ratio)) for night, ratio in enumerate(ratios)]
    (drift,) = drifts(entries)
    assert (drift.metric, drift.worse) == ("latency_ratio_b1", True)
    assert drift.end > 1.05 * drift.start


def test_noise_alone_is_no_drift() -> None:
    noise = np.random.default_rng(1)
    found = sum(bool(find_changes_in(noise.normal(0.6, 0.02, 60).tolist())) for _ in range(400))
    assert found <= 4


def test_an_outlier_is_no_drift(make_entry: MakeEntry) -> None:
    noise = np.random.default_rng(2).normal(0, 0.001, 30)
    values = (0.6 + noise).tolist()
    values[-1] = 2.0
    assert drifts(nights(make_entry, values, "latency_ratio_b1")) == ()


def test_what_came_back_is_no_drift(make_entry: MakeEntry) -> None:
    values = [0.9] * 12 + [0.8] * 12 + [0.9] * 12
    assert find_changes_in(values) == [12, 24]
    assert drifts(nights(make_entry, values)) == ()


def test_a_second_step_down_does_not_hide_the_first(make_entry: MakeEntry) -> None:
    (drift,) = drifts(nights(make_entry, [0.9] * 8 + [0.88] * 8 + [0.86] * 8))
    assert drift.since.run_id == run_name(8)


def test_for_the_better_is_told_apart_and_comes_last(make_entry: MakeEntry) -> None:
    entries = [
        make_entry(
            number,
            [
                make_measurement("map50_95", 0.9 if number < 8 else 0.95),
                make_measurement("size_bytes", 2e6 if number < 8 else 3e6),
            ],
        )
        for number in range(16)
    ]
    assert [(one.metric, one.worse) for one in drifts(entries)] == [("size_bytes", True), ("map50_95", False)]


@pytest.mark.parametrize(
    ("metric", "before", "after", "counts"),
    [
        ("map50_95", 0.9, 0.8985, False),
        ("map50_95", 0.9, 0.8975, True),
        ("latency_ratio_b1", 0.6, 0.61, False),
        ("latency_ratio_b1", 0.6, 0.63, True),
        ("misses", 30.0, 31.0, False),
        ("misses", 30.0, 32.0, True),
        ("size_bytes", 1_000_000.0, 1_004_000.0, False),
        ("size_bytes", 1_000_000.0, 1_006_000.0, True),
        ("int8_share", 0.94, 0.90, True),
        ("inference_s", 0.005, 0.05, False),
    ],
)
def test_a_change_counts_from_a_size_that_matters(
    make_entry: MakeEntry, metric: str, before: float, after: float, counts: bool
) -> None:
    assert bool(drifts(nights(make_entry, [before] * 10 + [after] * 10, metric))) is counts


def test_a_time_hides_no_drift_of_what_stands_behind_it(make_entry: MakeEntry) -> None:
    entries = [
        make_entry(
            number,
            [
                make_measurement("inference_s", 0.005),
                make_measurement("map50_95", 0.9 if number < 8 else 0.8),
            ],
        )
        for number in range(14)
    ]
    assert [one.metric for one in drifts(entries)] == ["map50_95"]


def test_policy_may_set_the_size_that_matters(make_entry: MakeEntry) -> None:
    entries = nights(make_entry, [0.9] * 10 + [0.895] * 10)
    assert drifts(entries, smallest={"map50_95": 0.006}) == ()
    assert len(drifts(entries, smallest={"map50_95": 0.004})) == 1


def test_red_runs_are_evidence_and_are_counted(make_entry: MakeEntry) -> None:
    entries = [
        make_entry(
            number,
            [make_measurement("map50_95", 0.9 if number < 8 else 0.8)],
            red="map50_95" * (number >= 10),
        )
        for number in range(14)
    ]
    (drift,) = drifts(entries)
    assert (drift.runs, drift.red_runs) == (6, 4)


def test_what_changed_with_it_is_named(make_entry: MakeEntry) -> None:
    def measured(number: int) -> list[Measurement]:
        if number < 8:
            return [make_measurement("map50_95", 0.9)]
        return [
            with_version(
                make_measurement("map50_95", 0.8, provenance={"weights_sha256": "f" * 64}), "numpy", "2.4"
            )
        ]

    (drift,) = drifts([make_entry(number, measured(number)) for number in range(14)])
    assert drift.changed == ("other weights: aaaaaaaaaaaa → ffffffffffff", "numpy 2.3.1 → 2.4")


def test_only_runs_since_the_baseline_on_its_machine_count(make_entry: MakeEntry) -> None:
    entries = nights(make_entry, [0.99] * 10 + [0.9] * 12)
    elsewhere = [
        make_entry(100 + number, [make_measurement("map50_95", 0.5)], device="cpu:B") for number in range(12)
    ]
    report = find_drifts([*entries, *elsewhere], entries[10])
    assert report.drifts == ()
    assert (report.runs, report.series, report.too_short) == (12, 1, 0)


def test_what_cannot_be_compared_is_left_out_and_told(make_entry: MakeEntry) -> None:
    entries = nights(make_entry, [0.9] * 10)
    other = [
        make_entry(10 + number, [make_measurement("map50_95", 0.5, provenance={"dataset_sha256": "e" * 64})])
        for number in range(10)
    ]
    broken = make_entry(30, [make_measurement("map50_95", 0.5, valid=False, why_invalid="wrong provider")])
    report = find_drifts([*entries, *other, broken], entries[0])
    assert report.drifts == ()
    assert report.left_out == {
        "other dataset: cccccccccccc → eeeeeeeeeeee": 10,
        "invalid: wrong provider": 1,
    }


def test_too_few_runs_are_told(make_entry: MakeEntry) -> None:
    assert fewest_runs() == 9
    report = find_drifts(entries := nights(make_entry, [0.9] * 4 + [0.5] * 4), entries[0])
    assert (report.drifts, report.too_short, report.fewest) == ((), 1, 9)
    (drift,) = drifts(nights(make_entry, [0.9] * 8 + [0.5]))
    assert drift.runs == 1


def first_alarm(entry: Entry, ratios: Sequence[float]) -> int | None:
    """Return after how many runs a drift for the worse is called, looking after each; None for never."""
    points = [
        Point(
            entry=entry,
            measurement=make_measurement("latency_ratio_b1", float(ratio), device="cpu:A"),
            red=False,
        )
        for ratio in ratios
    ]
    for count in range(fewest_runs(), len(points) + 1):
        found = find_drift(points[:count])
        if found is not None and found.worse:
            return count
    return None


@pytest.mark.slow
def test_the_error_rates_are_those_of_the_documentation(make_entry: MakeEntry) -> None:
    entry, chance = make_entry(0), np.random.default_rng(3)
    quiet = [
        first_alarm(entry, 0.6 * np.exp(chance.normal(0, noise, 120)))
        for noise in (0.01, 0.025, 0.05)
        for _ in range(40)
    ]
    assert sum(alarm is not None for alarm in quiet) <= 1

    def after(noise: float, course: np.ndarray, begin: int) -> float:
        courses = [0.6 * np.exp(chance.normal(0, noise, len(course)) + course) for _ in range(40)]
        return float(np.percentile([(first_alarm(entry, one) or 999) - begin for one in courses], 90))

    step = (np.arange(100) >= 30).astype(float)
    assert after(0.025, step * np.log(1.05), 30) <= 20
    assert after(0.025, step * np.log(1.10), 30) <= 8
    assert after(0.05, step * np.log(1.10), 30) <= 23
    assert after(0.025, 0.002 * np.arange(100), 0) <= 50
