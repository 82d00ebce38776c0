"""One selected case on its way through the stages of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slimgate.errors import SlimgateError
from slimgate.flow import Artifact, Case, Json, Precision
from slimgate.study.spec import GPU_RUNTIMES, Study, VariantSpec, float32_runtime

if TYPE_CHECKING:
    from slimgate.detect import Detections
    from slimgate.measure import Matches


FIRST_SET = ""
"""What matches of the study's first evaluation set go by; the others go by their names."""


@dataclass
class CaseWork:
    """What is known so far about one case.

    Attributes:
        case: the case.
        spec: its variant.
        runtime: its runtime's name.
        artifact: the file, once built.
        record: the case record as far as it goes.
        deployed: detections at the deployed confidence, one per image.
        everything: detections down to the protocol's confidence, one per image, while they are still needed.
        matches: what became of each detection, by evaluation set; the first set is nameless.
        not_proven: why it could not be run here.
        failed: why it broke.
        companion: whether it was not selected itself, and is only there for others to be compared with.
    """

    case: Case
    spec: VariantSpec
    runtime: str
    artifact: Artifact | None = None
    record: dict[str, Json] = field(default_factory=dict)
    deployed: Sequence[Detections] = ()
    everything: Sequence[Detections] = ()
    matches: Mapping[str, Matches] = field(default_factory=dict)
    not_proven: str = ""
    failed: str = ""
    companion: bool = False

    @property
    def measurable(self) -> bool:
        """Whether it has a file that this machine can run."""
        return self.artifact is not None and not self.not_proven and not self.failed

    def fail(self, error: SlimgateError) -> None:
        """Note why the case broke; the run goes on and the gate calls it INVALID."""
        self.failed = one_line(error)
        self.record["failed"] = self.failed

    def leave_out(self, reason: str) -> None:
        """Note why the case cannot be run on this machine."""
        self.not_proven = reason
        self.record["not_proven"] = reason


def one_line(error: SlimgateError) -> str:
    """Return an error's message on one line."""
    return "; ".join(line.strip() for line in str(error).splitlines())


def find_reference(study: Study, works: Sequence[CaseWork], work: CaseWork) -> CaseWork | None:
    """Return the FP32 case that a case is compared with: that of the same runtime, else the study's first."""
    measurable = [one for one in works if one.spec is study.reference and one.measurable]
    if work.spec is not study.reference:
        plain = float32_runtime(work.runtime)
        for name in (plain, plain.removesuffix("-cudagraph")):
            same = [one for one in measurable if one.runtime == name]
            if same:
                return same[0]
    return measurable[0] if measurable else None


def name_same_in_float(study: Study, work: CaseWork) -> Case | None:
    """Return the FP32 case of the same network on the same runtime that an FP16, BF16 or INT8 case replaces.

    Only against that one does a precision show what it gains: an INT8 file of a slimmed network is faster than the
    unslimmed original whether its arithmetic pays or not.
    """
    if work.spec.precision is Precision.FP32:
        return None
    runtime = float32_runtime(work.runtime)
    for spec in study.variants:
        same = spec.precision is Precision.FP32 and spec.network == work.spec.network
        if same and runtime in spec.runtimes:
            return Case(study=study.id, variant=spec.name, runtime=spec.runtime_label(runtime))
    return None


def name_same_in_half(study: Study, work: CaseWork, batch: int) -> Case | None:
    """Return the FP16 case that an INT8 case has to beat at a batch size, on a runtime that computes in FP16.

    FP16 costs next to no accuracy, so INT8 that is not faster than it pays for nothing, however much faster than FP32
    it is. On a CPU the question has no sense: FP16 files are computed in float32, which is FP32 with conversions.
    """
    if work.spec.precision is not Precision.INT8 or work.runtime not in GPU_RUNTIMES:
        return None
    for spec in study.variants:
        same = spec.precision is Precision.FP16 and spec.network == work.spec.network
        if same and work.runtime in spec.runtimes and batch in spec.batches:
            return Case(study=study.id, variant=spec.name, runtime=spec.runtime_label(work.runtime))
    return None


def find_own_int8(works: Sequence[CaseWork], work: CaseWork) -> CaseWork | None:
    """Return our INT8 of the same network on the same runtime, where the case is another tool's; the first of them."""
    if not work.spec.int8.get("peer"):
        return None
    return next(
        (
            one
            for one in works
            if one.measurable
            and one.spec.precision is Precision.INT8
            and not one.spec.int8.get("peer")
            and one.runtime == work.runtime
            and one.spec.network == work.spec.network
        ),
        None,
    )
