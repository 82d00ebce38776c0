"""The timed stages: every case against its FP32 reference, in interleaved pairs; and NMS."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from slimgate.study.comparisons import Pairs, plan_comparisons
from slimgate.study.prepare import Prepared
from slimgate.study.work import CaseWork

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from slimgate.gate import Floors

_AGAIN = 6
"""How many more passes there are over what the machine ran slowly."""

_PAUSE_S = 3.0
"""Before each of these passes. Slower states were seen to last 6 to 20 s."""

_LONGEST_S = 180.0
"""No pass begins later than this after the first of them."""


def measure_latency(
    prepared: Prepared,
    works: Sequence[CaseWork],
    floors: Floors,
    progress: Callable[[int, int, str], object],
) -> None:
    """Add the ``latency`` part to every record that can have one.

    What was timed while the machine was in a slower state than elsewhere in the run is timed again after the rest.
    """
    planned = plan_comparisons(prepared.study, works, floors)
    pairs = Pairs(prepared, {batch: _images(prepared, batch) for batch in {one.batch for one in planned}})
    total = len(planned)
    for index, one in enumerate(planned):
        progress(index, total, str(one))
        pairs.measure(one)
    began = time.monotonic()
    for _ in range(_AGAIN):
        slowed = [one for one in planned if one.possible and pairs.is_slowed(one)]
        if not slowed or time.monotonic() - began > _LONGEST_S:
            break
        progress(total, total, f"the machine was slow {len(slowed)} times: a pause, and these again")
        time.sleep(_PAUSE_S)
        pairs.begin_again()
        for one in slowed:
            progress(total, total, f"again: {one}")
            pairs.measure(one)
    for one in planned:
        entry = pairs.entry(one)
        if entry is None or one.part is None:
            continue
        latency = one.work.record.setdefault("latency", {})
        if one.part == "":
            latency[f"batch{one.batch}"] = entry
        elif f"batch{one.batch}" in latency:
            latency[f"batch{one.batch}"][one.part] = entry
    progress(total, total, "")


def measure_suppression(
    prepared: Prepared, works: Sequence[CaseWork], progress: Callable[[int, int, str], object]
) -> None:
    """Time NMS once, on the reference's record: it is the same code for every case, on stored candidates."""
    from slimgate.measure import measure_nms

    progress(0, 1, "stored candidate sets")
    reference = next((one for one in works if one.spec is prepared.study.reference and one.measurable), None)
    if reference is not None and not reference.companion:
        protocol = prepared.protocol
        timings = measure_nms(iou=protocol.iou, max_det=protocol.max_det)
        reference.record["nms"] = {name: timing.to_json() for name, timing in timings.items()}
    progress(1, 1, "")


def _images(prepared: Prepared, batch: int) -> npt.NDArray[np.float32]:
    """Return a batch of the dataset's own images: time can depend on what is in them."""
    from slimgate.data import batch_from_images, read_image

    samples = prepared.dataset.samples
    chosen = [samples[index % len(samples)].path for index in range(batch)]
    return batch_from_images([read_image(path) for path in chosen], prepared.protocol.image_size)[0]
