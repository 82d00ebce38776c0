from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from slimgate.errors import UsageError
from slimgate.measure import CANDIDATE_SETS, measure_nms, stored_candidates

STORED = {
    "few": (61, 2),
    "typical": (2279, 23),
    "crowded": (42641, 69),
}


@pytest.fixture(autouse=True)
def outside_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


def test_stored_sets_are_the_committed_ones() -> None:
    digest = hashlib.sha256()
    for name in CANDIDATE_SETS:
        found = stored_candidates(name)
        assert (len(found), len(np.unique(found.classes))) == STORED[name]
        assert (found.boxes.dtype, found.scores.dtype) == (np.float32, np.float32)
        assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()
        for column in (found.boxes, found.scores, found.classes):
            digest.update(np.ascontiguousarray(column).tobytes())
    assert digest.hexdigest() == "e3992a05dc0d2904108c8a0da59063262640b1421a64713986ac597f0a1678a1"


def test_crowd_is_one_and_scores_tie() -> None:
    found = stored_candidates("crowded")
    assert len(found) >= 20_000
    assert len(np.unique(found.scores)) < len(found) / 2
    assert found.scores.min() >= 0.001 * (1 - 2**-10)


def test_unknown_set_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"candidate set 'crowd': .*did you mean 'crowded'"):
        stored_candidates("crowd")


def test_every_run_is_timed_and_kept() -> None:
    ticks = itertools.count(0, 1_000_000)
    times = measure_nms(rounds=5, clock=lambda: next(ticks))
    assert tuple(times) == CANDIDATE_SETS
    for name, measured in times.items():
        assert measured.samples_s == (0.001,) * 5
        written = measured.to_json()
        assert (written["candidates"], written["median_s"]) == (STORED[name][0], 0.001)
        assert written["kept"] <= 300


def test_another_implementation_can_be_timed() -> None:
    seen = []

    def suppress(boxes: np.ndarray, *_: np.ndarray, iou: float, max_det: int) -> list[int]:
        seen.append((len(boxes), iou, max_det))
        return [0]

    times = measure_nms(rounds=2, iou=0.45, max_det=10, suppress=suppress)
    assert seen[::3] == [(STORED[name][0], 0.45, 10) for name in CANDIDATE_SETS]
    assert {measured.kept for measured in times.values()} == {1}


def test_timing_refuses_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    with pytest.raises(UsageError, match="running under pytest-xdist"):
        measure_nms(rounds=1)
