"""What differs between a record and what is judged, said so that a person sees it."""

from __future__ import annotations

from typing import Any

import pytest
from slimgate.gate.provenance import find_changes, find_mismatches


def step(operation: str, **settings: object) -> dict[str, Any]:
    return {"operation": operation, "settings": settings}


PRUNED, TRAINED = step("prune", ratio=0.3, scope="layer"), step("finetune", epochs=4)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (
            [PRUNED, TRAINED, step("quantize", observer="minmax", target="x86")],
            [PRUNED, TRAINED, step("quantize", observer="mse", target="x86")],
            "quantize(observer minmax → mse)",
        ),
        ([PRUNED, TRAINED], [step("prune", ratio=0.5, scope="layer"), TRAINED], "prune(ratio 0.3 → 0.5)"),
        (
            [PRUNED],
            [step("prune", ratio=0.3, capped="refuse")],
            "prune(capped none → refuse, scope layer → none)",
        ),
        ([PRUNED, PRUNED], [PRUNED], "prune(ratio=0.3,scope=layer) → nothing in their place"),
        ([PRUNED, TRAINED], [PRUNED], "finetune(epochs=4) → nothing in their place"),
        ([TRAINED], [PRUNED, TRAINED], "nothing in their place → prune(ratio=0.3,scope=layer)"),
        ([PRUNED], [TRAINED], "prune(ratio=0.3,scope=layer) → finetune(epochs=4)"),
        ([], [TRAINED], "no operations → finetune(epochs=4)"),
        (
            [PRUNED, TRAINED],
            [step("prune", ratio=0.5, scope="layer"), step("finetune", epochs=8)],
            "prune(ratio 0.3 → 0.5); finetune(epochs 4 → 8)",
        ),
    ],
)
def test_only_the_operations_that_differ_are_named(
    before: list[dict[str, Any]], now: list[dict[str, Any]], said: str
) -> None:
    assert find_mismatches({"lineage": before}, {"lineage": now}) == [f"other operations: {said}"]
    assert find_mismatches({"lineage": now}, {"lineage": now}) == []


def test_an_operation_without_settings_is_shown_bare() -> None:
    assert find_mismatches({"lineage": [{"operation": "fuse"}]}, {"lineage": []}) == [
        "other operations: fuse() → no operations"
    ]


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("images", 500, "other number of images: 500 → none"),
        ("protocol", {"conf": 0.1}, "other protocol: {'conf': 0.1} → none"),
        (
            "lineage",
            [PRUNED, TRAINED],
            "other operations: prune(ratio=0.3,scope=layer), finetune(epochs=4) → none",
        ),
    ],
)
def test_what_one_of_the_two_does_not_say_differs(key: str, value: Any, shown: str) -> None:
    assert find_mismatches({key: value}, {}) == [shown]
    title, _, texts = shown.partition(": ")
    assert find_mismatches({}, {key: value}) == [f"{title}: none → {texts.removesuffix(' → none')}"]


def test_changes_that_are_allowed_are_told_name_by_name_where_both_say_them() -> None:
    now = {"versions": {"numpy": "2.4", "onnx": "1.19"}, "machine": "b"}
    assert find_changes({"versions": {"numpy": "2.3", "torch": "2"}, "machine": "a"}, now) == [
        "machine a → b",
        "numpy 2.3 → 2.4",
        "onnx none → 1.19",
        "torch 2 → none",
    ]
    assert find_changes({"machine": "b"}, now) == ["versions none → {'numpy': '2.4', 'onnx': '1.19'}"]
    assert find_changes(now, {"machine": "b"}) == ["versions {'numpy': '2.4', 'onnx': '1.19'} → none"]


@pytest.mark.parametrize(
    ("length", "shown"), [(39, "a" * 39), (40, "a" * 12), (64, "a" * 12)], ids=["text", "sha1", "sha256"]
)
def test_hashes_are_shortened(length: int, shown: str) -> None:
    (text,) = find_mismatches({"weights_sha256": "a" * length}, {"weights_sha256": None})
    assert text == f"other weights: {shown} → none"
