from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slimgate.errors import InputError
from slimgate.report import write_report
from slimgate.report.load import load_checked

from fixtures.case_records import BASELINE
from fixtures.runs import RunDraft

FP32 = "cases/fp32@onnxruntime.json"


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def refuse(run_dir: Path) -> str:
    """Return the message of the refusal, after checking that nothing was written."""
    with pytest.raises(InputError) as refusal:
        write_report(run_dir)
    assert not list(run_dir.glob("*report*"))
    return str(refusal.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    message = refuse(tmp_path / "nowhere")
    assert "not a run directory: no such folder" in message
    assert "make one with 'slimgate study'" in message


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert "not a run directory: it has no run.json" in refuse(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "measurements.json", "verdicts.json", FP32])
def test_a_truncated_file(run_dir: Path, name: str) -> None:
    path = run_dir / name
    path.write_text(path.read_text()[:-40])
    message = refuse(run_dir)
    assert str(path) in message
    assert "cut off" in message


@pytest.mark.parametrize("name", ["run.json", "measurements.json", "verdicts.json", FP32])
def test_an_unknown_format_version(run_dir: Path, name: str) -> None:
    change_json(run_dir / name, lambda value: value.update(format="slimgate-run/99"))
    message = refuse(run_dir)
    assert str(run_dir / name) in message
    assert "format 'slimgate-run/99'" in message


@pytest.mark.parametrize("name", ["measurements.json", "verdicts.json"])
def test_a_missing_file(run_dir: Path, name: str) -> None:
    (run_dir / name).unlink()
    message = refuse(run_dir)
    assert str(run_dir / name) in message
    assert "no such file" in message


def test_missing_case_records_are_named(run_dir: Path) -> None:
    (run_dir / FP32).unlink()
    (run_dir / "cases/fp32@torch.json").unlink()
    message = refuse(run_dir)
    assert "no case record of codes/fp32@onnxruntime, codes/fp32@torch" in message
    assert "one file for each of the 20 cases" in message


def test_no_case_records_at_all(run_dir: Path) -> None:
    shutil.rmtree(run_dir / "cases")
    assert "and 10 more" in refuse(run_dir)


@pytest.mark.parametrize("key", ["study", "class_names", "cases"])
def test_a_run_without_what_every_run_has(run_dir: Path, key: str) -> None:
    change_json(run_dir / "run.json", lambda value: value.pop(key))
    assert f"lacks {key}" in refuse(run_dir)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda case: case["accuracy"]["coco"].update(AP="0.8"),
            "accuracy.coco.AP: '0.8' is no finite number",
        ),
        (lambda case: case["accuracy"]["coco"].update(AP=float("nan")), "accuracy.coco.AP: nan is no finite"),
        (lambda case: case["model"].update(flops=True), "model.flops: True is no finite number"),
        (lambda case: case.update(stages=[1, 2]), "stages: [1, 2] is no table"),
        (lambda case: case.update(precision=8), "precision: 8 is no text"),
        (
            lambda case: case["latency"]["batch1"].update(ratio=0),
            "latency.batch1.ratio: 0 is no ratio of times",
        ),
        (
            lambda case: case["latency"]["batch1"].update(interval=[1]),
            "latency.batch1.interval: 1 entries inst",
        ),
        (lambda case: case["pictures"].update({"17": {}}), "pictures.17: {} is no list"),
        (
            lambda case: case["pictures"]["17"][0].update(box=[1, 2, 3]),
            "pictures.17[0].box: 3 entries instead of 4",
        ),
        (lambda case: case["pictures"]["17"][0].update({"class": "qrcode"}), "'qrcode' is no whole number"),
        (lambda case: case["pictures"]["17"][0].update({"class": 3}), "class 3, and there are 3 class names"),
        (
            lambda case: case["accuracy"]["ap_by_iou"].update(half=0.5),
            "accuracy.ap_by_iou: 'half' is no threshold",
        ),
    ],
)
def test_a_record_that_holds_something_else_than_it_should(
    run_dir: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    change_json(run_dir / FP32, change)
    message = refuse(run_dir)
    assert str(run_dir / FP32) in message
    assert complaint in message
    assert "restore the file, or run the study again" in message


def test_a_picture_that_is_not_there(run_dir: Path) -> None:
    (run_dir / "pictures/17.jpg").unlink()
    message = refuse(run_dir)
    assert str(run_dir / "pictures/17.jpg") in message
    assert "a picture that run.json lists" in message


def test_a_picture_that_is_no_jpeg(run_dir: Path) -> None:
    (run_dir / "pictures/17.jpg").write_bytes(b"<svg onload='...'>")
    assert "17.jpg: not a JPEG" in refuse(run_dir)


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "pictures/../../secret.jpg", "/etc/hostname", "pictures/a/b.jpg"]
)
def test_no_file_from_elsewhere_gets_into_the_report(run_dir: Path, name: str) -> None:
    (run_dir.parent / "secret.jpg").write_bytes(b"\xff\xd8\xff")
    change_json(run_dir / "run.json", lambda value: value["pictures"]["17"].update(file=name))
    assert f"picture '{name}' is not a file in pictures/" in refuse(run_dir)


def test_no_link_is_followed_out_of_the_run(run_dir: Path) -> None:
    (run_dir.parent / "secret.jpg").write_bytes(b"\xff\xd8\xff")
    (run_dir / "pictures/17.jpg").unlink()
    (run_dir / "pictures/17.jpg").symlink_to(run_dir.parent / "secret.jpg")
    assert "is not a file in pictures/" in refuse(run_dir)


def test_ground_truth_of_an_unknown_class(run_dir: Path) -> None:
    change_json(
        run_dir / "run.json",
        lambda value: value["pictures"]["17"]["ground_truth"][0].update({"class": -1}),
    )
    assert "class -1, and there are 3 class names" in refuse(run_dir)


def test_a_failed_rendering_leaves_the_old_report(run_dir: Path) -> None:
    page = write_report(run_dir)
    before = page.read_bytes(), (run_dir / "report.md").read_bytes()
    change_json(run_dir / FP32, lambda case: case.update(stages="fast"))
    with pytest.raises(InputError):
        write_report(run_dir)
    assert (page.read_bytes(), (run_dir / "report.md").read_bytes()) == before
    assert not list(run_dir.glob(".*"))


def test_absent_numbers_and_null_are_fine(run_draft: RunDraft, tmp_path: Path) -> None:
    for key in (
        "accuracy",
        "confusion",
        "latency",
        "stages",
        "nms",
        "artifact",
        "model",
        "pictures",
        "provider",
    ):
        run_draft.cases[BASELINE].pop(key, None)
    run_draft.cases["codes/int8@openvino"]["artifact"]["facts"]["weight_memory_bytes"] = None
    files = load_checked(run_draft.write(tmp_path / "run"))
    assert BASELINE in files.cases
