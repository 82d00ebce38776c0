"""Distillation: a student learns the outputs of a teacher, box distributions and class scores, beside the labels.

ultralytics has distillation of its own (``distill_model``). It does not serve here:

- it runs the teacher, the student's features and a trained projector between them in one type; the student's
  features are bfloat16 on the CPU here, and the projector's float32 convolutions refuse them;
- the wrapper renames every tensor of the student, and its projector joins the optimizer and the averaged weights;
- a teacher given by path is read as a pickle.

Since a pruned student has the teacher's own head (classes, bins of the box distributions, and levels, of which it
may lack some), outputs can be compared one by one, and nothing needs to be learned in between. Per candidate, with
the teacher's best class score as its weight w:

    class   Σ KL(teacher ‖ student) over all classes and candidates / Σw       (Bernoulli)
    box     Σ w · mean over four sides of KL(teacher ‖ student) / Σw           (over the bins of the distribution)

The box term is localization distillation (Zheng et al. 2022, arXiv:2102.12252), on all candidates weighted by the
teacher's score instead of on a chosen region. Class and box are scaled by the gains of ultralytics' own losses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from slimgate.compress.recipe import Recipe
from slimgate.errors import InputError
from slimgate.flow import Detector, Family, Json
from slimgate.model import fuse_batchnorm, strides_of
from slimgate.model.checkpoint import SUFFIXES, checkpoint_paths, load_checkpoint
from slimgate.model.head import head_of

CLASS_GAIN, BOX_GAIN = 0.5, 1.5
"""ultralytics' gains of the class loss and of the box distributions' loss."""

LOSS_NAME = "distill_loss"


def load_teacher(path: Path, student: Detector) -> Detector:
    """Return the teacher in a slimgate checkpoint, whose outputs mean what the student's do.

    Raises:
        InputError: it is no slimgate checkpoint, or its classes, strides, family or box distributions are others, or
            its strides do not divide the student's image size.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"teacher {path}",
            found=f"a file ending in '{path.suffix}'",
            expected="a slimgate checkpoint (.safetensors)",
            action="save it as one with slimgate compress first, and check it with slimgate val",
        )
    if not path.is_file():
        raise InputError(
            f"teacher {path}",
            found="no such file",
            expected="a slimgate checkpoint (.safetensors, its .json beside it)",
            action="check the path; it is relative to the folder that the command runs in",
        )
    teacher = load_checkpoint(path)
    ours, theirs = _meaning(student), _meaning(teacher)
    differing = [key for key in ours if ours[key] != theirs[key]]
    if set(strides_of(student.module)) <= set(strides_of(teacher.module)):
        # A student without the teacher's coarsest level is taught by the levels that it has.
        differing = [key for key in differing if key != "strides"]
    if differing:
        raise InputError(
            f"teacher {path.name}",
            found="; ".join(f"{key}: {theirs[key]}" for key in differing),
            expected="; ".join(f"{key}: {ours[key]}" for key in differing) + f", as {student.name} has",
            action="use the detector that the student was made from",
        )
    if student.image_size % teacher.stride:
        raise InputError(
            f"teacher {path.name}",
            found=f"strides up to {teacher.stride}, which {student.image_size} pixels are no multiple of",
            expected=f"pictures that the teacher can look at as well: a multiple of {teacher.stride} pixels",
            action=f"train {student.name} at such an image size, or use a teacher with the student's levels",
        )
    return teacher


def _meaning(detector: Detector) -> dict[str, str]:
    """Return what must agree for outputs to be comparable one by one, in words."""
    head: Any = head_of(detector.module)
    strides = ", ".join(str(stride) for stride in strides_of(detector.module))
    return {
        "classes": ", ".join(detector.class_names),
        "family": detector.family.value,
        "strides": strides,
        "box bins": str(head.reg_max) if detector.family is Family.ULTRALYTICS else "none",
    }


