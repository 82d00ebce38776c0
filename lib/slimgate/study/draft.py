"""The first files of a project's gate: a study, a floors file without floors, and the test that pytest collects."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from slimgate.flow import Precision
from slimgate.gate.propose import propose_header
from slimgate.study.load import STUDY_FORMAT

_NOT_IN_IDS = re.compile(r"[^\w.+-]+", re.ASCII)


FLOORS_COMMENT = """
# Floors are policy: people write them here, each with a reason and a date; no program does.
# After a run that you stand behind, this writes the evidence (golden/records) and prints floors to paste below:
#     slimgate accept RUN_DIR
"""

PYTEST_KEYS = """\
[pytest]
addopts = --strict-markers
slimgate_study = {study}
"""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What the first study of a project is to say.

    Attributes:
        id: first part of every case id.
        weights: the detector, as the study file is to name it.
        image_size: side of the square input, pixels.
        evaluation: dataset source that is evaluated, as the study file is to name it.
        calibration: the same for what INT8 is calibrated on.
        calibration_images: how many of those.
        required: metrics that must have a floor in every case.
        variants: precisions with the runtimes that each runs in; the first is FP32.
    """

    id: str
    weights: str
    image_size: int
    evaluation: str
    calibration: str
    calibration_images: int
    required: Sequence[str]
    variants: Sequence[tuple[Precision, Sequence[str]]]


def id_from_name(name: str) -> str:
    """Return a file's name as the first part of case ids: other characters become ``-``; may be empty."""
    return _NOT_IN_IDS.sub("-", name).strip("-")


def draft_study(draft: Draft) -> str:
    """Return the study as TOML, with a comment where a person will want to change something."""
    head = f"""\
# Every key: docs/studies.md of slimgate. Run it: slimgate study THIS_FILE
format = {_quote(STUDY_FORMAT)}
id = {_quote(draft.id)}
title = {_quote(f"{draft.id}: what compression does to it")}

[detector]
weights = {_quote(draft.weights)}
image_size = {draft.image_size}

[data]
evaluation = {_quote(draft.evaluation)}
calibration = {_quote(draft.calibration)}  # only INT8 reads it; an evaluated image among them is refused
calibration_images = {draft.calibration_images}

[protocol]
deployed_conf = 0.5  # the confidence you ship with: recall, misses and false detections are counted there

[gate]
# Every case must have a floor for each of these.
required = [
{"".join(f"    {_quote(metric)},{chr(10)}" for metric in draft.required)}]
"""
    return head + "".join(_draft_variant(precision, runtimes) for precision, runtimes in draft.variants)


def draft_floors(study_id: str) -> str:
    """Return a floors file that holds no floor yet, and says where floors come from."""
    return propose_header(study_id, None) + FLOORS_COMMENT


def draft_test(study_file: str) -> str:
    """Return the test file: each case of the study against its floors."""
    return f'''\
"""Each case of {study_file} against its floors in golden/floors."""

import pytest

KINDS = ["accuracy", "size", pytest.param("latency", marks=pytest.mark.timing)]


@pytest.mark.gate
@pytest.mark.parametrize("kind", KINDS)
def test_floors_hold(gate_case, kind, assert_verdicts):
    assert_verdicts(gate_case, kind)


@pytest.mark.gate
def test_every_floor_is_of_a_case(assert_no_orphans):
    assert_no_orphans()
'''


def _draft_variant(precision: Precision, runtimes: Sequence[str]) -> str:
    lines = [
        "",
        "[[variant]]",
        f"name = {_quote(precision.value)}",
        *([] if precision is Precision.FP32 else [f"precision = {_quote(precision.value)}"]),
        f"runtimes = [{', '.join(_quote(runtime) for runtime in runtimes)}]",
    ]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    # JSON's escapes are TOML's.
    return json.dumps(text, ensure_ascii=False)
