"""Faults in what is timed and in what is made of it, on a machine whose clock only work moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from slimgate.errors import UsageError
from slimgate.flow import Measurement, Status, Verdict
from slimgate.gate import judge
from slimgate.measure import PairResult, measure_pairs
from slimgate.study.control import control_complaint
from slimgate.study.measuring import list_measurements

from fixtures.faults import Caught
from fixtures.goldens import DEVICE, FP32, INT8, PROVENANCE, make_floor, make_measurement, make_record
from fixtures.machine_states import StatefulMachine, time_study

METRIC = "latency_ratio_b1"
BUDGET = 0.9
ROUNDS = 41


class Machine:
    """A clock that work moves, with the jitter of a quiet machine.

    Args:
        second: how much longer a call takes that comes right after another one's sample.
    """

    def __init__(self, *, second: float = 1.0) -> None:
        self.random = np.random.default_rng(0)
        self.now_ns = 0
        self.second, self.calls = second, 0

    def clock(self) -> int:
        return self.now_ns

    def arm(self, milliseconds: float, *, follows: bool = False) -> Callable[[], object]:
        def run() -> object:
            factor = self.second if follows else 1.0
            self.now_ns += int(milliseconds * 1e6 * factor * self.random.lognormal(0, 0.02))
            return None

        return run


def time_int8(machine: Machine, **options: Any) -> PairResult:
    """Return INT8, which takes 7 ms, against FP32, which takes 12."""
    return measure_pairs(machine.arm(12), machine.arm(7), clock=machine.clock, rounds=ROUNDS, **options)


def measurement_of(pairs: PairResult, why_invalid: str = "") -> Measurement:
    """Return the measurement that the study makes of a pair of arms."""
    entry = {"baseline": str(FP32), **pairs.to_json(), "control": {"ratio": 1.0, "interval": [0.99, 1.01]}}
    if why_invalid:
        entry["why_invalid"] = why_invalid
    (found,) = list_measurements(
        INT8, {"latency": {"batch1": entry}}, artifact=None, provenance=PROVENANCE, device=DEVICE
    )
    return found


def judge_time(measurement: Measurement) -> Verdict:
    provenance = {"baseline": str(FP32)}
    healthy = make_record(make_measurement(METRIC, 0.58, device=DEVICE, provenance=provenance))
    return judge(measurement, make_floor(METRIC, device=DEVICE, max=BUDGET), record=healthy)


def test_nothing_planted_is_green() -> None:
    verdict = judge_time(measurement_of(time_int8(Machine())))
    assert verdict.status is Status.PASS, verdict.message


@pytest.mark.fault("a ratio turned over")
def test_a_ratio_turned_over(caught: Caught) -> None:
    """INT8 became slower; turned over, its ratio looks like the speed-up that was accepted."""
    machine = Machine()
    slower = measure_pairs(machine.arm(7), machine.arm(12), clock=machine.clock, rounds=ROUNDS)
    measured = measurement_of(slower)
    assert measured.interval is not None
    low, high = measured.interval
    turned = replace(measured, value=1 / measured.value, interval=(1 / high, 1 / low))
    verdict = judge_time(turned)
    assert verdict.status is Status.INVALID
    caught.verdicts([verdict])


@pytest.mark.fault("an interval of half the confidence")
def test_half_the_confidence(caught: Caught) -> None:
    verdict = judge_time(measurement_of(time_int8(Machine(), confidence=0.5)))
    assert verdict.status is Status.INVALID
    caught.verdicts([verdict])


@pytest.mark.fault("a value outside its interval")
def test_a_mean_for_a_median(caught: Caught) -> None:
    measured = measurement_of(time_int8(Machine()))
    ratios = np.exp([*measured.samples[1:], np.log(40.0)])
    verdict = judge_time(replace(measured, value=float(ratios.mean())))
    assert verdict.status is Status.INVALID
    caught.verdicts([verdict])


def refuse(act: Callable[[], object]) -> UsageError:
    with pytest.raises(UsageError) as raised:
        act()
    return raised.value


@pytest.mark.fault("a clock that stands still")
def test_a_clock_that_stands_still(caught: Caught) -> None:
    machine = Machine()
    caught.error(
        refuse(lambda: measure_pairs(machine.arm(12), machine.arm(7), clock=lambda: 0, rounds=ROUNDS))
    )


@pytest.mark.fault("timed beside other workers")
def test_beside_other_workers(monkeypatch: pytest.MonkeyPatch, caught: Caught) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    caught.error(refuse(lambda: time_int8(Machine())))


@pytest.mark.fault("too few rounds")
def test_too_few_rounds(caught: Caught) -> None:
    machine = Machine()
    caught.error(
        refuse(lambda: measure_pairs(machine.arm(12), machine.arm(7), clock=machine.clock, rounds=5))
    )


@pytest.mark.fault("a machine that slows down whatever runs second")
def test_a_control_that_is_off(caught: Caught) -> None:
    machine = Machine(second=1.12)
    again = measure_pairs(machine.arm(12), machine.arm(12, follows=True), clock=machine.clock, rounds=ROUNDS)
    verdict = judge_time(measurement_of(time_int8(Machine()), control_complaint(again, BUDGET)))
    assert verdict.status is Status.INVALID
    caught.verdicts([verdict])


@pytest.mark.fault("a machine that stays in a slower state")
def test_a_slower_state(caught: Caught, monkeypatch: pytest.MonkeyPatch) -> None:
    """INT8 takes 1.2 times the time of FP32; 0.9 of it in a state that begins after the control and does not end."""
    timed = time_study(
        StatefulMachine(lambda second: second > 0.7),
        monkeypatch,
        ("fp32", "int8"),
        budgets={"int8 latency_ratio_b1": BUDGET + 0.05},
    )
    entry = {**timed["int8@onnxruntime"]["batch1"], "baseline": str(FP32)}
    assert entry["interval"][1] < BUDGET + 0.05, "it would pass"
    (found,) = list_measurements(
        INT8, {"latency": {"batch1": entry}}, artifact=None, provenance=PROVENANCE, device=DEVICE
    )
    verdict = judge_time(found)
    assert verdict.status is Status.INVALID
    caught.verdicts([verdict])


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here reads the machine's own clock, so other workers do not matter."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
