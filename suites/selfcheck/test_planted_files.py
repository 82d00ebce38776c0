"""Faults in files: exports, engines and their manifests, floors, records and waivers."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slimgate.artifact import artifact_from_file
from slimgate.artifact.card import Card
from slimgate.artifact.engine_information import check_executed
from slimgate.artifact.graph import load_onnx
from slimgate.artifact.load import read_card
from slimgate.artifact.manifest import manifest_json, manifest_path
from slimgate.artifact.plan_header import PlanHeader
from slimgate.errors import InputError
from slimgate.flow import Artifact, Status
from slimgate.gate import Matrix, apply_waivers, judge_run, load_floors, load_records, load_waivers
from slimgate.measure import evaluate_runner
from slimgate.runtime.engine_fit import check_engine_fits
from slimgate.runtime.ort_placement import CPU, Placed, check_placement
from slimgate.study.broken import score_broken

from fixtures.artifacts import ArtifactSet, random_images
from fixtures.faults import Caught
from fixtures.goldens import DEVICE, FP32, INT8, make_measurement
from fixtures.planted import Plant, accept_green_run, green_run, judge_plant
from fixtures.planted_models import FP32 as SHIPPED_FP32
from fixtures.planted_models import Bench, accept

TODAY = dt.date(2026, 11, 23)


def refuse(act: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as raised:
        act()
    return raised.value


# ---- export


def rewritten(artifacts: ArtifactSet, path: Path, change: Callable[[Any], object]) -> Path:
    """Write the tiny FP32 file with something done to it."""
    import onnx

    model = load_onnx(artifacts.fp32.path)
    change(model)
    onnx.save(model, str(path))
    return path


@pytest.mark.fault("predictions turned over")
def test_turned_predictions(artifacts: ArtifactSet, tmp_path: Path, caught: Caught) -> None:
    """What many exporters write: candidates first."""
    import onnx

    def turn(model: Any) -> None:
        (output,) = model.graph.output
        model.graph.node.append(onnx.helper.make_node("Transpose", [output.name], ["turned"], perm=[0, 2, 1]))
        output.name = "turned"
        _, rows, candidates = output.type.tensor_type.shape.dim
        rows.dim_value, candidates.dim_value = candidates.dim_value, rows.dim_value

    path = rewritten(artifacts, tmp_path / "turned.onnx", turn)
    caught.error(refuse(lambda: artifact_from_file(path)))


@pytest.mark.fault("class names lost")
def test_lost_names(artifacts: ArtifactSet, tmp_path: Path, caught: Caught) -> None:
    path = rewritten(artifacts, tmp_path / "m.onnx", lambda model: model.ClearField("metadata_props"))
    caught.error(refuse(lambda: artifact_from_file(path)))


@pytest.mark.fault("metadata of another export")
def test_metadata_of_another_export(artifacts: ArtifactSet, tmp_path: Path, caught: Caught) -> None:
    from slimgate.artifact.load import set_card

    def describe_another(model: Any) -> None:
        card = read_card(artifacts.fp32.path, load_onnx(artifacts.fp32.path))
        set_card(model, replace(card, image_size=96))

    path = rewritten(artifacts, tmp_path / "m.onnx", describe_another)
    caught.error(refuse(lambda: artifact_from_file(path)))


@pytest.mark.fault("a class fewer in the file")
def test_a_class_fewer(artifacts: ArtifactSet, tmp_path: Path, caught: Caught) -> None:
    from slimgate.artifact.load import set_card

    def forget_one(model: Any) -> None:
        card = read_card(artifacts.fp32.path, load_onnx(artifacts.fp32.path))
        set_card(model, replace(card, class_names=card.class_names[:-1]))

    path = rewritten(artifacts, tmp_path / "m.onnx", forget_one)
    caught.error(refuse(lambda: artifact_from_file(path)))


@pytest.mark.fault("an export cut short")
def test_an_export_cut_short(artifacts: ArtifactSet, tmp_path: Path, caught: Caught) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(artifacts.fp32.path.read_bytes()[:-1000])
    caught.error(refuse(lambda: artifact_from_file(path)))


@pytest.mark.fault("pictures of another size than the export's")
def test_another_image_size(artifacts: ArtifactSet, caught: Caught) -> None:
    from slimgate.runtime import get_runtime

    small = np.ascontiguousarray(random_images(1)[..., :32, :32])
    with get_runtime("onnxruntime").open(artifacts.fp32, threads=1) as runner:
        caught.error(refuse(lambda: runner.run(small)))


# ---- engines; none of them is run, so no GPU is needed


def write_engine(folder: Path, source: Artifact) -> Path:
    """Write what an engine of TensorRT 10.9 begins with, and its manifest."""
    path = folder / "codes-int8.engine"
    path.write_bytes((b"ftrt" + bytes(20) + bytes((10, 9, 0, 34))).ljust(4096, b"\x01"))
    card = read_card(source.path, load_onnx(source.path))
    from slimgate.artifact import hash_file

    engine = replace(
        source,
        path=path,
        format="engine",
        sha256=hash_file(path),
        size_bytes=path.stat().st_size,
        facts={"kind": "tensorrt", "compute_capability": "8.6"},
    )
    manifest_path(path).write_text(json.dumps(manifest_json(engine, Card.from_json(card.to_json()))))
    assert artifact_from_file(path).facts["kind"] == "tensorrt"
    return path


@pytest.mark.fault("an engine beside another build's manifest")
def test_another_builds_manifest(artifacts: ArtifactSet, tmp_path: Path, caught: Caught) -> None:
    path = write_engine(tmp_path, artifacts.fp32)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    caught.error(refuse(lambda: artifact_from_file(path)))


@pytest.mark.fault("an engine without its manifest")
def test_no_manifest(artifacts: ArtifactSet, tmp_path: Path, caught: Caught) -> None:
    path = write_engine(tmp_path, artifacts.fp32)
    manifest_path(path).unlink()
    caught.error(refuse(lambda: artifact_from_file(path)))


def fit(path: Path, *, installed: str = "10.9.0.34", device: str = "8.6") -> None:
    header = PlanHeader("tensorrt", "10.9.0.34")
    check_engine_fits(artifact_from_file(path), header, installed=installed, device=device)


@pytest.mark.fault("an engine for another GPU")
def test_another_gpu(artifacts: ArtifactSet, tmp_path: Path, caught: Caught) -> None:
    path = write_engine(tmp_path, artifacts.fp32)
    fit(path)
    caught.error(refuse(lambda: fit(path, device="8.9")))


@pytest.mark.fault("an engine of another TensorRT")
def test_another_tensorrt(artifacts: ArtifactSet, tmp_path: Path, caught: Caught) -> None:
    path = write_engine(tmp_path, artifacts.fp32)
    caught.error(refuse(lambda: fit(path, installed="10.13.3.9")))


@pytest.mark.fault("an FP32 engine named int8")
def test_an_fp32_engine_named_int8(caught: Caught) -> None:
    """Built without an error, as large and as slow as FP32; the inspector says what its layers run in."""
    linear = {"Name": "x", "Dimensions": [1, 16, 80, 80], "Format/Datatype": "Row major linear FP32"}
    graph = {f"/model.{index}/conv/Conv": {"macs": 100, "precision": "int8"} for index in range(3)}
    layers = [
        {
            "Name": node,
            "LayerType": "CaskConvolution",
            "ParameterType": "Convolution",
            "Inputs": [linear],
            "Outputs": [linear],
            "TacticName": "sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32",
            "Weights": {"Type": "Float", "Count": 4608},
            "Metadata": f"[ONNX Layer: {node}]",
        }
        for node in graph
    ]
    information = json.dumps({"Layers": layers, "Bindings": ["images", "predictions"]})
    caught.error(refuse(lambda: check_executed("codes-int8.engine", information, graph)))


@pytest.mark.fault("convolutions that fell back to the CPU")
def test_fallen_back(caught: Caught) -> None:
    cuda = "CUDAExecutionProvider"
    placed = {f"/model.{index}/conv/Conv": Placed(cuda, "Conv") for index in range(9)}
    check_placement("codes-int8.onnx", placed, provider=cuda)
    left = {**placed, "/model.4/conv/Conv": Placed(CPU, "Conv")}
    caught.error(refuse(lambda: check_placement("codes-int8.onnx", left, provider=cuda)))


# ---- floors, records, waivers


@pytest.fixture
def accepted(tmp_path: Path) -> Path:
    return accept_green_run(tmp_path / "golden")


def edit(golden: Path, before: str, after: str) -> InputError:
    """Return the complaint about a floors file after one edit by hand."""
    path = golden / "floors" / "codes.toml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    return refuse(lambda: load_floors(golden, "codes", device=DEVICE))


EDITS = {
    "a floor in percent": ("min = 0.891", "min = 89.1"),
    "a floor of a metric that does not exist": ("map50_95 =", "map50-95 ="),
    "a floor that cannot fail": ("min = 0.891", "min = 0.0"),
    "a slack as wide as the metric": ("slack = 0.01", "slack = 0.3"),
    "a floor in another unit": ('unit = "bytes"', 'unit = "megabytes"'),
    "a bound misspelt": ("min = 0.891", "mim = 0.891"),
    "marks of a merge left in the floors": ("[[case]]", "<<<<<<< HEAD\n[[case]]"),
    "floors of a newer version": ("slimgate-floors/1", "slimgate-floors/2"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.fault(name), id=name) for name in EDITS]
)
def test_floors_edited_by_hand(accepted: Path, caught: Caught, name: str) -> None:
    caught.error(edit(accepted, *EDITS[name]))


@pytest.mark.fault("a record cut short")
def test_a_record_cut_short(accepted: Path, caught: Caught) -> None:
    path = accepted / "records" / "codes" / "any" / "int8@onnxruntime.json"
    path.write_text(path.read_text()[:-50])
    caught.error(refuse(lambda: load_records(accepted, "codes", device=DEVICE)))


@pytest.mark.fault("a floor that a broken detector holds")
def test_a_vacuous_floor(bench: Bench, tmp_path: Path, caught: Caught) -> None:
    """The floor of a class that hardly occurs, written far below what the detector scores."""
    dataset = bench.dataset.head(16)
    with bench.open(bench.fp32) as runner:
        evaluation = evaluate_runner(runner, dataset, bench.protocol)
    broken = score_broken([("", dataset, evaluation)], bench.protocol)
    run = [one for one in bench.run(SHIPPED_FP32, bench.fp32, dataset) if one.metric == "map50_95"]
    golden = accept(tmp_path / "golden", run).golden
    worst = max(scores["map50_95"] for scores in broken.values())
    path = golden / "floors" / "codes.toml"
    text = path.read_text()
    found = next(line for line in text.splitlines() if line.startswith("map50_95 ="))
    floors = f'map50_95 = {{ min = {max(worst / 2, 1e-6):.6f}, slack = 0.05, unit = "fraction" }}'
    path.write_text(text.replace(found, floors))
    matrix = Matrix(cases=(SHIPPED_FP32,), full=False, required=(), run_id="next", broken=broken)
    red = judge_run(
        run,
        load_floors(golden, "codes", device="cpu"),
        load_records(golden, "codes", device="cpu"),
        matrix,
    ).red()
    assert [(one.case, one.metric, one.status) for one in red] == [(SHIPPED_FP32, "map50_95", Status.INVALID)]
    caught.verdicts(red)


WAIVER = """\
format = "slimgate-waivers/1"

