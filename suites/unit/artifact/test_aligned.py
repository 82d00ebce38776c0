"""Widths that a lineage claims: held where they hold, named where they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slimgate.artifact.aligned import require_aligned_widths
from slimgate.compress import apply_operations, parse_operation
from slimgate.errors import InputError
from slimgate.flow import Detector, Family, Step
from slimgate.model.channels import trace_channels

from fixtures.detectors import build_detector

PATH = Path("model.onnx")


@pytest.fixture(scope="module")
def odd() -> Detector:
    """Return a detector that was slimmed to whatever widths came out, and says so."""
    detector = build_detector(Family.ULTRALYTICS)
    return apply_operations(detector, [parse_operation("slim:0.6,importance=l2,multiple=1,floor=0.3")])


def claiming(detector: Detector, operation: str, **settings: Any) -> Detector:
    notes = settings.pop("notes", {})
    return replace(detector, lineage=(Step(operation=operation, settings=settings, notes=notes),))


def odd_widths(detector: Detector) -> dict[str, int]:
    graph = trace_channels(detector.module, subject="odd")
    widths = graph.widths(graph.all_channels())
    return {name: width for name, width in widths.items() if width % 8 and name not in graph.exempt}


def test_what_claims_nothing_is_left_alone(odd: Detector) -> None:
    require_aligned_widths(PATH, odd)  # multiple=1: every width is one
    require_aligned_widths(PATH, replace(odd, lineage=()))
    require_aligned_widths(PATH, claiming(odd, "prune", ratio=0.3))


@pytest.mark.parametrize("operation", ["slim", "align"])
def test_widths_that_are_not_what_is_claimed(odd: Detector, operation: str) -> None:
    wrong = odd_widths(odd)
    assert wrong
    with pytest.raises(InputError) as raised:
        require_aligned_widths(PATH, claiming(odd, operation, multiple=8))
    name, width = next(iter(wrong.items()))
    text = str(raised.value)
    assert text.startswith(
        f"model.onnx: {len(wrong)} convolutions have no multiple of 8 channels, which its lineage ({operation}) "
        f"claims: {name} ({width})"
    )
    assert text.endswith(
        "\n  expected: widths that are multiples of 8"
        f"\n  what to do: pad them: slimgate align --multiple 8, or apply {operation} again"
    )


def test_widths_that_the_operation_lists_as_kept(odd: Detector) -> None:
    require_aligned_widths(PATH, claiming(odd, "slim", multiple=8, notes={"unaligned": odd_widths(odd)}))


def test_the_last_claim_counts(odd: Detector) -> None:
    detector = claiming(odd, "slim", multiple=8)
    later = Step(operation="align", settings={"multiple": 1}, notes={})
    require_aligned_widths(PATH, replace(detector, lineage=(*detector.lineage, later)))


def test_padding_mends_it(odd: Detector) -> None:
    aligned = apply_operations(replace(odd, lineage=()), [parse_operation("align:8")])
    assert odd_widths(aligned) == {}
    require_aligned_widths(PATH, aligned)
