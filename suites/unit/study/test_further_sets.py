"""A study that evaluates more sets than its first: measured alike, and held apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest
from slimgate.errors import InputError
from slimgate.gate import load_run

from fixtures.datasets import write_dataset
from fixtures.tiny_project import STUDY, run_project


@pytest.fixture
def with_more_data(project) -> Path:
    """Return the project with a second evaluated set: the same pictures, darker."""
    write_dataset(project / "more")
    for path in (project / "more" / "images").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)) // 2)
    text = STUDY.replace("[protocol]", 'also = ["more/instances.json"]\n[protocol]')
    (project / "tiny.toml").write_text(text)
    return project


def test_a_further_set_is_measured_as_if_it_were_the_first(with_more_data):
    both = load_run(run_project(with_more_data, "both", expression="fp32@onnxruntime").directory)
    (record,) = both.cases.values()
    other = record["also"]["more/instances.json"]
    swapped = STUDY.replace("data/instances.json", "more/instances.json")
    (with_more_data / "tiny.toml").write_text(swapped)
    alone = load_run(run_project(with_more_data, "alone", expression="fp32@onnxruntime").directory)
    (expected,) = alone.cases.values()
    assert {name: other[name] for name in ("accuracy", "confusion", "curves")} == {
        name: expected[name] for name in ("accuracy", "confusion", "curves")
    }
    assert other["accuracy"]["ap_by_iou"] != record["accuracy"]["ap_by_iou"]
    assert other["dataset"] == {
        "name": "instances",
        "images": 6,
        "sha256": alone.run["dataset"]["sha256"],
    }


def test_metrics_of_a_further_set_carry_its_fingerprint(with_more_data):
    run = load_run(run_project(with_more_data).directory)
    measured = {(str(one.case), one.metric): one for one in run.measurements}
    for case in ("tiny/fp32@torch", "tiny/int8@onnxruntime", "tiny/pruned@onnxruntime"):
        first = measured[case, "map50_95"].provenance
        other = measured[case, "map50_95[more/instances.json]"].provenance
        assert other["dataset_sha256"] == run.cases[case]["also"]["more/instances.json"]["dataset"]["sha256"]
        assert other["dataset_sha256"] != first["dataset_sha256"]
        assert other["protocol"] == first["protocol"]
        assert (case, "misses[more/instances.json]") in measured
        assert (case, "size_bytes[more/instances.json]") not in measured


def test_a_further_set_can_be_required(with_more_data):
    path = with_more_data / "tiny.toml"
    path.write_text(path.read_text().replace('"size_bytes"]', '"recall/qrcode[more/instances.json]"]'))
    judgement = run_project(with_more_data, expression="fp32@onnxruntime").judgement
    messages = {one.metric: one.message for one in judgement.verdicts}
    assert (
        'paste into [case.floor]: "recall/qrcode[more/instances.json]" = {'
        in (messages["recall/qrcode[more/instances.json]"])
    )


def test_calibrating_on_images_of_a_further_set_is_refused(with_more_data):
    shutil.rmtree(with_more_data / "calib")
    shutil.copytree(with_more_data / "more", with_more_data / "calib")
    with pytest.raises(InputError, match="calibration images are also evaluated"):
        run_project(with_more_data, expression="int8")


def test_a_further_set_of_other_classes_is_refused(with_more_data):
    path = with_more_data / "more" / "instances.json"
    path.write_text(path.read_text().replace('"qrcode"', '"aztec"'))
    with pytest.raises(InputError, match="aztec"):
        run_project(with_more_data, expression="fp32")
