"""``slimgate export``, as a user types it."""

import json

import onnx
import pytest
from PIL import Image
from slimgate.artifact import artifact_from_file
from slimgate.artifact.trt import why_not_installed
from slimgate.cli import main
from slimgate.data import calibration_list, load_dataset
from slimgate.model import save_checkpoint

from fixtures.artifacts import random_images


@pytest.fixture(scope="module")
def checkpoint(artifacts, tmp_path_factory):
    return save_checkpoint(artifacts.detector, tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return a YOLO dataset of six pictures."""
    folder = tmp_path_factory.mktemp("calib")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for index, image in enumerate(random_images(6)):
        picture = Image.fromarray((image.transpose(1, 2, 0) * 255).astype("uint8"))
        picture.save(folder / "images" / f"{index}.png")
        (folder / "labels" / f"{index}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "classes.txt").write_text("datamatrix\nqrcode\nbarcode\n")
    return folder


def _run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_fp32_goes_beside_nothing_but_where_it_is_told(checkpoint, tmp_path, capsys):
    out = tmp_path / "new" / "tiny.onnx"
    code, text, _ = _run(capsys, "export", checkpoint, "-o", out)
    assert code == 0
    assert "fp32 100.0%" in text
    assert f"wrote {out}" in text
    assert artifact_from_file(out).batch == 0


def test_int8_from_an_onnx_file_says_what_it_was_calibrated_on(artifacts, images, tmp_path, capsys):
    out = tmp_path / "tiny-int8.onnx"
    arguments = ["--precision", "int8", "--calib", images, "--calib-count", "6", "-o", out]
    code, text, _ = _run(capsys, "export", artifacts.fp32.path, *arguments)
    assert code == 0
    assert "in onnxruntime" in text
    artifact = artifact_from_file(out)
    assert artifact.target == "x86"
    assert artifact.lineage[-1].notes["calibration_count"] == 6


def test_calibrating_on_the_evaluated_images_is_refused(artifacts, images, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    arguments = [
        "--precision",
        "int8",
        "--calib",
        images,
        "--evaluated",
        images,
        "--calib-count",
        "6",
        "-o",
        out,
    ]
    code, _, error = _run(capsys, "export", artifacts.fp32.path, *arguments)
    assert code == 2
    assert "6 of 6 calibration images are also evaluated" in error
    assert not out.exists()


@pytest.fixture
def splits(tmp_path):
    """Return a data.yaml with six training pictures and two others to evaluate."""
    for split, first, count in (("train", 0, 6), ("val", 6, 2)):
        for name in ("images", "labels"):
            (tmp_path / name / split).mkdir(parents=True)
        for index, image in enumerate(random_images(first + count)[first:]):
            picture = Image.fromarray((image.transpose(1, 2, 0) * 255).astype("uint8"))
            picture.save(tmp_path / "images" / split / f"{index}.png")
            (tmp_path / "labels" / split / f"{index}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    config = tmp_path / "data.yaml"
    config.write_text("train: images/train\nval: images/val\nnames: [datamatrix, qrcode, barcode]\n")
    return config


def test_a_data_yaml_is_calibrated_on_its_train_images(artifacts, splits, tmp_path, capsys):
    expected = calibration_list(load_dataset(f"{splits}:train"), count=6, evaluated=None).sha256
    out = tmp_path / "m.onnx"
    options = ["--precision", "int8", "--calib", splits, "--calib-count", "6", "-o", out]
    code, _, error = _run(capsys, "export", artifacts.fp32.path, *options)
    assert code == 0, error
    assert artifact_from_file(out).lineage[-1].notes["calibration_sha256"] == expected


def test_val_images_among_a_split_that_is_written_out_are_refused(artifacts, splits, tmp_path, capsys):
    trained = splits.parent / "images" / "train"
    (trained / "5.png").write_bytes((splits.parent / "images" / "val" / "1.png").read_bytes())
    out = tmp_path / "m.onnx"
    for split, count in (("train", 1), ("val", 2)):
        of = {"train": 6, "val": 2}[split]
        options = ["--precision", "int8", "--calib", f"{splits}:{split}", "--calib-count", of, "-o", out]
        code, _, error = _run(capsys, "export", artifacts.fp32.path, *options)
        assert code == 2
        assert f"{count} of {of} calibration images are also evaluated" in error
        assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value", "there"), [("--imgsz", 128, 64), ("--batch", 4, 0), ("--opset", 19, 17)]
)
def test_a_graph_stays_as_it_was_exported(artifacts, tmp_path, capsys, option, value, there):
    out = tmp_path / "m.onnx"
    name = artifacts.fp32.path
    code, _, error = _run(capsys, "export", name, "--precision", "fp16", option, value, "-o", out)
    assert code == 2
    assert f"{option} {value}: {name.name} is ONNX already, with {there}" in error
    assert not out.exists()
    code, _, error = _run(capsys, "export", name, "--precision", "fp16", option, there, "-o", out)
    assert code == 0, error


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_val_images_among_the_train_images_of_a_data_yaml_are_refused(
    artifacts, splits, tmp_path, capsys, precision
):
    trained = splits.parent / "images" / "train"
    (trained / "5.png").write_bytes((splits.parent / "images" / "val" / "1.png").read_bytes())
    out = tmp_path / "m.onnx"
    options = ["--precision", precision, "--calib", splits, "--calib-count", "6", "-o", out]
    code, _, error = _run(capsys, "export", artifacts.fp32.path, *options)
    assert code == 2
    assert "1 of 6 calibration images are also evaluated: 5.png" in error
    assert not out.exists()


def test_a_budget_is_measured_and_the_plan_says_everything(artifacts, images, tmp_path, capsys):
    out, plan = tmp_path / "tiny-int8.onnx", tmp_path / "plan.json"
    arguments = [
        "--precision",
        "int8",
        "--calib",
        images,
        "--calib-count",
        "4",
        "--observer",
        "mse",
        "-o",
        out,
    ]
    budget = ["--budget", "0.9", "--labelled", images, "--labelled-count", "2", "--plan-out", plan]
    code, _, error = _run(capsys, "export", artifacts.fp32.path, *arguments, *budget)
    assert code == 0, error
    artifact = artifact_from_file(out)
    assert artifact.lineage[-1].settings == {"target": "x86", "observer": "mse", "budget": 0.9}
    assert artifact.facts["sensitivity"]["returned"] == []
    told = json.loads(plan.read_text())
    assert told["plan"]["observer"] == "mse"
    assert set(told["float_convolutions"]) == set(artifact.facts["float_convolutions"])
    code, text, _ = _run(capsys, "inspect", out, "--scales")
    assert code == 0
    assert "uint8 per tensor, asymmetric" in text
    assert "stem: three input channels" in text


@pytest.mark.parametrize(
    ("arguments", "found", "action"),
    [
        (["--calib-count", "7"], "6 images, 7 asked for", "ask for fewer calibration images"),
        (["--calib-count", "0"], "count: 0", "leave count out"),
        (
            ["--calib-count", "4", "--budget", "0.1", "--labelled", "DATA", "--labelled-count", "3"],
            "2 pictures beside those that are calibrated on, 3 asked for",
            "ask for fewer labelled pictures",
        ),
        (
            ["--calib-count", "4", "--budget", "1.5", "--labelled", "DATA"],
            "budget 1.5: not a share of mAP",
            "such as 0.002",
        ),
        (["--budget", "0.1"], "--budget: stands without the other one", "both"),
        (["--score-groups"], "--score-groups: stands without the other one", "both"),
        (["--labelled", "DATA"], "--labelled: stands without the other one", "both"),
        (["--plan-out", "images"], "exists already", "--force"),
        (["--plan-out", "m.onnx"], "the name of the model itself", "m.plan.json"),
    ],
)
def test_int8_that_cannot_be(artifacts, images, tmp_path, monkeypatch, capsys, arguments, found, action):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").touch()
    arguments = [str(images) if one == "DATA" else one for one in arguments]
    options = ["--precision", "int8", "--calib", images, "-o", tmp_path / "m.onnx", *arguments]
    code, _, error = _run(capsys, "export", artifacts.fp32.path, *options)
    assert code == 2
    assert found in error
    assert action in error
    assert [entry.name for entry in tmp_path.iterdir()] == ["images"]


def test_a_file_that_is_int8_already(artifacts, images, tmp_path, capsys):
    options = ["--precision", "int8", "--calib", images, "-o", tmp_path / "m.onnx"]
    code, _, error = _run(capsys, "export", artifacts.int8("x86").path, *options)
    assert code == 2
    assert "already quantised" in error


def source_convolutions(path):
    return sum(node.op_type in ("Conv", "ConvTranspose") for node in onnx.load(path).graph.node)


@pytest.mark.skipif(why_not_installed("tensorrt-rtx") is not None, reason="tensorrt-rtx is not installed")
def test_an_engine_is_named_for_its_precision(artifacts, tmp_path, capsys):
    source = tmp_path / "tiny.onnx"
    source.write_bytes(artifacts.fp32.path.read_bytes())
    arguments = [
        "--format",
        "engine",
        "--precision",
        "fp16",
        "--kind",
        "tensorrt-rtx",
        "--compute-capability",
        "8.9",
        "--profile",
        "1:2:4",
    ]
    code, text, _ = _run(capsys, "export", source, *arguments)
    assert code == 0
    assert "weight memory" in text
    assert "1:2:4" in text
    _, text, _ = _run(capsys, "inspect", tmp_path / "tiny-fp16.engine")
    shown = {" ".join(line.replace("│", " ").split()) for line in text.splitlines()}
    assert {"profiles 1:2:4", "options none", f"convolutions {source_convolutions(source)}"} <= shown
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "tiny-fp16.engine",
        "tiny-fp16.engine.json",
        "tiny.onnx",
    ]


def test_a_file_with_nms_inside_is_predicted_and_judged_by_what_it_answers(
    checkpoint, images, tmp_path, capsys
):
    out = tmp_path / "tiny.onnx"
    code, text, _ = _run(
        capsys, "export", checkpoint, "--nms", "--nms-iou", "0.5", "--precision", "fp16", "-o", out
    )
    assert code == 0
    assert "conf 0.001, iou 0.5, max_det 300" in text
    assert artifact_from_file(out).shares == {"fp16": 1.0}
    picture = images / "images" / "0.png"
    code, text, _ = _run(capsys, "predict", out, picture, "--out", tmp_path / "drawn")
    assert code == 0
    assert "0.png 64×64: " in text
    written = tmp_path / "val.json"
    code, _, _ = _run(capsys, "val", out, "--data", images, "--json", written)
    assert code == 0
    protocol = json.loads(written.read_text())["protocol"]
    assert (protocol["iou"], protocol["multi_label"]) == (0.5, False)
    code, _, error = _run(capsys, "val", out, "--data", images, "--iou", "0.7")
    assert code == 2
    assert "NMS inside the file: iou 0.5" in error
    arguments = ["export", out, "--precision", "fp16", "-o", tmp_path / "again.onnx"]
    code, _, error = _run(capsys, *arguments)
    assert code == 2
    assert "suppresses inside the graph already" in error


@pytest.mark.skipif(why_not_installed("tensorrt-rtx") is not None, reason="tensorrt-rtx is not installed")
def test_tensorrt_rtx_has_no_nms(artifacts, tmp_path, capsys):
    out = tmp_path / "m.engine"
    arguments = ["--format", "engine", "--kind", "tensorrt-rtx", "--nms", "-o", out]
    code, _, error = _run(capsys, "export", artifacts.fp32.path, *arguments)
    assert code == 2
    assert "raw predictions: tensorrt-rtx has no kernel for non-maximum suppression" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "found", "expected"),
    [
        (["--precision", "int8"], "no calibration images", "--calib DATA"),
        (["--format", "engine", "--target", "x86"], "an engine runs in TensorRT", "--target tensorrt"),
        (["-o", "out.engine"], "suffix '.engine'", "ends in .onnx"),
        (
            ["-o", "new.onnx", "--profile", "1:1:8"],
            "--profile: --format onnx has no such option",
            "--format engine",
        ),
        (
            ["-o", "new.onnx", "--timing-cache-sha256", "ab"],
            "--timing-cache-sha256: --format onnx",
            "--format engine",
        ),
        (["-o", "new.onnx", "--nms-max-det", "5"], "--nms-max-det: no NMS is asked for", "--nms beside it"),
        (["-o", "new.onnx", "--nms", "--nms-iou", "60"], "NMS iou: 60.0", "a fraction from 0 to 1"),
        (["--format", "engine", "--profile", "8:1:1"], "profile '8:1:1': not three", "MIN:OPT:MAX"),
        (
            ["--format", "engine", "--profile", "1:1:8", "--batch", "4"],
            "--batch 4: beside --profile",
            "one of",
        ),
        (
            ["--format", "engine", "--kind", "tensorrt-rtx", "--workspace", "0"],
            "0 bytes",
            "a positive number",
        ),
        (["-o", "."], "a directory", "ends in .onnx"),
        (
            ["--budget", "0.1", "-o", "x.onnx"],
            "the precision is fp32",
            "--precision int8, which alone is calibrated",
        ),
        ([], "is ONNX already", "another precision or format"),
    ],
)
def test_options_that_do_not_go_together(
    artifacts, tmp_path, monkeypatch, capsys, arguments, found, expected
):
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "other" / "model.onnx"
    model.parent.mkdir()
    model.write_bytes(artifacts.fp32.path.read_bytes())
    if not arguments:
        arguments = ["-o", "copy.onnx"]
    code, _, error = _run(capsys, "export", model, *arguments)
    assert code == 2
    assert found in error
    assert expected in error
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"]


def test_an_existing_file_is_kept_unless_forced(checkpoint, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    out.write_bytes(b"precious")
    code, _, error = _run(capsys, "export", checkpoint, "-o", out)
    assert code == 2
    assert "exists already" in error
    assert out.read_bytes() == b"precious"
    assert _run(capsys, "export", checkpoint, "-o", out, "--force")[0] == 0
    assert artifact_from_file(out).precision == "fp32"


def test_no_builder_installed(artifacts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("slimgate.artifact.trt.why_not_installed", lambda kind: "not installed")
    code, _, error = _run(
        capsys, "export", artifacts.fp32.path, "--format", "engine", "-o", tmp_path / "m.engine"
    )
    assert code == 2
    assert "tensorrt nor tensorrt-rtx" in error
    assert "pip install slimgate[tensorrt-rtx]" in error


@pytest.mark.parametrize(
    ("given", "option", "found"),
    [
        (["--calib", "codes:calib"], "--calib", "the precision is fp32"),
        (["--evaluated", "codes:val"], "--evaluated", "stands without --calib"),
        (["--observer", "minmax"], "--observer", "the precision is fp32"),
        (["--precision", "fp16", "--evaluated", "codes:val"], "--evaluated", "stands without --calib"),
        (["--precision", "fp16", "--observer", "mse"], "--observer", "the precision is fp16"),
    ],
)
def test_an_option_that_the_precision_does_not_read_is_refused(
    checkpoint, tmp_path, capsys, given, option, found
):
    code, _, shown = _run(capsys, "export", checkpoint, *given, "-o", tmp_path / "x.onnx")
    assert code == 2
    assert shown.startswith(f"slimgate: {option}: {found}\n  expected: --")
    assert f"or leave {option} out" in shown
    assert list(tmp_path.iterdir()) == []
