"""How a variant came to be: the stages behind its weights, and its widths."""

from __future__ import annotations

import dataclasses

from slimgate.flow import Detector, Family, Step
from slimgate.study.origin import compare_widths, key_of_stages, list_stages

from fixtures.detectors import build_detector

OLD = {"epochs_done": 6, "init": "phase1", "init_training": {"epochs_done": 5, "init": "yolov5n.pt"}}


def _rederived(original: Detector, notes: dict[str, object]) -> Detector:
    step = Step(operation="rederive", settings={}, notes=notes)
    return dataclasses.replace(original, lineage=(step,), training={"operation": "finetune", "earlier": []})


def test_old_and_new_records_are_one_list_oldest_first(tiny_detector):
    old = dataclasses.replace(tiny_detector, training=OLD)
    assert [stage["epochs_done"] for stage in list_stages(old, tiny_detector)] == [5, 6]
    new = {"operation": "finetune", "epochs_done": 2, "earlier": list_stages(old, tiny_detector)}
    stages = list_stages(dataclasses.replace(tiny_detector, training=new), tiny_detector)
    assert [stage["epochs_done"] for stage in stages] == [5, 6, 2]
    assert not any("earlier" in stage or "init_training" in stage for stage in stages)
    assert list_stages(tiny_detector, tiny_detector) == []


def test_weights_inherited_from_the_original_carry_its_training(tiny_detector):
    original = dataclasses.replace(tiny_detector, training=OLD)
    notes = {"inherited": 3, "weights_sha256": original.weights_sha256, "weights_name": "original"}
    stages = list_stages(_rederived(original, notes), original)
    assert [stage.get("operation", "train") for stage in stages] == ["train", "train", "finetune"]


def test_weights_inherited_from_elsewhere_say_so(tiny_detector):
    notes = {"inherited": 3, "weights_sha256": "b" * 64, "weights_name": "another"}
    first, _ = list_stages(_rederived(tiny_detector, notes), tiny_detector)
    assert first == {"operation": "rederive", "unknown": "inherits from another"}


def test_from_scratch_nothing_is_carried(tiny_detector):
    original = dataclasses.replace(tiny_detector, training=OLD)
    assert len(list_stages(_rederived(original, {"inherited": 0}), original)) == 1


def test_the_key_depends_on_the_stages_alone():
    assert key_of_stages([OLD]) == key_of_stages([dict(reversed(OLD.items()))])
    assert key_of_stages([OLD]) != key_of_stages([OLD, OLD])


def test_widths_before_and_after(tiny_detector):
    assert compare_widths(tiny_detector, build_detector(Family.ULTRALYTICS, seed=1)) == {}
    legacy = build_detector(Family.YOLOV5_ANCHOR)
    widths = compare_widths(legacy, tiny_detector)
    assert widths["model.0.conv"] == [8, 8]
    assert widths["model.8.m.0"] == [None, 16]
    assert widths["model.8.cv2.0.2"] == [16, None]
    assert not any("dfl" in name for name in widths)
