from __future__ import annotations

import json
from importlib import metadata

import pytest
from slimgate.detect import Protocol
from slimgate.errors import UsageError


def test_defaults_are_the_fields_and_survive_json() -> None:
    protocol = Protocol(image_size=320)
    written = json.loads(json.dumps(protocol.to_json()))
    assert written == {
        "image_size": 320,
        "conf": 0.001,
        "iou": 0.6,
        "max_det": 300,
        "multi_label": True,
        "max_candidates": 30_000,
        "deployed_conf": 0.5,
        "match_iou": 0.5,
        "letterbox": "square",
        "evaluator": f"hotcoco {metadata.version('hotcoco')}",
    }
    assert Protocol(**written) == protocol


def test_deployed_changes_only_confidence_and_labels() -> None:
    protocol = Protocol(image_size=320, iou=0.5)
    deployed = protocol.deployed()
    assert (deployed.conf, deployed.multi_label, deployed.iou, deployed.image_size) == (0.5, False, 0.5, 320)


def test_the_ends_of_every_range_are_settings() -> None:
    least = Protocol(image_size=1, max_det=1, max_candidates=1, conf=0, iou=0, deployed_conf=0, match_iou=0)
    assert (least.image_size, least.max_det, least.max_candidates) == (1, 1, 1)
    most = Protocol(image_size=1, conf=1, iou=1, deployed_conf=1, match_iou=1)
    assert (most.conf, most.iou, most.deployed_conf, most.match_iou) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"conf": 1.5}, "conf: 1.5\n  expected: a fraction from 0 to 1"),
        ({"iou": float("nan")}, "iou: nan"),
        ({"deployed_conf": -0.1}, "deployed_conf: -0.1"),
        ({"max_det": 0}, "max_det: 0\n  expected: at least 1"),
        ({"image_size": -32}, "image_size: -32"),
        ({"letterbox": "rect"}, "letterbox: 'rect'\n  expected: 'square'"),
    ],
)
def test_impossible_settings_are_refused(setting: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Protocol(**{"image_size": 320, **setting})
    assert message in str(caught.value)
