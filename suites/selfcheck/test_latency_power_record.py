"""What the experiment on the gate's error rates found, held to its goals and to what the docs say of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from scipy.stats import binomtest
from slimgate.flow import Status
from slimgate.gate import judge
from slimgate.measure import summarise_pairs
from slimgate.study.control import control_complaint

from fixtures.experiments.power import read_record
from fixtures.experiments.power_docs import (
    PICTURE,
    Row,
    compose,
    drawn_part,
    fingerprint,
    list_lines,
    rows_of,
    share,
)
from fixtures.experiments.trials import CONDITIONS, SLOWDOWNS
from fixtures.goldens import make_floor, make_measurement
from fixtures.goldens import make_record as make_golden

FOUND, FALSE_ALARMS, SECONDS = 0.99, 0.005, 20.0
"""What the gate is there to reach: the share of 5 % slowdowns found, that of false alarms, and seconds a case."""


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return read_record()


@pytest.fixture(scope="module")
def rows(record: dict[str, Any]) -> list[Row]:
    return rows_of(record)


def fails(row: Row) -> bool:
    return bool(row["gate"] == Status.FAIL.value)


def test_the_page_and_the_picture_are_drawn_from_the_record(record: dict[str, Any]) -> None:
    assert drawn_part() == compose(record)
    assert fingerprint() in PICTURE.read_text(encoding="utf-8")


def test_the_record_has_all_trials_that_were_declared(record: dict[str, Any], rows: list[Row]) -> None:
    assert record["declared"]["trials"] >= 200
    for condition in CONDITIONS:
        for slowdown in SLOWDOWNS:
            assert share(rows, condition, slowdown, fails)[1] == record["declared"]["trials"]


def test_recorded_verdicts_follow_from_the_recorded_intervals(
    record: dict[str, Any], rows: list[Row]
) -> None:
    declared = record["declared"]
    floor = make_floor("latency_ratio_b1", device="x", max=declared["budget"])
    accepted = make_golden(make_measurement("latency_ratio_b1", 1.0, device="x"))
    same = summarise_pairs([1.0] * 9, [1.0] * 9, calls=(1, 1))
    for row in rows:
        measured = make_measurement(
            "latency_ratio_b1",
            row["ratio"],
            device="x",
            interval=(row["low"], row["high"]),
            simultaneous=(row["surely_low"], row["surely_high"]),
            comparisons=declared["comparisons"],
        )
        expected = judge(measured, floor, record=accepted).status.value
        control = dataclasses.replace(
            same, ratio=row["control"], interval=(row["control_low"], row["control_high"])
        )
        complaint = control_complaint(control, declared["budget"])
        assert row["gate"] == (Status.INVALID.value if complaint else expected), row


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_slowdown_of_five_percent_is_found_and_none_is_not(rows: list[Row], condition: str) -> None:
    found, of = share(rows, condition, 0.05, fails)
    assert found >= FOUND * of
    alarms, of = share(rows, condition, 0.0, fails)
    assert alarms <= FALSE_ALARMS * of
    assert max(row["seconds"] for row in rows) <= SECONDS


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("slowdown", SLOWDOWNS)
def test_no_peer_is_better_at_any_point(
    record: dict[str, Any], rows: list[Row], condition: str, slowdown: float
) -> None:
    """At its usual threshold, or against a stored baseline, no peer is right in more trials than the gate.

    A peer that is handed the gate's own budget and its interleaved baseline may be right in a trial or two more, but
    not by more than chance: McNemar's exact test over the trials in which they differ.
    """
    trials = [row for row in rows if row["condition"] == condition and row["slowdown"] == slowdown]
    ours = [fails(row) == (slowdown > 0) for row in trials]
    for line in list_lines(record):
        if "gate" in line.name:
            continue
        theirs = [line.says_slower(row) == (slowdown > 0) for row in trials]
        if line.lent:
            better = sum(their and not our for our, their in zip(ours, theirs, strict=True))
            differ = sum(their != our for our, their in zip(ours, theirs, strict=True))
            chance = binomtest(better, differ, 0.5, alternative="greater").pvalue if differ else 1.0
            assert chance > 0.05, f"{line.name}: better in {better} of the {differ} trials that differ"
        else:
            assert sum(theirs) <= sum(ours), line.name