def distillation_loss(
    student: Mapping[str, torch.Tensor], teacher: Mapping[str, torch.Tensor], *, bins: int
) -> torch.Tensor:
    """Return the loss of a batch: a scalar, 0 where the student says exactly what the teacher says.

    Args:
        student: the head's raw outputs: ``boxes`` ``(n, 4 · bins, candidates)``, a distribution's logits per side,
            and ``scores`` ``(n, classes, candidates)``, logits.
        teacher: the same of the teacher, without gradient.
        bins: of the box distributions; 1 means that ``boxes`` are the distances themselves.
    """
    probability = teacher["scores"].sigmoid()
    weight = probability.amax(dim=1)
    total = weight.sum().clamp_min(1.0)
    scores = functional.binary_cross_entropy_with_logits(student["scores"], probability, reduction="sum")
    # The cross entropy's own minimum, so that the loss is a divergence and ends at 0.
    least = functional.binary_cross_entropy_with_logits(teacher["scores"], probability, reduction="sum")
    n, _, candidates = student["boxes"].shape
    if bins == 1:
        sides = (student["boxes"] - teacher["boxes"]).abs().mean(dim=1)
    else:
        ours = student["boxes"].view(n, 4, bins, candidates).log_softmax(dim=2)
        theirs = teacher["boxes"].view(n, 4, bins, candidates).log_softmax(dim=2)
        sides = (theirs.exp() * (theirs - ours)).sum(dim=2).mean(dim=1)
    return CLASS_GAIN * (scores - least) / total + BOX_GAIN * (weight * sides).sum() / total


class Teacher:
    """A teacher's network: fused, in bfloat16 and channels-last, never trained.

    Not a module: as a part of the student it would be averaged, optimised and saved with it.

    Args:
        detector: the teacher.
        strides: of the levels whose outputs are wanted; a subset of its own.
        half: run it in bfloat16.
    """

    def __init__(self, detector: Detector, *, strides: Sequence[int], half: bool) -> None:
        self._own_strides = strides_of(detector.module)
        self._strides = frozenset(strides)
        module: Any = fuse_batchnorm(detector.module).eval().requires_grad_(False)
        self._type = torch.bfloat16 if half else torch.float32
        self._module = module.to(dtype=self._type, memory_format=torch.channels_last)
        head: Any = head_of(self._module)
        self.bins: int = head.reg_max
        # Only the head itself, whose flag decides what it returns: raw outputs, not decoded boxes.
        head.training = True

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self

    def outputs(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``boxes`` and ``scores`` as float32, without gradient, for images ``(n, 3, h, w)`` in 0..1."""
        with torch.no_grad():
            found = self._module(images.to(dtype=self._type, memory_format=torch.channels_last))
        height, width = images.shape[-2:]
        cells = [(height // stride) * (width // stride) for stride in self._own_strides]
        return {key: self._wanted(found[key].float(), cells) for key in ("boxes", "scores")}

    def _wanted(self, outputs: torch.Tensor, cells: Sequence[int]) -> torch.Tensor:
        """Return the candidates of the wanted levels; levels follow each other in the last dimension."""
        levels = zip(self._own_strides, torch.split(outputs, list(cells), dim=-1), strict=True)
        return torch.cat([level for stride, level in levels if stride in self._strides], dim=-1)


class Distillation(Recipe):
    """Adds the distillation loss, times a weight, to every training step.

    Args:
        teacher: see ``load_teacher``.
        strides: of the student's levels.
        weight: of the loss, beside the losses against the labels.
        half: run the teacher in bfloat16.
    """

    def __init__(self, teacher: Detector, *, strides: Sequence[int], weight: float, half: bool) -> None:
        self._teacher = Teacher(teacher, strides=strides, half=half)
        self._weight = weight

    def begin(self, trainer: Any) -> None:
        """Give the network that is trained its further loss."""
        network: Any = trainer.model
        network.more_loss, network.more_loss_name = self._loss, LOSS_NAME

    def _loss(self, images: torch.Tensor, outputs: Mapping[str, Any]) -> torch.Tensor:
        taught = self._teacher.outputs(images)
        return self._weight * distillation_loss(outputs, taught, bins=self._teacher.bins)


def fingerprint_teacher(path: Json) -> Json:
    """Return the sha256 of a checkpoint's JSON, which holds that of its weights; None without a teacher."""
    if path is None:
        return None
    json_path = checkpoint_paths(Path(path))[1]
    return hashlib.sha256(json_path.read_bytes()).hexdigest() if json_path.is_file() else None


def describe_teacher(teacher: Detector) -> dict[str, str]:
    """Return what the record says of the teacher."""
    return {"name": teacher.name, "weights_sha256": teacher.weights_sha256}
