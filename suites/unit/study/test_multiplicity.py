"""How many comparisons of times a study makes: counted in its file, before anything is measured."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from slimgate.measure import summarise_pairs
from slimgate.study import load_study
from slimgate.study.multiplicity import count_comparisons, read_simultaneous, simultaneous_entry

STUDY = """\
format = "slimgate-study/1"
id = "s"
title = "counted"
[detector]
weights = "fetch:yolov5n.pt"
[data]
evaluation = "codes:val"
calibration = "codes:calib"
[[variant]]
name = "fp32"
runtimes = ["onnxruntime", "openvino"]
batches = [1, 32]
[[variant]]
name = "int8"
precision = "int8"
runtimes = ["onnxruntime", "openvino"]
[[variant]]
name = "pruned"
operations = ["prune:0.5"]
runtimes = ["onnxruntime"]
batches = [1, 32]
[[variant]]
name = "pruned-int8"
operations = ["prune:0.5"]
precision = "int8"
runtimes = ["onnxruntime", "openvino"]
batches = [1, 32]
"""


def test_every_batch_of_every_case_counts_and_twice_where_it_has_a_network_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(STUDY)
    # fp32 2 x 2, int8 2 (its network in FP32 is the original), pruned 2, pruned-int8 2 x 2 for onnxruntime, where
    # pruned ran in FP32, and 2 for openvino, where it did not.
    assert count_comparisons(load_study(str(tmp_path / "s.toml"))) == 4 + 2 + 2 + 4 + 2


def test_the_built_in_study_makes_as_many_as_its_file_says() -> None:
    study = load_study("codes-slim")
    assert count_comparisons(study) >= sum(len(spec.batches) * len(spec.runtimes) for spec in study.variants)


@pytest.mark.parametrize("rounds", [9, 41])
def test_what_is_written_of_all_comparisons_is_read_again(rounds: int) -> None:
    pairs = summarise_pairs([0.01] * rounds, [0.011] * rounds, calls=(1, 1), looks=2)
    entry = {"simultaneous": simultaneous_entry(pairs, 60)}
    interval, comparisons = read_simultaneous(entry)
    assert comparisons == 60
    assert interval == ((0.0, math.inf) if rounds == 9 else pytest.approx((1.1, 1.1)))
