"""The gate tested on time: a planted slowdown stays red, and no difference stays green on a busy machine."""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from slimgate.cli import accept
from slimgate.errors import UsageError
from slimgate.flow import Measurement, Status, Verdict
from slimgate.gate import Judgement, judge
from slimgate.measure import PairResult, control, device_key, measure_pairs

from fixtures.goldens import FLOORS_TOML, FP32, INT8, make_floor, make_measurement, make_record, make_run

METRIC = "latency_ratio_b1"
BUDGET = 1.25

pytestmark = pytest.mark.timing


def work(share: float) -> Callable[[], object]:
    """Return a workload of about 15 ms times ``share``: long enough to outlast a slice of the scheduler."""
    steps = int(400_000 * share)

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


def measure(pairs: PairResult) -> Measurement:
    return make_measurement(
        METRIC,
        pairs.ratio,
        device=device_key(),
        interval=pairs.interval,
        confidence=pairs.confidence,
        samples=pairs.log_ratios,
    )


def judge_pairs(pairs: PairResult) -> Verdict:
    healthy = make_record(make_measurement(METRIC, 1.0, device=device_key()))
    return judge(measure(pairs), make_floor(METRIC, device=device_key(), max=BUDGET), record=healthy)


def is_undecided(interval: Sequence[float]) -> bool:
    return interval[0] <= BUDGET <= interval[1]


def test_a_slowdown_of_three_is_red_twice_in_a_row_and_never_a_baseline(tmp_path: Path) -> None:
    golden = tmp_path / "golden"
    (golden / "floors").mkdir(parents=True)
    (golden / "floors" / "codes.toml").write_text(FLOORS_TOML)
    for night in ("first", "second"):
        pairs = measure_pairs(work(1), work(3), rounds=9, extend_while=is_undecided)
        verdict = judge_pairs(pairs)
        assert verdict.status is Status.FAIL
        assert pairs.ratio == pytest.approx(3, rel=0.5)
        assert f"max {BUDGET:.4f}" in verdict.message
        run = make_run(tmp_path / night, [measure(pairs)], Judgement(verdicts=(verdict,)), run_id=night)
        arguments = argparse.Namespace(run_dir=run, golden=golden, reason="", allow_dirty=False)
        with pytest.raises(UsageError, match="fails its floors: codes/int8@onnxruntime latency_ratio_b1"):
            accept.run(arguments)
        assert not (golden / "records").exists()


@pytest.mark.usefixtures("busy_machine")
def test_no_difference_is_green_under_load() -> None:
    pairs = measure_pairs(work(1), work(1), rounds=15, extend_while=is_undecided)
    verdict = judge_pairs(pairs)
    assert verdict.status is Status.PASS, verdict.message


def test_the_control_finds_no_difference_where_there_is_none() -> None:
    off = abs(math.log(control(work(1), rounds=15).ratio))
    assert off < math.log(BUDGET) / 2


def test_a_relative_speed_needs_both_cases() -> None:
    floor = make_floor(METRIC, device=device_key(), relative_to=FP32, max_rise=0.1)
    now = make_measurement(METRIC, 1.0, device=device_key())
    verdict = judge(now, floor, record=make_record(now), reference=None)
    assert verdict.status is Status.INVALID
    assert f"the reference {FP32} has no {METRIC} in this run" in verdict.message
    assert verdict.case == INT8
