"""The whole flow on a tiny detector: what a run directory holds, and what happens when something is wrong."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import shutil

import pytest
from slimgate.artifact import hash_file
from slimgate.artifact.trt import why_not_installed
from slimgate.errors import InputError, UsageError
from slimgate.flow import Family, Status
from slimgate.gate import Acceptance, load_run, propose_floors, write_records
from slimgate.gate.propose import propose_header
from slimgate.measure import read_matches
from slimgate.model import save_checkpoint

from fixtures.datasets import write_dataset
from fixtures.detectors import build_detector
from fixtures.tiny_project import STUDY, run_project


def test_a_run_holds_every_case_with_its_numbers(project):
    seen = []
    finished = run_project(
        project,
        progress=lambda stage, done, total, note: seen.append((stage, done, total)),
        strict_floors=True,
    )
    run = load_run(finished.directory)
    assert run.strict_floors
    assert set(run.cases) == {
        "tiny/fp32@onnxruntime",
        "tiny/fp32@torch",
        "tiny/int8@onnxruntime",
        "tiny/pruned@onnxruntime",
        "tiny/pruned@onnxruntime-cuda",
    }
    measured = {(str(one.case), one.metric): one for one in run.measurements}
    whole = run.cases["tiny/fp32@onnxruntime"]["model"]
    pruned = run.cases["tiny/pruned@onnxruntime"]["model"]
    assert pruned["parameters"] == whole["parameters"]
    assert pruned["nonzero_parameters"] < 0.6 * whole["nonzero_parameters"]
    assert measured["tiny/int8@onnxruntime", "int8_share"].value > 0.5
    assert measured["tiny/fp32@onnxruntime", "int8_share"].value == 0
    assert measured["tiny/int8@onnxruntime", "map50_95"].provenance["calibration_sha256"]
    assert measured["tiny/fp32@onnxruntime", "map50_95"].provenance["calibration_sha256"] is None
    assert set(run.run["broken"]) == {"every class taken for the next", "the detections of another picture"}
    assert {"map50_95", "misses"} <= set(run.run["broken"]["the detections of another picture"])
    # Six images are too few for an interval, and enough for a difference.
    against = run.cases["tiny/int8@onnxruntime"]["differences"][0]
    coco = {
        name: run.cases[f"tiny/{name}@onnxruntime"]["accuracy"]["coco"]["AP"] for name in ("int8", "fp32")
    }
    assert against["reference"] == "tiny/fp32@onnxruntime"
    assert against["metrics"]["map50_95"] == {"value": pytest.approx(coco["int8"] - coco["fp32"], abs=1e-12)}
    stored = run.cases["tiny/int8@onnxruntime"]["matches"]
    path = finished.directory / "cases" / stored["file"]
    assert (hash_file(path), path.stat().st_size) == (stored["sha256"], stored["size_bytes"])
    assert len(read_matches(path)[""]) == 6
    assert finished.report.is_file()
    assert len(run.run["pictures"]) == 2
    assert [stage for stage, done, total in seen if done == total]
    assert not list(project.glob(".run-*"))


@pytest.mark.timing
def test_an_aa_control_that_is_off_leaves_nothing_claimed_though_no_floor_asks(project, monkeypatch):
    from slimgate import measure

    def plant(name, **changes):
        really = getattr(measure, name)
        monkeypatch.setattr(measure, name, lambda *a, **k: dataclasses.replace(really(*a, **k), **changes))

    plant("control", ratio=1.1, interval=(1.08, 1.12))
    plant("measure_pairs", interval=(0.95, 0.98))
    judgement = run_project(project, expression="tiny/int8@onnxruntime", timing=True).judgement
    (claimed,) = [one for one in judgement.verdicts if one.metric == "pays/int8_b1"]
    assert claimed.status is Status.INVALID
    assert "the A/A control is off by 10.0%, more than half of the smallest effect, 5.0%" in claimed.message
    # Nobody asked about the time itself, so it is not red.
    assert not [one for one in judgement.verdicts if one.metric == "latency_ratio_b1"]


@pytest.mark.timing
def test_a_time_is_judged_among_all_comparisons_of_the_study_also_when_only_a_part_runs(project):
    finished = run_project(project, expression="tiny/int8@onnxruntime", timing=True)
    run = load_run(finished.directory)
    entry = run.cases["tiny/int8@onnxruntime"]["latency"]["batch1"]
    assert (entry["simultaneous"]["comparisons"], entry["looks"], entry["confidence"]) == (5, 2, 0.95)
    (measured,) = [
        one for one in run.measurements if (one.case.variant, one.metric) == ("int8", "latency_ratio_b1")
    ]
    assert measured.comparisons == 5
    low, high = measured.simultaneous
    assert low <= measured.interval[0] <= measured.value <= measured.interval[1] <= high
    assert any(verdict.metric == "pays/int8_b1" for verdict in finished.judgement.verdicts)


def test_same_weights_give_the_same_accuracy_in_two_runtimes(project):
    cases = load_run(run_project(project, expression="fp32").directory).cases
    ours = cases["tiny/fp32@onnxruntime"]["accuracy"]["coco"]
    theirs = cases["tiny/fp32@torch"]["accuracy"]["coco"]
    assert ours["AP"] == pytest.approx(theirs["AP"], abs=0.01)


def test_every_case_that_runs_is_compared_with_its_own_network_in_torch(project):
    run = load_run(run_project(project).directory)
    ran = {name: record["parity"] for name, record in run.cases.items() if "accuracy" in record}
    assert {one["images"] for one in ran.values()} == {4}
    assert ran["tiny/fp32@torch"]["score_max_abs"] == 0
    # Pruning is no difference: the reference is the pruned module.
    for name in ("tiny/fp32@onnxruntime", "tiny/pruned@onnxruntime"):
        assert 0 < ran[name]["score_max_abs"] < 1e-4
        assert ran[name]["box_max_share"] == ran[name]["box_max_px"] / 64 < 1e-4
    assert ran["tiny/int8@onnxruntime"]["score_max_abs"] > 1e-3
    measured = {(str(one.case), one.metric): one.value for one in run.measurements}
    assert (
        measured["tiny/int8@onnxruntime", "parity_max_abs"] == (ran["tiny/int8@onnxruntime"]["score_max_abs"])
    )
    assert ("tiny/pruned@onnxruntime-cuda", "parity_max_abs") not in measured


def test_a_runtime_that_is_fed_blue_for_red_fails_its_parity_floor_and_nothing_else_does(
    project, monkeypatch
):
    from slimgate.runtime.ort import OnnxRuntimeRunner

    accepted = load_run(run_project(project, "one", expression="fp32").directory)
    chosen = [one for one in accepted.measurements if one.metric in ("parity_max_abs", "size_bytes")]
    acceptance = Acceptance(run_id="one", started="2026-11-20T08:00:00Z", git_commit="fedcba")
    write_records(chosen, acceptance, project / "golden")
    text = propose_header("tiny", None) + propose_floors(chosen, today="2026-11-20")
    # An untrained network hardly looks at colour (a swap moves its scores by 2e-5): the floor stands just above
    # float noise, which is 1e-7.
    text = re.sub(r"(parity_max_abs = \{ max =) [\d.]+", r"\1 0.000002", text)
    (project / "golden" / "floors" / "tiny.toml").write_text(text)

    def red(name: str) -> set[tuple[str, str, Status]]:
        judged = run_project(project, name, expression="fp32").judgement
        return {(str(one.case), one.metric, one.status) for one in judged.red() if one.metric != "map50_95"}

    assert red("two") == set()
    infer = OnnxRuntimeRunner._infer
    monkeypatch.setattr(OnnxRuntimeRunner, "_infer", lambda self, images: infer(self, images[:, ::-1].copy()))
    assert red("three") == {("tiny/fp32@onnxruntime", "parity_max_abs", Status.FAIL)}


def test_without_floors_everything_required_is_invalid_and_says_what_to_paste(project):
    until = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=30)
    waivers = project / "golden" / "waivers.toml"
    waivers.write_text(
        'format = "slimgate-waivers/1"\n[[waiver]]\ncase = "tiny/fp32@onnxruntime"\nmetric = "map50_95"\n'
        f'owner = "Ada"\nreason = "it is being trained"\nexpires = {until}\n'
    )
    judgement = run_project(project, expression="fp32@onnxruntime").judgement
    assert {one.metric for one in judgement.verdicts} == {"map50_95", "size_bytes"}
    assert {one.status for one in judgement.verdicts} == {Status.INVALID}
    assert all("no floor" in one.message for one in judgement.verdicts)
    told = [
        one.metric for one in judgement.verdicts if "what cannot be judged cannot be waived" in one.message
    ]
    assert told == ["map50_95"]
    left = project / "golden" / "records" / "tiny" / "cpu-other" / "fp32@torch.json"
    left.parent.mkdir(parents=True)
    left.write_text('{"format": "slimgate-record/0"}')
    with pytest.raises(InputError, match=r"'slimgate-record/0', older than .*\n.*\n.*accept it"):
        run_project(project, "first", expression="fp32@onnxruntime")
    left.unlink()
    waivers.write_text("[[waiver]\n")
    with pytest.raises(InputError, match=r"golden/waivers.toml:1: not TOML"):
        run_project(project, "second", expression="fp32@onnxruntime")


def test_low_detections_are_kept_of_references_alone_and_no_longer_than_they_are_needed(project, monkeypatch):
    from slimgate.study import pipeline, scoring

    measure, add_shift, works, held = pipeline.measure_accuracy, scoring.add_score_shift, [], []

    def look(study, listed, work):
        add_shift(study, listed, work)
        held.append([str(one.case) for one in listed if one.everything])

    def keep(prepared, listed, progress):
        works.extend(listed)
        return measure(prepared, listed, progress)

    monkeypatch.setattr(scoring, "add_score_shift", look)
    monkeypatch.setattr(pipeline, "measure_accuracy", keep)
    run_project(project, expression="fp32 or int8 or pruned")
    references = ["tiny/fp32@onnxruntime", "tiny/fp32@torch"]
    assert held == [
        references[:1],
        references,
        [*references, "tiny/int8@onnxruntime"],
        [*references, "tiny/pruned@onnxruntime"],
    ]
    assert not [one for one in works if one.everything]
    shifted = {
        one.case.variant + "@" + one.case.runtime: one.record["score_shift"]["reference"]
        for one in works
        if "score_shift" in one.record
    }
    assert shifted == dict.fromkeys(
        ("fp32@torch", "int8@onnxruntime", "pruned@onnxruntime"), "tiny/fp32@onnxruntime"
    )


def test_a_second_run_builds_nothing_again(project, monkeypatch):
    run_project(project, "one")
    for function in ("export_onnx", "write_qdq"):
        monkeypatch.setattr(f"slimgate.artifact.{function}", lambda *_, **__: pytest.fail("built again"))
    run_project(project, "two")


def test_a_corrupted_store_entry_is_rebuilt_and_the_run_is_the_same(project):
    first = load_run(run_project(project, "one", expression="fp32@onnxruntime").directory)
    (file,) = (project / "store").rglob("*.onnx")
    file.write_bytes(file.read_bytes()[:-100])
    second = load_run(run_project(project, "two", expression="fp32@onnxruntime").directory)
    key = "tiny/fp32@onnxruntime"
    assert second.cases[key]["accuracy"] == first.cases[key]["accuracy"]
    assert second.cases[key]["artifact"]["sha256"] == first.cases[key]["artifact"]["sha256"]


def test_an_existing_run_directory_is_not_touched(project):
    (project / "run").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        run_project(project)


def test_a_budget_is_measured_on_labelled_pictures_and_stands_in_the_record(project):
    labelled = 'calibration_images = 4\nlabelled = "calib/instances.json"\nlabelled_images = 2'
    text = STUDY.replace("calibration_images = 6", labelled)
    settings = 'precision = "int8"\nint8 = { observer = "percentile", budget = 0.9 }'
    (project / "tiny.toml").write_text(text.replace('precision = "int8"', settings))
    run = run_project(project, expression="int8")
    record = json.loads((run.directory / "cases" / "int8@onnxruntime.json").read_text())
    step = record["lineage"][-1]
    assert step["settings"] == {"target": "x86", "observer": "percentile", "budget": 0.9}
    assert step["notes"]["calibration_count"] == 4
    facts = record["artifact"]["facts"]
    assert facts["sensitivity"]["returned"] == []
    # All but the stem, which is in float and reads the image itself: exact.
    assert len(facts["sqnr_db"]) == facts["convolutions"] - 1


def test_labelled_pictures_are_never_evaluated_ones(project):
    labelled = 'calibration_images = 4\nlabelled = "data/instances.json"\nlabelled_images = 2'
    text = STUDY.replace("calibration_images = 6", labelled)
    settings = 'precision = "int8"\nint8 = { budget = 0.9 }'
    (project / "tiny.toml").write_text(text.replace('precision = "int8"', settings))
    with pytest.raises(InputError, match="2 of 2 labelled pictures are also evaluated"):
        run_project(project, expression="int8")


def test_calibrating_on_evaluated_images_is_refused(project):
    shutil.rmtree(project / "calib")
    write_dataset(project / "calib")
    with pytest.raises(InputError, match="calibration images are also evaluated"):
        run_project(project, expression="int8")


def test_other_class_names_are_refused(project):
    path = project / "data" / "instances.json"
    value = json.loads(path.read_text())
    value["categories"][0]["name"] = "aztec"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match="aztec"):
        run_project(project, expression="fp32")


def test_pictures_are_those_in_which_the_cases_differ(project):
    run = load_run(run_project(project).directory)
    for name, entry in run.run["pictures"].items():
        assert (run.directory / entry["file"]).read_bytes()[:2] == b"\xff\xd8"
        assert re.fullmatch(r"\d+", name)
        assert name in run.cases["tiny/fp32@torch"]["pictures"]


def test_a_slim_variant_says_how_it_came_to_be(project, tiny_detector):
    stages = {"operation": "train", "epochs_done": 2, "curve": [{"epoch": 1}, {"epoch": 2}]}
    trained = dataclasses.replace(tiny_detector, training=stages)
    save_checkpoint(trained, project / "weights" / "trained.safetensors")
    own = 'weights = "weights/trained.safetensors"\n'
    text = STUDY.replace(
        'operations = ["prune:0.5,scope=layer"]',
        own + 'operations = ["slim:0.5,multiple=4,importance=l2"]\ncontrols = { dense = "retrained" }',
    )
    text += f'[[variant]]\nname = "retrained"\n{own}runtimes = ["onnxruntime"]\n'
    (project / "tiny.toml").write_text(text)
    run = load_run(run_project(project, expression="fp32@torch or pruned@onnxruntime or retrained").directory)
    slim = run.cases["tiny/pruned@onnxruntime"]
    assert slim["controls"] == {"dense": "retrained"}
    assert run.run["trainings"] == {slim["training"]: {"stages": [stages]}}
    assert run.cases["tiny/retrained@onnxruntime"]["training"] == slim["training"]
    assert [8, 4] in slim["widths"].values()
    assert not {"training", "widths", "controls"} & set(run.cases["tiny/fp32@torch"])


def test_the_fingerprint_is_that_of_the_weights_that_a_variant_brings(project):
    own = dataclasses.replace(build_detector(Family.ULTRALYTICS, seed=1), name="own")
    save_checkpoint(own, project / "weights" / "own.safetensors")
    text = STUDY.replace('operations = ["prune:0.5,scope=layer"]', 'weights = "weights/own.safetensors"')
    (project / "tiny.toml").write_text(text)
    run = load_run(run_project(project, expression="fp32@torch or pruned@onnxruntime").directory)
    found = {one.case.variant: one.provenance["weights_sha256"] for one in run.measurements}
    assert found["pruned"] == own.weights_sha256 != found["fp32"]


def test_a_variant_that_suppresses_inside_is_evaluated_by_its_rows(project):
    text = (project / "tiny.toml").read_text()
    (project / "tiny.toml").write_text(
        text + '[[variant]]\nname = "rows"\nnms = true\nruntimes = ["onnxruntime", "tensorrt"]\n'
    )
    finished = run_project(project, expression="tiny/fp32@onnxruntime or tiny/rows")
    run = load_run(finished.directory)
    rows, raw = run.cases["tiny/rows@onnxruntime"], run.cases["tiny/fp32@onnxruntime"]
    assert rows["artifact"]["facts"]["nms"] == {"conf": 0.001, "iou": 0.6, "max_det": 300}
    # At the deployed confidence both answer for best classes alone: the counts are the same.
    assert rows["confusion"] == raw["confusion"]
    assert "parity" not in rows
    protocols = {str(one.case): one.provenance["protocol"]["multi_label"] for one in run.measurements}
    assert protocols["tiny/rows@onnxruntime"] is False
    assert protocols["tiny/fp32@onnxruntime"] is True


@pytest.mark.skipif(why_not_installed("tensorrt-rtx") is not None, reason="tensorrt-rtx is not installed")
def test_an_engine_is_built_for_the_batches_of_its_variant(project):
    text = (project / "tiny.toml").read_text()
    runtimes = '["tensorrt-rtx", "tensorrt-rtx-cudagraph"]'
    (project / "tiny.toml").write_text(
        text + f'[[variant]]\nname = "engine"\nruntimes = {runtimes}\nbatches = [8, 32]\n'
    )
    run = load_run(run_project(project, expression="tiny/engine").directory)
    plain, captured = (
        run.cases["tiny/engine@tensorrt-rtx-sm86"],
        run.cases["tiny/engine@tensorrt-rtx-cudagraph-sm86"],
    )
    # Batch 1 is not timed here, but accuracy is measured at it.
    assert plain["artifact"]["facts"]["profiles"] == [[1, 1, 32]]
    assert captured["artifact"]["sha256"] == plain["artifact"]["sha256"]
