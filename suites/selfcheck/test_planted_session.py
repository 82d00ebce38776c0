"""Faults in how the gate is run: options of the plugin, what may become evidence, and runs over time."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slimgate import plugin
from slimgate.cli import accept
from slimgate.detect import Protocol
from slimgate.errors import InputError, SlimgateError
from slimgate.flow import Status, Verdict
from slimgate.gate import Judgement, NotProven, judge
from slimgate.gate.history import Baseline, Entry, find_drifts, resolve_baseline
from slimgate.measure import compare_resampled, match_images, resample_metrics
from slimgate.measure.confusion import count_images
from slimgate.report.history import describe_drift

from fixtures.datasets import noisy_detections, peculiar_dataset
from fixtures.faults import Caught
from fixtures.goldens import FP32, INT8, STUDY_TOML, make_floor, make_measurement, make_record, make_run
from fixtures.histories import measure, run_name

QUIET = ("-p", "no:randomly", "-p", "no:benchmark", "-p", "no:cacheprovider", "-rs")
SUITE = """
import pytest
@pytest.mark.gate
def test_accuracy(gate_case, assert_verdicts): assert_verdicts(gate_case, "accuracy")
"""


# ---- options of the plugin


def judged(status: Status, case: Any = INT8) -> Verdict:
    return Verdict(
        case=case,
        metric="map50_95",
        status=status,
        measured=0.95,
        floor=0.89,
        unit="fraction",
        message=f"{case} map50_95: {status.value}\n  cause      planted",
    )


def run_gate(pytester: pytest.Pytester, judgement: Judgement, *options: str, study: str = "codes") -> Any:
    """Run the gate's tests of somebody's project on a finished run."""
    pytester.makepyfile(SUITE)
    (pytester.path / "study.toml").write_text(STUDY_TOML)
    facts = {"id": study, "required": []}
    directory = make_run(pytester.path / "run", [make_measurement()], judgement, study=facts)
    return pytester.runpytest_inprocess(
        *QUIET, "--slimgate-study", "study.toml", "--slimgate-run", str(directory), *options
    )


GREEN = Judgement(verdicts=(judged(Status.PASS), judged(Status.PASS, FP32)))


def said(result: Any, phrase: str) -> str:
    """Return the lines that hold a phrase, and demand that the session is red."""
    assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED), result.ret
    return "\n".join(line for line in [*result.outlines, *result.errlines] if phrase in line)


def test_nothing_planted_is_green(pytester: pytest.Pytester) -> None:
    assert run_gate(pytester, GREEN, "--slimgate-min-cases", "2").ret == pytest.ExitCode.OK


@pytest.mark.fault("a night in which nothing was judged")
def test_nothing_judged(pytester: pytest.Pytester, caught: Caught) -> None:
    """Every test skipped is exit code 0 for pytest."""
    gaps = tuple(NotProven(case=case, metric="case", reason="no runtime here") for case in (FP32, INT8))
    caught.text(said(run_gate(pytester, Judgement(not_proven=gaps)), caught.fault.says))


@pytest.mark.fault("fewer cases than a night must have")
def test_too_few_cases(pytester: pytest.Pytester, caught: Caught) -> None:
    result = run_gate(pytester, GREEN, "--slimgate-min-cases", "cpu=3")
    caught.text(said(result, caught.fault.says))


@pytest.mark.fault("a GPU lane without a GPU")
def test_no_gpu(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, caught: Caught) -> None:
    monkeypatch.setattr(plugin, "why_no_gpu", lambda: "the driver is not installed")
    pytester.makepyfile("import pytest\n@pytest.mark.gpu\ndef test_engine(): pass")
    result = pytester.runpytest_inprocess(*QUIET, "-o", "slimgate_markers=gpu", "--require", "gpu")
    caught.text(said(result, caught.fault.says))


@pytest.mark.fault("the run of another study")
def test_another_study(pytester: pytest.Pytester, caught: Caught) -> None:
    caught.text(said(run_gate(pytester, GREEN, study="labels"), caught.fault.says))


@pytest.mark.fault("a floor fallen behind")
def test_strict_floors(pytester: pytest.Pytester, caught: Caught) -> None:
    better = make_measurement(value=0.95)
    stale = Judgement(
        verdicts=(
            judge(better, make_floor(min=0.89, slack=0.01), record=make_record(better)),
            judged(Status.PASS, FP32),
        )
    )
    result = run_gate(pytester, stale, "--strict-floors")
    result.assert_outcomes(passed=1, failed=1)
    caught.text(said(result, caught.fault.says))


@pytest.mark.fault("a mark that slimgate does not have")
def test_an_unknown_mark(pytester: pytest.Pytester, caught: Caught) -> None:
    pytester.makepyfile("def test_one(): pass")
    result = pytester.runpytest_inprocess(*QUIET, "-o", "slimgate_markers=gpu slwo")
    caught.text(said(result, caught.fault.says))


@pytest.mark.fault("a requirement misspelt")
def test_an_unknown_requirement(pytester: pytest.Pytester, caught: Caught) -> None:
    caught.text(said(pytester.runpytest_inprocess(*QUIET, "--require", "gqu"), caught.fault.says))


# ---- what may become evidence


def refuse_to_accept(folder: Path, measurements: Any, judgement: Judgement | None = None, **run: Any) -> Any:
    """Return why a run is not accepted, and demand that nothing was written."""
    directory = make_run(folder / "run", measurements, judgement, **run)
    arguments = argparse.Namespace(
        run_dir=directory, golden=folder / "golden", reason="", another_device=False, allow_dirty=False
    )
    with pytest.raises(SlimgateError) as raised:
        accept.run(arguments)
    assert not (folder / "golden").exists()
    return raised.value


SOUND = [make_measurement("map50_95", 0.9), make_measurement("size_bytes", 2_850_000)]


@pytest.mark.fault("a record of uncommitted code")
def test_a_dirty_tree(tmp_path: Path, caught: Caught) -> None:
    caught.error(refuse_to_accept(tmp_path, SOUND, git={"commit": "1234567890abcdef", "dirty": True}))


@pytest.mark.fault("a record of a part of the study")
def test_a_partial_run(tmp_path: Path, caught: Caught) -> None:
    caught.error(refuse_to_accept(tmp_path, SOUND, complete=False, filter="int8"))


@pytest.mark.fault("a record of a NaN")
def test_a_nan_accepted(tmp_path: Path, caught: Caught) -> None:
    broken = [make_measurement("map50_95", float("nan")), SOUND[1]]
    caught.error(refuse_to_accept(tmp_path, broken))


@pytest.mark.fault("a record of another machine's times")
def test_strange_times(tmp_path: Path, caught: Caught) -> None:
    strange = make_measurement("latency_ratio_b1", 0.6, device="cpu:Intel Xeon")
    caught.error(refuse_to_accept(tmp_path, [*SOUND, strange]))


# ---- runs over time


@pytest.mark.fault("a red run as the baseline")
def test_a_red_baseline(make_entry: Callable[..., Entry], caught: Caught) -> None:
    """Saved as the next baseline, a slowdown fails once and then passes."""
    night = make_entry(3, red="latency_ratio_b1")
    baseline = Baseline(
        study=night.study,
        device=night.device,
        run=run_name(3),
        reason="the last one",
        date=dt.date(2026, 11, 23),
        where="golden/baseline.toml:4",
    )
    with pytest.raises(InputError) as raised:
        resolve_baseline(baseline, [night])
    caught.error(raised.value)


@pytest.mark.fault("a drift of half a percent a night")
def test_a_slow_drift(make_entry: Callable[..., Entry], caught: Caught) -> None:
    """No two nights differ by more than their noise, and every single one holds its floor."""
    noise = np.random.default_rng(0).normal(0, 0.02, 30)
    ratios = [float(0.6 * np.exp(noise[night] + 0.005 * night)) for night in range(30)]
    entries = [make_entry(night, measure(ratio=ratio)) for night, ratio in enumerate(ratios)]
    (drift,) = find_drifts(entries, entries[0]).drifts
    assert drift.worse
    caught.text(describe_drift(drift))


@pytest.mark.fault("a difference between other images")
def test_unpaired(caught: Caught) -> None:
    """Two detectors resampled on different images: the interval of their difference would mean nothing."""

    def resample(seed: int) -> Any:
        dataset = peculiar_dataset(seed, images=24)
        found = noisy_detections(dataset, seed)
        protocol = Protocol(image_size=320)
        counts = count_images(dataset, found, conf=protocol.deployed_conf, iou=protocol.match_iou)
        return resample_metrics(match_images(dataset, found, counts, protocol), resamples=10)

    with pytest.raises(SlimgateError) as raised:
        compare_resampled(resample(1), resample(2))
    caught.error(raised.value)
