"""The experiment on how often the gate finds a slowdown that is there, and one that is not.

The experiment itself takes most of an hour on a machine that does nothing else. Here its parts are tested, and a small
one of it runs with ``--slimgate-slow``.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from slimgate.flow import Status
from slimgate.measure import EXTENSION, Budget, PairResult, measure_pairs, summarise_pairs

from fixtures.experiments import latency_power
from fixtures.experiments.peers import Rule, asv, list_peers, pytest_benchmark, ratio_of_means
from fixtures.experiments.power import judge_trial, look_again, make_record, read_record, write_record
from fixtures.experiments.power_docs import (
    Row,
    compose,
    draw,
    rows_of,
    share,
)
from fixtures.experiments.trials import (
    CONDITIONS,
    SLOWDOWNS,
    Journal,
    Settings,
    Trial,
    plan_blocks,
    remaining,
)


def fails(row: Row) -> bool:
    return bool(row["gate"] == Status.FAIL.value)


def simulate(slowdown: float, *, rounds: int, seed: int = 0, noise: float = 0.03) -> Trial:
    """Return a trial of log-normal noise."""
    random = np.random.default_rng(seed)
    seconds_a, seconds_b = 0.01 * random.lognormal(0, noise, (2, rounds))
    return Trial(
        block=0,
        condition="quiet",
        slowdown=slowdown,
        calls=(1, 1),
        seconds_a=tuple(seconds_a.tolist()),
        seconds_b=tuple((seconds_b * (1 + slowdown)).tolist()),
        first_s=1.0,
        seconds=float(EXTENSION),
    )


class Replay:
    """Arms and a clock that give back the samples of a trial, one call a sample."""

    def __init__(self, trial: Trial) -> None:
        self.now, self.calls = 0.0, 0
        self.left = {0: list(trial.seconds_a), 1: list(trial.seconds_b)}

    def clock(self) -> int:
        return round(self.now * 1e9)

    def arm(self, which: int) -> Callable[[], object]:
        def call() -> None:
            self.calls += 1
            # Both arms warm up for 200 ms, 5 ms a call; then the first call of every two is not timed.
            untimed = self.calls <= 80 or self.calls % 2
            self.now += 0.005 if untimed else self.left[which].pop(0)

        return call


@pytest.mark.timing
@pytest.mark.parametrize("slowdown", [0.0, 0.03, 0.2])
def test_looking_again_says_what_measuring_would_have_said(slowdown: float) -> None:
    settings, budget = Settings(rounds=41), Budget(highest=1.025, comparisons=60)
    for seed in range(5):
        trial = simulate(slowdown, rounds=41 * EXTENSION, seed=seed)
        machine = Replay(trial)
        measured = measure_pairs(
            machine.arm(0), machine.arm(1), rounds=41, budget=budget, clock=machine.clock
        )
        again = look_again(trial, settings, budget)
        assert (again.rounds, again.extended) == (measured.rounds, measured.extended)
        assert again.ratio == pytest.approx(measured.ratio, rel=1e-6)
        assert again.interval == pytest.approx(measured.interval, rel=1e-6)


def control_of(ratio: float) -> PairResult:
    return summarise_pairs([0.01] * 41, [0.01 * ratio] * 41, calls=(1, 1))


def test_a_trial_is_judged_with_its_control() -> None:
    pairs = look_again(simulate(0.2, rounds=164), Settings(), Budget(highest=1.025, comparisons=60))
    budget = Budget(highest=1.025, comparisons=60)
    assert judge_trial(pairs, control_of(1.0), budget) is Status.FAIL
    assert judge_trial(pairs, control_of(1.2), budget) is Status.INVALID


QUICK = [0.0100, 0.0101, 0.0102] * 20
ONE_LONG = [0.0100, 0.0101, 0.0102] * 19 + [0.0100, 0.0101, 0.2]


def times(factor: float) -> list[float]:
    return [factor * one for one in QUICK]


@pytest.mark.parametrize(
    ("rule", "factor", "says"),
    [
        (pytest_benchmark(5), 1.049, False),
        (pytest_benchmark(5), 1.051, True),
        (asv(1.1), 1.09, False),
        (asv(1.1), 1.11, True),
        (asv(1.025), 1.03, True),
        (ratio_of_means(1.05), 1.049, False),
        (ratio_of_means(1.05), 1.051, True),
    ],
)
def test_a_peer_calls_slower_what_lies_beyond_its_threshold(rule: Rule, factor: float, says: bool) -> None:
    assert rule(QUICK, times(factor)) is says
    assert not rule(times(factor), QUICK)


def test_one_long_delay_deceives_the_mean_alone() -> None:
    assert [name for name, rule in list_peers(1.025).items() if rule(QUICK, ONE_LONG)] == [
        "ratio of means > 1.05",
        "ratio of means > 1.025",
    ]


def test_asv_asks_for_another_distribution_besides() -> None:
    spread = np.linspace(0.5, 1.5, 12)
    assert not asv(1.025)(spread.tolist(), (1.05 * spread).tolist())
    assert asv(1.025)(QUICK, times(1.05))


def test_slowdowns_and_conditions_are_mixed_over_the_whole_time() -> None:
    blocks = plan_blocks(Settings(trials=20))
    assert [block.index for block in blocks] == list(range(20))
    for condition in CONDITIONS:
        planned = [
            slowdown for block in blocks if block.condition == condition for slowdown in block.slowdowns
        ]
        assert sorted(planned) == sorted(SLOWDOWNS * 20)
    assert {block.condition for block in blocks[:2]} == set(CONDITIONS)
    assert len({block.slowdowns for block in blocks}) > 15
    assert plan_blocks(Settings(trials=20)) == blocks
    assert plan_blocks(Settings(trials=20, seed=2)) != blocks


def test_an_experiment_that_was_cut_off_goes_on_with_the_block_that_it_was_in(tmp_path: Path) -> None:
    settings, path = Settings(trials=4), tmp_path / "journal.jsonl"
    journal, blocks = Journal(path, settings), plan_blocks(settings)
    first, second = (dataclasses.replace(simulate(0.05, rounds=9), block=block) for block in (0, 1))
    journal.add([first])
    journal.add([second])
    path.write_bytes(path.read_bytes()[:-20])
    again = Journal(path, settings)
    (kept,) = again.read()
    assert kept.seconds_b == pytest.approx(first.seconds_b, abs=1e-9)
    assert [block.index for block in remaining(blocks, again.read())] == [1, 2, 3]
    again.add([second])
    assert [trial.block for trial in again.read()] == [0, 1]


def test_trials_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, Settings(trials=4))
    with pytest.raises(SystemExit, match=r"holds trials of .*'trials': 4.*; asked are .*'trials': 6"):
        Journal(path, Settings(trials=6)).read()


def test_a_record_is_read_as_it_was_written_and_can_be_drawn(tmp_path: Path) -> None:
    settings = Settings(trials=1, rounds=41)
    trials = [
        dataclasses.replace(
            simulate(slowdown or 0.0, rounds=41 * EXTENSION, seed=index),
            slowdown=slowdown,
            condition=condition,
            block=block,
        )
        for block, condition in enumerate(CONDITIONS)
        for index, slowdown in enumerate((None, *SLOWDOWNS))
    ]
    made = make_record(settings, trials)
    write_record(made, tmp_path / "record.json")
    read = read_record(tmp_path / "record.json")
    assert read == made
    rows = rows_of(read)
    assert [row["gate"] for row in rows if row["slowdown"] == 0.2] == ["FAIL", "FAIL"]
    assert [row["peers"] for row in rows if row["slowdown"] == 0.2] == ["11111", "11111"]
    assert [row["gate"] for row in rows if row["slowdown"] == 0.0] == ["PASS", "PASS"]
    assert "| **the gate: FAIL** | 0 |" in compose(read)
    draw(read, tmp_path / "picture.svg", source="a test")
    assert "a test" in (tmp_path / "picture.svg").read_text(encoding="utf-8")


@pytest.mark.timing
def test_a_block_measures_its_control_and_its_trials() -> None:
    def arm(slowdown: float) -> Callable[[], object]:
        def call() -> None:
            until = time.perf_counter_ns() + 400_000 * (1 + slowdown)
            while time.perf_counter_ns() < until:
                pass

        return call

    settings = Settings(trials=1, rounds=9)
    block = plan_blocks(settings)[0]
    control, *trials = latency_power.measure_block(block, arm, settings)
    assert control.slowdown is None
    assert len(control.seconds_a) in (9, 9 * EXTENSION)  # extended where this machine is busy
    assert [trial.slowdown for trial in trials] == list(block.slowdowns)
    for trial in trials:
        assert len(trial.seconds_a) == len(trial.seconds_b) == 9 * EXTENSION
        assert 0 < trial.first_s < trial.seconds


@pytest.mark.slow
@pytest.mark.timing
def test_a_small_experiment_finds_what_is_plain_and_calls_nothing_slow(tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    done = latency_power.main(["--out", str(out), "--journal", str(tmp_path / "journal"), "--trials", "10"])
    assert done == 0
    rows = rows_of(read_record(out))
    for condition in CONDITIONS:
        assert share(rows, condition, 0.0, fails) == (0, 10)
        red = [share(rows, condition, slowdown, lambda row: row["gate"] != "PASS") for slowdown in (0.1, 0.2)]
        assert red == [(10, 10), (10, 10)]
