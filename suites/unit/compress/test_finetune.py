"""Fine-tuning as an operation: what goes into it, what the record says, and zeros that stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from slimgate.compress import Workspace, apply_operations, parse_operation
from slimgate.compress.training_data import TrainingData
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family
from slimgate.model import load_detector, save_checkpoint

from fixtures.detectors import build_detector

PLAIN = "finetune:1,batch=4,mosaic=0,workers=0,threads=1,keep=last"


@pytest.fixture(autouse=True)
def _pictures(pictures: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "slimgate.compress.training_settings.read_training_data", lambda source, **counts: pictures
    )


def test_a_pruned_student_learns_from_its_teacher_and_stays_pruned(
    tmp_path: Path, tiny_detector: Detector
) -> None:
    teacher = save_checkpoint(tiny_detector, tmp_path / "teacher")
    seen = []
    workspace = Workspace(
        run=tmp_path / "run",
        progress=lambda name, row: seen.append((name, row["epoch"])),
        step=lambda name, epoch, done, total: seen.append((name, epoch, done, total)),
    )
    steps = [parse_operation("prune:0.5"), parse_operation(f"{PLAIN},teacher={teacher}")]
    tuned = apply_operations(tiny_detector, steps, workspace)
    pruned = apply_operations(tiny_detector, steps[:1])
    assert seen == [("2-finetune", 1, 1, 2), ("2-finetune", 1, 2, 2), ("2-finetune", 1)]
    assert load_detector(tmp_path / "run" / "2-finetune" / "last.safetensors").lineage == tuned.lineage

    step = tuned.lineage[-1]
    assert step.operation == "finetune"
    expected = {"name": "tiny-ultralytics", "weights_sha256": tiny_detector.weights_sha256}
    assert step.settings["teacher"] == "teacher.safetensors"
    assert step.notes["teacher"] == tuned.training["teacher"] == expected
    assert tuned.training["curve"][0]["distill_loss"] > 0
    assert tuned.training["init_weights_sha256"] == pruned.weights_sha256

    before, after = pruned.module.state_dict(), tuned.module.state_dict()
    zeros = {f"{layer}.weight" for layer in pruned.lineage[0].notes["layers"]}
    assert sum(int((before[key] == 0).sum()) for key in zeros) == pytest.approx(
        sum(before[key].numel() for key in zeros) / 2, abs=1
    )
    assert all((after[key][before[key] == 0] == 0).all() for key in zeros)
    assert any(not torch.equal(before[key], after[key]) for key in before if key.endswith("conv.weight"))


def test_without_a_folder_nothing_is_trained(tiny_detector: Detector) -> None:
    with pytest.raises(UsageError, match="operation 'finetune': no folder to train in"):
        apply_operations(tiny_detector, [parse_operation(PLAIN)])


@pytest.mark.parametrize("text", [PLAIN, "sparsify:0.5"])
def test_a_legacy_detector_is_sent_to_transfer_head(
    tmp_path: Path, tiny_legacy_detector: Detector, text: str
) -> None:
    with pytest.raises(InputError, match="apply transfer-head first"):
        apply_operations(tiny_legacy_detector, [parse_operation(text)], Workspace(run=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_does_not_fit_starts_no_run(tmp_path: Path, tiny_detector: Detector) -> None:
    teacher = save_checkpoint(build_detector(Family.YOLOV5_ANCHOR), tmp_path / "teacher")
    with pytest.raises(InputError, match=r"teacher teacher\.safetensors: family: yolov5-anchor"):
        apply_operations(
            tiny_detector, [parse_operation(f"{PLAIN},teacher={teacher}")], Workspace(run=tmp_path / "run")
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finetune:0", "finetune epochs '0': too small"),
        ("finetune:1.5", r"finetune epochs '1\.5': not a whole number"),
        ("finetune:3,learning_rate=fast", "finetune learning_rate 'fast': not a number"),
        ("finetune:3,distill=nan", "finetune distill 'nan': not a number"),
        ("finetune:3,teacher=", "finetune teacher '': no text"),
        ("finetune:3,keep=best", "unknown finetune keep(.|\n)*one of f1, last, map"),
        ("sparsify", "operation 'sparsify': no strength"),
    ],
)
def test_settings_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_operation(text)
