"""Distillation: its loss against numbers worked out by hand, and which teachers are refused."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from slimgate.compress.distill import Teacher, distillation_loss, fingerprint_teacher, load_teacher
from slimgate.compress.trainer import trainable_module
from slimgate.errors import InputError
from slimgate.flow import Detector, Family
from slimgate.model import build_module, save_checkpoint

from fixtures.detectors import CLASS_NAMES, build_detector


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_the_loss_by_hand() -> None:
    """One picture, one candidate, two classes, two bins: weight 0.8, but a sum of weights of 1 at least."""
    teacher = {
        "scores": torch.tensor([[[_logit(0.8)], [_logit(0.1)]]], dtype=torch.float64),
        "boxes": torch.tensor([[math.log(3), 0.0] * 4], dtype=torch.float64).view(1, 8, 1),
    }
    student = {
        "scores": torch.tensor([[[_logit(0.5)], [_logit(0.1)]]], dtype=torch.float64),
        "boxes": torch.zeros(1, 8, 1, dtype=torch.float64),
    }
    classes = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    sides = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    expected = 0.5 * classes + 1.5 * 0.8 * sides
    assert float(distillation_loss(student, teacher, bins=2)) == pytest.approx(expected)


def test_distances_without_bins_by_hand() -> None:
    teacher = {"scores": torch.full((1, 1, 2), 50.0), "boxes": torch.zeros(1, 4, 2)}
    student = {"scores": torch.full((1, 1, 2), 50.0), "boxes": torch.full((1, 4, 2), 0.5)}
    # Both candidates weigh 1: the mean distance is 0.5.
    assert float(distillation_loss(student, teacher, bins=1)) == pytest.approx(1.5 * 0.5)


def test_a_student_that_says_the_same_has_no_loss_and_others_have() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = {
        "scores": torch.randn(2, 3, 20, generator=generator),
        "boxes": torch.randn(2, 16, 20, generator=generator),
    }
    assert float(distillation_loss(teacher, teacher, bins=4)) == pytest.approx(0.0, abs=1e-5)
    for key in teacher:
        student = teacher | {key: teacher[key] + torch.randn(teacher[key].shape, generator=generator)}
        assert float(distillation_loss(student, teacher, bins=4)) > 0.01


def test_a_teacher_gives_raw_outputs_close_to_its_own_network(tiny_detector: Detector) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    module = trainable_module(copy.deepcopy(tiny_detector.module), half=False)
    with torch.no_grad():
        expected = module(images)[1]
    exact = Teacher(tiny_detector, strides=(4, 8), half=False).outputs(images)
    rough = Teacher(tiny_detector, strides=(4, 8), half=True).outputs(images)
    assert set(exact) == {"boxes", "scores"}
    for key, tensor in exact.items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-3, atol=1e-3)
        assert rough[key].dtype == torch.float32
        assert float((rough[key] - expected[key]).norm() / expected[key].norm()) < 0.1


def test_a_teacher_is_not_part_of_what_it_teaches(tiny_detector: Detector) -> None:
    teacher = Teacher(tiny_detector, strides=(4, 8), half=True)
    assert copy.deepcopy(teacher) is teacher
    student = build_module(tiny_detector.architecture, family=Family.ULTRALYTICS, class_count=3)
    before = set(student.state_dict())
    student.more_loss = teacher
    assert set(student.state_dict()) == before


def _refused(teacher: Detector, folder: Path, student: Detector) -> str:
    path = save_checkpoint(teacher, folder / "teacher")
    with pytest.raises(InputError) as caught:
        load_teacher(path, student)
    return str(caught.value)


def test_a_teacher_that_is_not_there_is_named_as_it_was_given(
    tmp_path: Path, tiny_detector: Detector
) -> None:
    with pytest.raises(InputError, match=r"^teacher .*missing\.safetensors: no such file\n"):
        load_teacher(tmp_path / "missing.safetensors", tiny_detector)


def test_a_teacher_with_other_classes_is_refused_with_both_lists(
    tmp_path: Path, tiny_detector: Detector
) -> None:
    names = ("datamatrix", "barcode", "qrcode")
    message = _refused(dataclasses.replace(tiny_detector, class_names=names), tmp_path, tiny_detector)
    assert "teacher teacher.safetensors: classes: datamatrix, barcode, qrcode\n" in message
    assert f"expected: classes: {', '.join(CLASS_NAMES)}, as tiny-ultralytics has" in message


def test_a_teacher_of_another_family_is_refused(tmp_path: Path, tiny_detector: Detector) -> None:
    message = _refused(build_detector(Family.YOLOV5_ANCHOR), tmp_path, tiny_detector)
    assert "family: yolov5-anchor" in message


def test_a_teacher_from_outside_is_refused(tmp_path: Path, tiny_detector: Detector) -> None:
    with pytest.raises(InputError, match=r"a file ending in '\.pt'\n  expected: a slimgate checkpoint"):
        load_teacher(tmp_path / "teacher.pt", tiny_detector)


def test_a_teacher_that_cannot_look_at_the_pictures_is_refused(
    tmp_path: Path, tiny_detector: Detector
) -> None:
    student = dataclasses.replace(tiny_detector, image_size=tiny_detector.stride * 5 + 4, stride=4)
    message = _refused(tiny_detector, tmp_path, student)
    assert (
        f"strides up to {tiny_detector.stride}, which {student.image_size} pixels are no multiple" in message
    )


def test_a_teacher_is_known_by_its_contents(tmp_path: Path, tiny_detector: Detector) -> None:
    first = fingerprint_teacher(str(save_checkpoint(tiny_detector, tmp_path / "a")))
    assert first == fingerprint_teacher(str(save_checkpoint(tiny_detector, tmp_path / "b" / "a")))
    other = build_detector(Family.ULTRALYTICS, seed=1)
    assert first != fingerprint_teacher(str(save_checkpoint(other, tmp_path / "a")))
    assert fingerprint_teacher(None) is None
