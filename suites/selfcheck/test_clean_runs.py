"""Clean nights stay green, fifty in a row: what is measured is the same, what a night cannot help differs.

On a simulated machine the times of every night are drawn anew, quiet and loaded; the cores get more or less busy, the
order of the cases, the versions that no floor asks about and the file's own hash change. In earnest a whole project is
run night after night, with its store warm or empty and one thread or two, which changes the order of float additions.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slimgate.flow import Measurement
from slimgate.gate import Judgement, Matrix, judge_run, load_floors, load_records, load_run
from slimgate.gate.history import Entry, History, entry_from_run, find_drifts
from slimgate.measure import Budget, control, measure_pairs
from slimgate.study.control import CONTROL_WITHIN, control_complaint

from fixtures.fault_table import RESULTS
from fixtures.faults import OPTION
from fixtures.goldens import DEVICE, make_run
from fixtures.planted import CASES, ENGINE, RATIO, REQUIRED, accept_run, green_run
from fixtures.tiny_project import run_project

NIGHTS = 50
RESULT = RESULTS / "clean_runs.json"
ROUNDS = 41
FP32_MS = 12.0
PROJECTS = {"project": "project", "shipped": "shipped_project"}
MOST_JITTER, MOST_PREEMPTED, AWAY_MS = 0.06, 0.25, 8.0


class Night:
    """A machine in one night: how noisy it is, and a clock that only work moves."""

    def __init__(self, number: int) -> None:
        self.random = np.random.default_rng(number)
        self.jitter = self.random.uniform(0.01, MOST_JITTER)
        self.preempted = self.random.uniform(0.0, MOST_PREEMPTED)
        self.now_ns = 0

    def clock(self) -> int:
        return self.now_ns

    def arm(self, milliseconds: float) -> Callable[[], object]:
        def run() -> object:
            spent = milliseconds * float(self.random.lognormal(0, self.jitter))
            if self.random.random() < self.preempted:
                spent += float(self.random.exponential(AWAY_MS))
            self.now_ns += int(spent * 1e6)
            return None

        return run


def time_cases(number: int, budgets: dict[Any, float]) -> tuple[list[Measurement], int]:
    """Return the ratios of a night as the study measures them, and how many used their extension."""
    night = Night(number)
    against = control(night.arm(FP32_MS), rounds=ROUNDS, within=CONTROL_WITHIN, clock=night.clock)
    timed, extended = [], 0
    for one in green_run():
        if one.metric != "latency_ratio_b1":
            continue
        budget = budgets.get(one.case, 1.25)
        pairs = measure_pairs(
            night.arm(FP32_MS),
            night.arm(FP32_MS * RATIO[one.case]),
            rounds=ROUNDS,
            clock=night.clock,
            budget=Budget(highest=budget, comparisons=len(RATIO)),
        )
        extended += pairs.extended
        why = control_complaint(against, budget)
        timed.append(
            replace(
                one,
                value=pairs.ratio,
                interval=pairs.interval,
                confidence=pairs.confidence,
                simultaneous=pairs.simultaneous_interval(len(RATIO)),
                comparisons=len(RATIO),
                samples=pairs.log_ratios,
                valid=not why,
                why_invalid=why,
            )
        )
    return timed, extended


def measure_night(number: int, budgets: dict[Any, float]) -> tuple[list[Measurement], int]:
    """Return everything that a night measures, in an order of its own."""
    timed, extended = time_cases(number, budgets)
    order = random.Random(number)
    run = [one for one in green_run() if one.metric != "latency_ratio_b1"] + timed
    order.shuffle(run)
    changed = {
        "artifact_sha256": f"{order.getrandbits(256):064x}",
        "git_commit": f"{order.getrandbits(64):016x}",
        "machine": DEVICE,
    }
    versions = {"onnxruntime": f"1.{31 + number // 20}.{number % 3}", "numpy": f"2.3.{number % 4}"}
    return [
        replace(
            one,
            provenance={**one.provenance, **changed, "versions": {**one.provenance["versions"], **versions}},
        )
        for one in run
    ], extended


def write_budgets(golden: Path) -> dict[Any, float]:
    """Write the round numbers that people write for times, as the built-in study has them, and return them by case."""
    (path,) = (golden / "floors").glob("codes.cpu-*.toml")
    text = re.sub(
        r"max = ([\d.]+)", lambda found: f"max = {0.8 if float(found[1]) < 0.8 else 1.25}", path.read_text()
    )
    path.write_text(text)
    floors = load_floors(golden, "codes", device=DEVICE)
    return {
        case: floor.max
        for case in RATIO
        for floor in floors.for_metric(case, "latency_ratio_b1")
        if floor.max is not None
    }


def judge_night(golden: Path, run: list[Measurement], number: int) -> Judgement:
    cases = list(CASES)
    random.Random(number).shuffle(cases)
    return judge_run(
        run,
        load_floors(golden, "codes", device=DEVICE),
        load_records(golden, "codes", device=DEVICE),
        Matrix(
            cases=cases,
            full=True,
            required=REQUIRED,
            not_proven={ENGINE: "built, not run: no GPU"},
            run_id=f"night-{number}",
        ),
    )


def note(config: pytest.Config, part: str, result: dict[str, int]) -> None:
    """Write a part of the result when documents are being written."""
    if config.getoption(OPTION):
        known = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps({**known, part: result}, indent=1, sort_keys=True) + "\n")


def test_fifty_clean_nights_on_a_simulated_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # the clock is simulated: nothing is timed here
    golden = accept_run(tmp_path / "golden", measure_night(0, {})[0])
    budgets = write_budgets(golden)
    assert set(budgets) == set(RATIO)
    history: list[Entry] = []
    extended = verdicts = 0
    for number in range(1, NIGHTS + 1):
        run, more = measure_night(number, budgets)
        judgement = judge_night(golden, run, number)
        assert [one.message for one in judgement.red(strict_floors=True)] == [], f"night {number}"
        verdicts, extended = verdicts + len(judgement.verdicts), extended + more
        directory = make_run(
            tmp_path / f"night-{number}",
            run,
            judgement,
            run_id=f"20260101T0200{number:02}Z-{number:08x}",
            started=f"2026-01-{1 + number // 2:02}T{2 + number % 2 * 12:02}:00:00+00:00",
        )
        history.append(entry_from_run(load_run(directory)))
    drifts = find_drifts(history, history[0]).drifts
    assert [drift for drift in drifts if drift.worse] == []
    note(
        pytestconfig,
        "simulated",
        {
            "nights": NIGHTS,
            "verdicts": verdicts,
            "red": 0,
            "drifts": len(drifts),
            "comparisons": NIGHTS * len(RATIO),
            "extended": extended,
        },
    )


@pytest.mark.parametrize(
    ("part", "nights"),
    [
        pytest.param("project", 2, id="project-2"),
        # Two nights of the shipped detector say little more than the tests of accuracy do.
        *(pytest.param(part, NIGHTS, id=f"{part}-{NIGHTS}", marks=pytest.mark.slow) for part in PROJECTS),
    ],
)
def test_clean_nights_of_a_whole_project(
    part: str, request: pytest.FixtureRequest, pytestconfig: pytest.Config, nights: int
) -> None:
    project = request.getfixturevalue(PROJECTS[part])
    study = project / "tiny.toml"
    text = study.read_text()
    history = History(project / "history")
    verdicts = 0
    for number in range(nights):
        study.write_text(text.replace("threads = 1", f"threads = {1 + number % 2}"))
        if number % 10 == 9:
            shutil.rmtree(project / "store")
        run = run_project(project, f"night-{number}")
        assert [one.message for one in run.judgement.red(strict_floors=True)] == [], f"night {number}"
        verdicts += len(run.judgement.verdicts)
        history.append(load_run(run.directory))
    entries = history.load().entries
    assert len(entries) == nights
    drifts = find_drifts(entries, entries[0]).drifts
    assert drifts == ()
    if nights == NIGHTS:
        note(
            pytestconfig,
            part,
            {"nights": nights, "verdicts": verdicts, "red": 0, "drifts": len(drifts)},
        )
