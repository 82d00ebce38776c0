"""The gate tested on time: a planted slowdown stays red, and no difference stays green on a busy machine.

On a simulated machine the error rates are exact and repeatable; on the real one, whatever else it does, the
gate must not call nothing a slowdown, nor a slowdown nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from slimgate.cli import accept
from slimgate.errors import UsageError
from slimgate.flow import Measurement, Status, Verdict
from slimgate.gate import Judgement, judge
from slimgate.gate.floors import floors_file_name
from slimgate.measure import Budget, PairResult, device_key, measure_pairs

from fixtures import goldens
from fixtures.faults import Caught
from fixtures.goldens import LATENCY_TOML, make_floor, make_measurement, make_record, make_run

METRIC = "latency_ratio_b1"
BUDGET = 1.15
COMPARISONS = 60
TRIALS = 100
DEVICE = device_key()


class Machine:
    """A clock that only work moves, with the noise of a machine that others use.

    Args:
        jitter: spread of every call, as the standard deviation of its logarithm.
        preempted: share of the calls that another process interrupts.
        away_ms: mean length of an interruption.
    """

    def __init__(self, seed: int, *, jitter: float, preempted: float, away_ms: float) -> None:
        self.random = np.random.default_rng(seed)
        self.jitter, self.preempted, self.away_ms = jitter, preempted, away_ms
        self.now_ns = 0

    def clock(self) -> int:
        return self.now_ns

    def arm(self, milliseconds: float) -> Callable[[], object]:
        def run() -> object:
            spent = milliseconds * float(self.random.lognormal(0, self.jitter))
            if self.random.random() < self.preempted:
                spent += float(self.random.exponential(self.away_ms))
            self.now_ns += int(spent * 1e6)
            return None

        return run


QUIET = {"jitter": 0.02, "preempted": 0.01, "away_ms": 4.0}
LOADED = {"jitter": 0.06, "preempted": 0.25, "away_ms": 8.0}


def measurement_of(pairs: PairResult) -> Measurement:
    return make_measurement(
        METRIC,
        pairs.ratio,
        device=DEVICE,
        interval=pairs.interval,
        confidence=pairs.confidence,
        simultaneous=pairs.simultaneous_interval(COMPARISONS),
        comparisons=COMPARISONS,
        samples=pairs.log_ratios,
    )


def judge_pairs(pairs: PairResult, budget: float = BUDGET) -> Verdict:
    healthy = make_record(make_measurement(METRIC, 1.0, device=DEVICE))
    return judge(measurement_of(pairs), make_floor(METRIC, device=DEVICE, max=budget), record=healthy)


def judge_simulated(
    noise: dict[str, float], slowdown: float, *, budget: float = BUDGET, trials: int = TRIALS
) -> list[Verdict]:
    """Return the verdicts on an arm that takes ``slowdown`` times as long."""
    verdicts = []
    for seed in range(trials):
        machine = Machine(seed, **noise)
        pairs = measure_pairs(
            machine.arm(12),
            machine.arm(12 * slowdown),
            rounds=41,
            budget=Budget(highest=budget, comparisons=COMPARISONS),
            clock=machine.clock,
        )
        verdicts.append(judge_pairs(pairs, budget))
    return verdicts


def count(verdicts: Sequence[Verdict]) -> Counter[Status]:
    return Counter(verdict.status for verdict in verdicts)


@pytest.mark.timing
@pytest.mark.parametrize("noise", [QUIET, LOADED], ids=["quiet", "loaded"])
def test_no_difference_is_green(noise: dict[str, float]) -> None:
    statuses = count(judge_simulated(noise, 1.0))
    assert statuses[Status.FAIL] == 0
    assert statuses[Status.PASS] >= 0.99 * TRIALS


@pytest.mark.timing
@pytest.mark.fault("three times as slow on a simulated machine")
def test_a_slowdown_of_three_is_always_found(caught: Caught) -> None:
    verdicts = [*judge_simulated(QUIET, 3.0), *judge_simulated(LOADED, 3.0)]
    assert count(verdicts) == {Status.FAIL: 2 * TRIALS}
    caught.verdicts(verdicts)


@pytest.mark.timing
def test_five_percent_are_found_on_a_quiet_machine_and_hardly_ever_pass_on_a_loaded_one() -> None:
    assert count(judge_simulated(QUIET, 1.05, budget=1.025, trials=50)) == {Status.FAIL: 50}
    loaded = count(judge_simulated(LOADED, 1.05, budget=1.025, trials=50))
    assert loaded[Status.PASS] <= 2
    assert loaded[Status.FAIL] + loaded[Status.INCONCLUSIVE] >= 48


def work(share: float) -> Callable[[], object]:
    """Return a real workload of about 10 ms times ``share`` on a quiet machine."""
    steps = int(250_000 * share)

    def run() -> object:
        total = 0
        for step in range(steps):
            total += step
        return total

    return run


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Load every core with a process that never rests."""
    count = len(os.sched_getaffinity(0))
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    yield
    for process in load:
        process.kill()
        process.wait()


@pytest.mark.timing
@pytest.mark.usefixtures("busy_machine")
def test_no_difference_is_never_called_a_slowdown_under_real_load() -> None:
    pairs = measure_pairs(work(1), work(1), rounds=9, budget=Budget(highest=BUDGET, comparisons=COMPARISONS))
    assert judge_pairs(pairs).status in (Status.PASS, Status.INCONCLUSIVE)


@pytest.mark.timing
@pytest.mark.fault("three times as slow in earnest")
def test_a_slowdown_of_three_is_red_twice_in_a_row_and_never_a_baseline(
    tmp_path: Path, caught: Caught
) -> None:
    golden = tmp_path / "golden"
    (golden / "floors").mkdir(parents=True)
    floors = LATENCY_TOML.replace(goldens.DEVICE, DEVICE).replace("max = 0.95", f"max = {BUDGET}")
    (golden / "floors" / floors_file_name("codes", DEVICE)).write_text(floors)
    for night in ("first", "second"):
        pairs = measure_pairs(
            work(1), work(3), rounds=15, budget=Budget(highest=BUDGET, comparisons=COMPARISONS)
        )
        verdict = judge_pairs(pairs)
        assert verdict.status.is_red, verdict.message
        assert f"max {BUDGET:.4f}" in verdict.message
        measured = measurement_of(pairs)
        judgement = Judgement(verdicts=(verdict,))
        sound = [make_measurement("map50_95", 0.9), make_measurement("size_bytes", 2_850_000)]
        (tmp_path / night).mkdir()
        run = make_run(
            tmp_path / night / "run", [measured, *sound], judgement, run_id=night, device=measured.device
        )
        arguments = argparse.Namespace(
            run_dir=run, golden=golden, reason="", another_device=False, allow_dirty=False
        )
        with pytest.raises(UsageError) as raised:
            accept.run(arguments)
        caught.error(raised.value)
        assert not (golden / "records").exists()
