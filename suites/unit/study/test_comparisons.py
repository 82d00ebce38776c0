"""Which times a run compares, and what becomes of those that were taken while the machine was in a slower state."""

from __future__ import annotations

import pytest
from slimgate.errors import InputError
from slimgate.study.comparisons import SLOWED, Pairs

from fixtures.machine_states import MILLISECONDS, StatefulMachine, time_study


def _never(second: float) -> bool:
    return False


def test_on_a_steady_machine_everything_is_timed_once(monkeypatch):
    machine = StatefulMachine(_never)
    timed = time_study(machine, monkeypatch)
    entries = [timed[f"{name}@onnxruntime"]["batch1"] for name in MILLISECONDS]
    assert [entry["measured"] for entry in entries] == [1, 1, 1, 1]
    assert [entry["ratio"] for entry in entries] == pytest.approx([1.0, 1.2, 0.5, 0.6], rel=0.02)
    assert machine.pauses == []
    assert all(1.0 <= entry["slowed"] < 1.1 for entry in entries)
    assert not any("why_no_claim" in entry for entry in entries)


def test_a_case_has_a_part_for_each_that_it_is_compared_with(monkeypatch):
    timed = time_study(StatefulMachine(_never), monkeypatch, runtimes=("onnxruntime", "openvino"))
    assert timed["fp32@onnxruntime"]["batch1"]["baseline"] == "s/fp32@onnxruntime"
    assert timed["fp32@openvino"]["batch1"]["baseline"] == "s/fp32@onnxruntime"
    for runtime in ("onnxruntime", "openvino"):
        entry = timed[f"slim-int8@{runtime}"]["batch1"]
        assert entry["baseline"] == f"s/fp32@{runtime}"
        assert entry["same"]["baseline"] == f"s/slim@{runtime}"
        assert entry["same"]["ratio"] == pytest.approx(1.2, rel=0.02)
        assert "same" not in timed[f"int8@{runtime}"]["batch1"]
    assert "same" not in timed["slim@onnxruntime"]["batch1"]


def test_what_the_machine_ran_slowly_is_timed_again_and_the_rest_is_not(monkeypatch):
    """The state lasts from the middle of the stage to a while after it: INT8 seems to pay meanwhile."""
    machine = StatefulMachine(lambda second: 1.2 <= second < 9.0)
    timed = time_study(machine, monkeypatch)
    entries = {name: timed[f"{name}@onnxruntime"]["batch1"] for name in MILLISECONDS}
    assert entries["slim-int8"]["same"]["ratio"] == pytest.approx(1.2, rel=0.02)
    assert entries["slim-int8"]["same"]["measured"] > 1
    assert entries["int8"]["ratio"] == pytest.approx(1.2, rel=0.02)
    assert {entry["measured"] for entry in entries.values()} != {entries["slim-int8"]["measured"]}
    assert all(entry["slowed"] <= SLOWED for entry in entries.values())
    assert machine.pauses


def test_what_was_timed_first_is_timed_again_where_the_machine_got_faster_later(monkeypatch):
    machine = StatefulMachine(lambda second: second < 1.2)
    timed = time_study(machine, monkeypatch)
    assert timed["fp32@onnxruntime"]["batch1"]["measured"] > 1
    assert timed["int8@onnxruntime"]["batch1"]["ratio"] == pytest.approx(1.2, rel=0.02)


def test_a_state_that_does_not_end_is_no_measurement(monkeypatch):
    machine = StatefulMachine(lambda second: second > 1.6)
    budgets = {"slim-int8 latency_ratio_same_b1": 1.0}
    timed = time_study(machine, monkeypatch, budgets=budgets)
    entry = timed["slim-int8@onnxruntime"]["batch1"]
    same = entry["same"]
    assert same["measured"] == 7
    assert same["interval"][1] < 1.0, "it would pass"
    assert "times as long as elsewhere in this run" in same["why_invalid"]
    assert "why_no_claim" in entry
    assert "why_invalid" not in entry
    assert len(machine.pauses) == 6


def test_a_machine_that_is_always_slow_is_slow_at_nothing_in_particular(monkeypatch):
    """Nothing tells one state from another here: what is measured is that machine."""
    timed = time_study(StatefulMachine(lambda second: True), monkeypatch)
    entry = timed["int8@onnxruntime"]["batch1"]
    assert entry["ratio"] == pytest.approx(0.9, rel=0.02)
    assert entry["measured"] == 1


def test_larger_batches_are_held_against_their_own(monkeypatch):
    timed = time_study(StatefulMachine(_never), monkeypatch, batches=(1, 32))
    assert timed["int8@onnxruntime"]["batch32"]["slowed"] < 1.1
    assert timed["int8@onnxruntime"]["batch32"]["measured"] == 1


def test_a_baseline_that_cannot_be_timed_takes_down_what_is_compared_with_it_alone(monkeypatch):
    measure = Pairs.measure

    def refuse(self, one):
        if one.baseline.case.variant == "slim":
            raise InputError("input of engine", found="batch 1", expected="batch 2", action="export")
        measure(self, one)

    monkeypatch.setattr(Pairs, "measure", refuse)
    timed = time_study(StatefulMachine(_never), monkeypatch)
    assert "batch1" in timed["int8@onnxruntime"]
    assert "same" not in timed["slim-int8@onnxruntime"]["batch1"]
