"""One GPU per worker: proven without a GPU, on the environment that a worker is given."""

from __future__ import annotations

import pytest
from slimgate.plugin import devices


@pytest.mark.parametrize(
    ("worker", "gpus", "expected"),
    [
        ("gw0", ["0", "1"], "0"),
        ("gw1", ["0", "1"], "1"),
        ("gw2", ["0", "1"], "0"),
        ("gw3", ["MIG-a"], "MIG-a"),
    ],
)
def test_each_worker_gets_one_gpu_and_the_last_ones_share(
    worker: str, gpus: list[str], expected: str
) -> None:
    assert devices.gpu_of_worker(worker, gpus) == expected


@pytest.mark.parametrize(
    ("named", "count", "expected"),
    [
        (None, 0, []),
        (None, 2, ["0", "1"]),
        ("2, 3", 2, ["2", "3"]),
        ("GPU-aa,GPU-bb", 2, ["GPU-aa", "GPU-bb"]),
        ("", 0, []),
        ("0,7", 1, ["0"]),
    ],
)
def test_what_the_caller_shares_out_is_all_there_is(
    monkeypatch: pytest.MonkeyPatch, named: str | None, count: int, expected: list[str]
) -> None:
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    if named is not None:
        monkeypatch.setenv(devices.VISIBLE, named)
    monkeypatch.setattr(devices, "count_gpus", lambda: (count, None))
    assert devices.list_gpus() == expected


class _Worker:
    def __init__(self, worker: str, gpus: list[str]) -> None:
        self.workerinput = {"workerid": worker, "slimgate_gpus": gpus}


def test_a_worker_sees_its_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.VISIBLE, "4,5")
    devices.pytest_configure(_Worker("gw1", ["4", "5"]))  # type: ignore[arg-type]
    assert devices.os.environ[devices.VISIBLE] == "5"


def test_without_a_gpu_a_worker_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    devices.pytest_configure(_Worker("gw1", []))  # type: ignore[arg-type]
    assert devices.VISIBLE not in devices.os.environ


def test_workers_of_a_real_session_are_told(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, two GPUs that the driver is said to have: each sees one, and not the same."""
    pytester.makeconftest("from slimgate.plugin import devices\ndevices.count_gpus = lambda: (2, None)\n")
    pytester.makepyfile(
        "import os, pytest\n"
        "@pytest.mark.parametrize('number', range(8))\n"
        "def test_visible(number, worker_id):\n"
        "    assert os.environ['CUDA_VISIBLE_DEVICES'] == {'gw0': '6', 'gw1': '7'}[worker_id]\n"
    )
    monkeypatch.setenv(devices.VISIBLE, "6,7")
    pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider").assert_outcomes(passed=8)


def test_why_there_is_no_gpu_is_asked_of_the_driver() -> None:
    count, reason = devices.count_gpus()
    assert (count == 0) == (reason is not None)


@pytest.mark.parametrize(
    ("required", "count", "expected"), [(["gpu"], 3, 3), (["gpu"], 0, None), ([], 3, None)]
)
def test_automatic_workers_are_as_many_as_gpus_where_they_are_required(
    monkeypatch: pytest.MonkeyPatch, required: list[str], count: int, expected: int | None
) -> None:
    class Config:
        def getoption(self, name: str) -> list[str]:
            assert name == "--require"
            return required

    monkeypatch.delenv(devices.VISIBLE, raising=False)
    monkeypatch.setattr(devices, "count_gpus", lambda: (count, None))
    assert devices.pytest_xdist_auto_num_workers(Config()) == expected  # type: ignore[arg-type]
