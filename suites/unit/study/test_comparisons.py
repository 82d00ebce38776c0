"""Which times a run compares, and what becomes of those that were taken while the machine was in a slower state."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from slimgate.errors import InputError
from slimgate.measure import summarise_pairs
from slimgate.study.comparisons import SLOWED, Pairs

from fixtures.machine_states import MILLISECONDS, StatefulMachine, time_study


def _never(second: float) -> bool:
    return False


def test_on_a_steady_machine_everything_is_timed_once(monkeypatch):
    machine = StatefulMachine(_never)
    timed = time_study(machine, monkeypatch)
    entries = [timed[f"{name}@onnxruntime"]["batch1"] for name in MILLISECONDS]
    assert [entry["others"] for entry in entries] == [[], [], [], []]
    assert [entry["ratio"] for entry in entries] == pytest.approx([1.0, 1.2, 0.5, 0.6], rel=0.02)
    assert machine.pauses == []
    assert all(0.9 < entry["slowed"] < 1.1 for entry in entries)
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
    machine = StatefulMachine(lambda second: 1.96 <= second < 9.0)
    timed = time_study(machine, monkeypatch)
    entries = {name: timed[f"{name}@onnxruntime"]["batch1"] for name in MILLISECONDS}
    same = entries["slim-int8"]["same"]
    assert same["ratio"] == pytest.approx(1.2, rel=0.02)
    assert min(other["ratio"] for other in same["others"]) == pytest.approx(0.9, rel=0.02)
    assert all(other["slowed"] > SLOWED for other in same["others"])
    assert entries["int8"]["others"] == []
    assert all(entry["slowed"] <= SLOWED for entry in entries.values())
    assert machine.pauses


def test_a_state_that_does_not_end_is_no_measurement(monkeypatch):
    machine = StatefulMachine(lambda second: second > 1.96)
    budgets = {"slim-int8 latency_ratio_same_b1": 1.0}
    timed = time_study(machine, monkeypatch, budgets=budgets)
    same = timed["slim-int8@onnxruntime"]["batch1"]["same"]
    assert len(same["others"]) == 6
    assert same["interval"][1] < 1.0, "it would pass"
    assert "s/slim@onnxruntime took 1." in same["why_invalid"]
    assert "times as long as usual in this run" in same["why_invalid"]
    assert len(machine.pauses) == 6


def test_nothing_is_claimed_in_a_slower_state_where_no_floor_asks(monkeypatch):
    machine = StatefulMachine(lambda second: second > 1.96)
    timed = time_study(machine, monkeypatch)
    same = timed["slim-int8@onnxruntime"]["batch1"]["same"]
    assert "the machine was in a slower state" in same["why_no_claim"]
    assert "why_invalid" not in same


def test_passes_end_after_a_while(monkeypatch):
    monkeypatch.setattr("slimgate.study.timing._LONGEST_S", -1.0)
    machine = StatefulMachine(lambda second: second > 1.96)
    timed = time_study(machine, monkeypatch)
    same = timed["slim-int8@onnxruntime"]["batch1"]["same"]
    assert same["others"] == []
    assert "the machine was in a slower state" in same["why_no_claim"]
    assert machine.pauses == []


def test_a_machine_that_is_always_slow_is_slow_at_nothing_in_particular(monkeypatch):
    """Nothing tells one state from another here: what is measured is that machine."""
    timed = time_study(StatefulMachine(lambda second: True), monkeypatch)
    entry = timed["int8@onnxruntime"]["batch1"]
    assert entry["ratio"] == pytest.approx(0.9, rel=0.02)
    assert entry["others"] == []


def test_a_machine_that_is_fast_for_a_moment_is_no_measure_for_the_rest(monkeypatch):
    """A core that starts cold runs above its lasting clock for a while."""
    machine = StatefulMachine(lambda second: second > 0.5)
    timed = time_study(machine, monkeypatch)
    assert [timed[f"{name}@onnxruntime"]["batch1"]["others"] for name in ("int8", "slim", "slim-int8")] == [
        []
    ] * 3
    assert machine.pauses == []


def test_a_case_that_is_slow_by_itself_is_not_timed_until_it_is_fast(monkeypatch):
    """What is judged has no part in whether it is timed again: it takes half as long again in every other session."""
    machine = StatefulMachine(_never)
    opened = 0

    @contextmanager
    def open_runner(spec, runtime, *, batch):
        nonlocal opened
        with machine.open(spec, runtime, batch=batch) as runner:
            if spec.name == "slim-int8":
                opened += 1
                slow, run = opened % 2 == 1, runner.run
                runner.run = lambda images: [run(images) for _ in range(1 + slow)]
            yield runner

    really = StatefulMachine(_never)
    really.open, really.clock, really.sleep = open_runner, machine.clock, machine.sleep  # type: ignore[method-assign]
    timed = time_study(really, monkeypatch, budgets={"slim-int8 latency_ratio_b1": 0.7})
    entry = timed["slim-int8@onnxruntime"]["batch1"]
    assert entry["others"] == []
    assert entry["interval"][0] > 0.7
    assert machine.pauses == []


def test_larger_batches_are_held_against_their_own(monkeypatch):
    timed = time_study(StatefulMachine(_never), monkeypatch, batches=(1, 32))
    assert 0.9 < timed["int8@onnxruntime"]["batch32"]["slowed"] < 1.1
    assert timed["int8@onnxruntime"]["batch32"]["others"] == []


def _times(a: float, b: float):
    return summarise_pairs([a] * 41, [b] * 41, calls=(1, 1))


def test_a_comparison_is_judged_beside_the_control_of_its_own_pass(monkeypatch):
    """The control of the first pass is off, and slow; a better one later excuses nothing that was timed beside it."""
    controls = {"fp32": [_times(1.7, 2.2), _times(1.0, 1.0)], "slim": [_times(0.5, 0.5)] * 2}
    pairs = {"int8": [_times(1.0, 0.5)], "slim": [_times(1.7, 0.5), _times(1.0, 0.5)]}
    monkeypatch.setattr(Pairs, "_time_control", lambda self, one: controls[one.baseline.case.variant].pop(0))
    monkeypatch.setattr(Pairs, "_time", lambda self, one, control: pairs[one.work.case.variant].pop(0))
    machine = StatefulMachine(_never)
    timed = time_study(machine, monkeypatch, ("fp32", "int8", "slim"))
    assert len(machine.pauses) == 1
    assert "the A/A control is off by 29.4%" in timed["int8@onnxruntime"]["batch1"]["why_no_claim"]
    again = timed["slim@onnxruntime"]["batch1"]
    assert again["control"]["ratio"] == 1.0
    assert "why_no_claim" not in again


def _refusing(machine: StatefulMachine, names: tuple[str, ...], alone: bool):
    """Return a machine on which a file cannot be opened: by itself, or beside another."""
    opened: list[str] = []

    @contextmanager
    def open_runner(spec, runtime, *, batch):
        if spec.name in names and bool(opened) is not alone:
            raise InputError("engine", found="batch 1", expected="batch 2", action="build it for 1")
        opened.append(spec.name)
        try:
            with machine.open(spec, runtime, batch=batch) as runner:
                yield runner
        finally:
            opened.pop()

    refusing = StatefulMachine(_never)
    refusing.open, refusing.clock = open_runner, machine.clock  # type: ignore[method-assign]
    return refusing


def test_a_baseline_that_cannot_be_timed_is_at_fault_itself(monkeypatch):
    timed = time_study(_refusing(StatefulMachine(_never), ("slim",), alone=True), monkeypatch)
    assert "batch1" in timed["int8@onnxruntime"]
    assert "failed" not in timed["slim-int8@onnxruntime"]
    assert "same" not in timed["slim-int8@onnxruntime"]["batch1"]


def test_a_case_that_cannot_be_timed_takes_nothing_down_with_it(monkeypatch):
    timed = time_study(_refusing(StatefulMachine(_never), ("slim",), alone=False), monkeypatch)
    assert "engine: batch 1" in timed["slim@onnxruntime"]["failed"]
    assert "batch1" in timed["fp32@onnxruntime"]
    assert "batch1" in timed["int8@onnxruntime"]