[[waiver]]
case = "codes/int8@onnxruntime"
metric = "map50_95"
owner = "Ada"
reason = "the new head is being trained"
expires = {expires}
"""


def judge_waived(accepted: Path, plant: Plant, expires: str) -> Any:
    (accepted / "waivers.toml").write_text(WAIVER.format(expires=expires))
    waivers = load_waivers(accepted, today=TODAY)
    judgement = judge_plant(plant, accepted)
    here = {"cpu:Ada A1, 2 cores"}
    return apply_waivers(judgement, waivers, cases=plant.cases, full=True, today=TODAY, devices=here).red()


@pytest.mark.fault("a waiver that has expired")
def test_an_expired_waiver(accepted: Path, caught: Caught) -> None:
    lower = Plant(green_run()).change(INT8, "map50_95", value=0.85)
    assert judge_waived(accepted, lower, "2026-12-31") == ()
    red = judge_waived(accepted, lower, "2026-11-22")
    assert [(one.case, one.metric) for one in red] == [(INT8, "map50_95")]
    caught.verdicts(red)


@pytest.mark.fault("a waiver of another machine")
def test_a_waiver_of_another_machine(accepted: Path, caught: Caught) -> None:
    lower = Plant(green_run()).change(INT8, "map50_95", value=0.85)
    assert judge_waived(accepted, lower, '2026-12-31\ndevices = ["cpu:Ada A1, 2 cores"]') == ()
    red = judge_waived(accepted, lower, '2026-12-31\ndevices = ["cpu:Bell B2, 8 cores"]')
    assert [(one.case, one.metric) for one in red] == [(INT8, "map50_95")]
    caught.verdicts(red)


@pytest.mark.fault("a waiver for what cannot be judged")
def test_a_waived_nan(accepted: Path, caught: Caught) -> None:
    broken = Plant(green_run()).change(INT8, "map50_95", value=float("nan"))
    red = judge_waived(accepted, broken, "2026-12-31")
    assert [(one.case, one.metric, one.status) for one in red] == [(INT8, "map50_95", Status.INVALID)]
    caught.verdicts(red)


@pytest.mark.fault("a waiver for years")
def test_a_waiver_for_years(accepted: Path, caught: Caught) -> None:
    (accepted / "waivers.toml").write_text(WAIVER.format(expires="2031-12-31"))
    caught.error(refuse(lambda: load_waivers(accepted, today=TODAY)))


@pytest.mark.fault("a metric measured twice")
def test_measured_twice(accepted: Path, caught: Caught) -> None:
    plant = Plant([*green_run(), make_measurement("map50_95", 0.95, FP32)])
    red = [one for one in judge_plant(plant, accepted).red() if "twice" in one.message]
    assert [(one.case, one.metric) for one in red] == [(FP32, "map50_95")]
    caught.verdicts(red)
