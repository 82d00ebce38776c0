"""A case that cannot run, or breaks on its way: it alone is not proven or INVALID, and the others go on."""

from __future__ import annotations

import dataclasses

import pytest
from slimgate.errors import InputError
from slimgate.flow import Status
from slimgate.gate import load_run
from slimgate.measure import environment

from fixtures.tiny_project import STUDY, run_project


def test_a_case_whose_runtime_fails_while_it_runs_is_invalid_and_the_others_go_on(project, monkeypatch):
    from slimgate.runtime.ort import OnnxRuntimeRunner

    infer, calls = OnnxRuntimeRunner._infer, []

    def break_later(self, images):
        calls.append(1)
        if len(calls) > 3:
            raise RuntimeError("CUDA failure 2: out of memory")
        return infer(self, images)

    monkeypatch.setattr(OnnxRuntimeRunner, "_infer", break_later)
    finished = run_project(project, expression="fp32")
    verdicts = {(str(one.case), one.metric): one for one in finished.judgement.verdicts}
    broken = verdicts["tiny/fp32@onnxruntime", "case"]
    assert broken.status is Status.INVALID
    assert "it failed: run on onnxruntime: failed on a batch of" in broken.message
    assert "(RuntimeError: CUDA failure 2: out of memory)" in broken.message
    assert load_run(finished.directory).cases["tiny/fp32@torch"]["accuracy"]


def test_a_case_that_cannot_run_here_is_not_proven_with_the_reason(project):
    from slimgate.runtime import get_runtime

    reason = get_runtime("onnxruntime-cuda").why_unavailable()
    if reason is None:
        pytest.skip("this machine runs it")
    judgement = run_project(project, expression="pruned").judgement
    gaps = {str(gap.case): gap.reason for gap in judgement.not_proven}
    assert reason in gaps["tiny/pruned@onnxruntime-cuda"]


def test_a_gpu_case_on_a_gpu_that_nobody_can_name_is_invalid(project, monkeypatch):
    from slimgate.runtime import RUNTIMES

    monkeypatch.setitem(environment.__globals__, "gpu_name", lambda: None)
    there = dataclasses.replace(RUNTIMES["onnxruntime-cuda"], why_unavailable=lambda: None)
    monkeypatch.setitem(RUNTIMES, "onnxruntime-cuda", there)
    judgement = run_project(project, expression="tiny/pruned@onnxruntime-cuda").judgement
    (verdict,) = [one for one in judgement.verdicts if one.status is Status.INVALID]
    assert str(verdict.case) == "tiny/pruned@onnxruntime-cuda"
    assert "nvidia-smi does not tell which GPU this is" in verdict.message


def test_without_a_gpu_every_gpu_case_is_not_proven_for_that_one_reason(project, monkeypatch):
    from slimgate.artifact.trt import NO_GPU
    from slimgate.runtime.gpu import why_no_gpu

    if why_no_gpu() is None:
        pytest.skip("this machine has a GPU")
    text = STUDY.replace(
        '"onnxruntime-cuda"]',
        '"onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx"]\n'
        'compute_capability = "device"',
    )
    (project / "tiny.toml").write_text(text)
    judgement = run_project(project, expression="cuda or tensorrt").judgement
    gaps = {
        str(gap.case).partition("@")[2]: gap.reason for gap in judgement.not_proven if gap.metric == "case"
    }
    assert set(gaps) == {"onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt-device", "tensorrt-rtx-device"}
    assert all(NO_GPU in reason for reason in gaps.values())
    assert gaps["tensorrt-device"].startswith(f"compute capability 'device': {NO_GPU}; expected: a GPU")


def test_a_case_that_cannot_be_timed_is_invalid_and_the_others_go_on(project, monkeypatch):
    def refuse(*_):
        raise InputError("input of engine", found="batch 32", expected="batch 1", action="export")

    monkeypatch.setattr("slimgate.study.comparisons.Pairs._time_control", refuse)
    judgement = run_project(project, expression="fp32@onnxruntime", timing=True).judgement
    (verdict,) = judgement.red()
    assert (verdict.metric, verdict.status) == ("case", Status.INVALID)
    assert "input of engine: batch 32" in verdict.message


def test_interrupted_runs_leave_nothing_but_the_store(project, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("slimgate.measure.evaluate_runner", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_project(project)
    assert not (project / "run").exists()
    assert not list(project.glob(".run-*"))
    assert list((project / "store").rglob("entry.json"))


def test_a_case_that_breaks_is_invalid_and_the_others_go_on(project, monkeypatch):
    def broken(*_, **__):
        raise InputError("graph", found="planted", expected="nothing", action="look")

    monkeypatch.setattr("slimgate.artifact.write_qdq", broken)
    judgement = run_project(project, expression="int8 or fp32@onnxruntime").judgement
    messages = {str(one.case): one.message for one in judgement.verdicts if one.metric == "case"}
    assert list(messages) == ["tiny/int8@onnxruntime"]
    assert "planted" in messages["tiny/int8@onnxruntime"]
