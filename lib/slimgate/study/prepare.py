"""What a study needs before anything is compressed: weights, images, calibration, protocol; all checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimgate.flow import Case, Precision
from slimgate.study.build import Builder, load_weights
from slimgate.study.half import IMAGES
from slimgate.study.int8 import Pictures
from slimgate.study.spec import Study, VariantSpec
from slimgate.study.store import Store

if TYPE_CHECKING:
    from slimgate.data import CalibrationList, Dataset
    from slimgate.detect import Protocol
    from slimgate.runtime import Runner


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A study whose inputs were loaded and found usable.

    Attributes:
        study: the study.
        dataset: the evaluated images.
        also: the further evaluated sets, by the name that metrics carry.
        protocol: how they are evaluated.
        builder: makes and keeps the artifacts.
    """

    study: Study
    dataset: Dataset
    also: Mapping[str, Dataset]
    protocol: Protocol
    builder: Builder

    def protocol_of(self, spec: VariantSpec) -> Protocol:
        """Return how a variant is evaluated: a file that suppresses inside answers for best classes alone."""
        return dataclasses.replace(self.protocol, multi_label=False) if spec.nms else self.protocol

    def open(self, spec: VariantSpec, runtime: str, *, batch: int = 0) -> Runner:
        """Return a runner over the artifact of a variant, with the study's threads; batch 0 takes any size."""
        from slimgate.runtime import get_runtime

        artifact = self.builder.artifact(spec, runtime)
        return get_runtime(runtime).open(artifact, batch=batch, threads=self.study.threads)


def prepare_study(
    study: Study,
    cases: Collection[Case],
    *,
    store: Store | None = None,
    progress: Callable[[int, int, str], object] = lambda done, total, note: None,
) -> Prepared:
    """Load and check everything the selected cases of a study need.

    Args:
        study: the study.
        cases: the selected cases; calibration images are only read when one of them is INT8 or FP16.
        store: where artifacts are kept.
        progress: is told what is being read.

    Raises:
        InputError: weights or data cannot be used, or do not fit together.
        UnavailableError: they would have to be fetched and cannot be.
    """
    from slimgate.data import calibration_list, check_class_names, check_image_size, load_dataset
    from slimgate.detect import Protocol

    progress(0, 3, "weights")
    detector = load_weights(study.resolve(study.weights), study.image_size)
    check_image_size(detector.image_size, detector.stride)
    protocol = Protocol(image_size=detector.image_size, **study.protocol)
    progress(1, 3, study.evaluation)
    dataset = load_dataset(study.resolve(study.evaluation), count=study.images)
    also = {source: load_dataset(study.resolve(source), count=study.images) for source in study.also}
    for evaluated in (dataset, *also.values()):
        check_class_names(detector.class_names, evaluated)
    pictures = None
    specs = {str(case): spec for case, spec, _ in expand_cases(study)}
    if any(specs[str(case)].precision is Precision.INT8 for case in cases):
        progress(2, 3, study.calibration)
        images = load_dataset(study.resolve(study.calibration), count=study.calibration_images)
        sets = (*also.values(), dataset)
        for evaluated in sets:
            calibration = calibration_list(images, count=study.calibration_images, evaluated=evaluated)
        scored = any(specs[str(case)].needs_labels for case in cases)
        labelled = _labelled(study, calibration, sets) if scored else None
        if labelled is not None:
            check_class_names(detector.class_names, labelled)
        pictures = Pictures(calibration=calibration, labelled=labelled, threads=study.threads)
    halves = any(specs[str(case)].precision is Precision.FP16 for case in cases)
    ranges = _ranges(study) if halves and study.calibration else None
    builder = Builder(
        study=study, detector=detector, pictures=pictures, store=store or Store(), ranges=ranges
    )
    for spec in {specs[str(case)].name: specs[str(case)] for case in cases}.values():
        builder.base(spec)
    progress(3, 3, "")
    return Prepared(study=study, dataset=dataset, also=also, protocol=protocol, builder=builder)


def _ranges(study: Study) -> CalibrationList:
    """Return the pictures that FP16 is looked at for overflow on: nothing is chosen by them, so any will do."""
    from slimgate.data import calibration_list, load_dataset

    count = min(IMAGES, study.calibration_images)
    images = load_dataset(study.resolve(study.calibration), count=count)
    return calibration_list(images, count=min(count, len(images)), evaluated=None)


def _labelled(study: Study, calibration: CalibrationList, evaluated: Sequence[Dataset]) -> Dataset:
    from slimgate.data import labelled_list, load_dataset

    # Those that are calibrated on are passed over, so as many more are read.
    count = study.labelled_images + len(calibration.paths)
    dataset = load_dataset(study.resolve(study.labelled), count=count)
    return labelled_list(dataset, count=study.labelled_images, calibration=calibration, evaluated=evaluated)


def expand_cases(study: Study) -> list[tuple[Case, VariantSpec, str]]:
    """Return every case of a study with its variant and runtime name."""
    return [
        (Case(study=study.id, variant=spec.name, runtime=spec.runtime_label(runtime)), spec, runtime)
        for spec in study.variants
        for runtime in spec.runtimes
    ]
