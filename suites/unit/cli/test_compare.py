from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from slimgate.cli import main
from slimgate.gate.history import Entry, History

from fixtures.goldens import make_measurement
from fixtures.histories import FILE, measure, run_name, with_version, write_run

MakeEntry = Callable[..., Entry]
Tell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tell(history: History, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Return a function that runs ``slimgate compare`` and returns exit code, output and errors."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["compare", "--history", str(history.folder), *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return write_run(tmp_path / "before", 0)


def test_every_case_and_metric_stands_beside_the_other_runs(tell: Tell, before: Path, tmp_path: Path) -> None:
    after = write_run(tmp_path / "after", 1, measure(0.89, 0.7), red="map50_95")
    code, out, _ = tell(before, after)
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert rows[0].startswith(
        f"first {run_name(0)}: codes, 2026-01-01 02:00, commit 0000000000, green, on cpu:"
    )
    assert rows[1].startswith(
        f"second {run_name(1)}: codes, 2026-01-02 02:00, commit 0000000100, red: 1 FAIL, on"
    )
    assert "map50_95 0.9100 0.9100 ±0 same" in rows
    assert "map50_95 0.9000 0.8900 -0.0100 worse" in rows
    assert "latency_ratio_b1 0.6000 (0.5820 to 0.6180) 0.7000 (0.6790 to 0.7210) +16.7% worse" in rows
    assert "size_bytes 2 850 000 bytes 2 850 000 bytes ±0 same" in rows
    assert rows[-1] == "2 worse, 3 same"
    assert "1 worse: no interval is known; 0.002 and more counts" in rows


def test_only_what_changed_is_shown_on_demand(tell: Tell, before: Path, tmp_path: Path) -> None:
    after = write_run(tmp_path / "after", 1, measure(0.89, 0.61))
    _, out, _ = tell(before, after, "--changed")
    assert "fp32" not in out
    assert "latency_ratio_b1" not in out
    assert "map50_95" in out
    assert out.splitlines()[-1].strip() == "1 worse, 1 within noise, 3 same"


def test_a_part_can_be_compared(tell: Tell, before: Path, tmp_path: Path) -> None:
    after = write_run(tmp_path / "after", 1)
    _, out, _ = tell(before, after, "-k", "fp32", "--metric", "map50_95")
    assert out.splitlines()[-1].strip() == "1 same"


def test_worse_fails_only_when_asked_to(tell: Tell, before: Path, tmp_path: Path) -> None:
    worse, better = (
        write_run(tmp_path / name, 1, measure(value)) for name, value in (("w", 0.8), ("b", 0.95))
    )
    assert tell(before, worse)[0] == 0
    assert tell(before, worse, "--fail-on-worse")[0] == 1
    assert tell(before, better, "--fail-on-worse")[0] == 0


def test_what_is_not_compared_says_why_once(tell: Tell, before: Path, tmp_path: Path) -> None:
    other = measure(0.8, provenance={"dataset_sha256": "e" * 64})
    code, out, _ = tell(before, write_run(tmp_path / "after", 1, other), "--fail-on-worse")
    assert code == 0
    assert "1 not compared: other dataset: cccccccccccc → eeeeeeeeeeee" in out
    row = next(line for line in out.splitlines() if "0.8000" in line)
    assert row.split() == ["map50_95", "0.9000", "0.8000", "–", "not", "compared"]


def test_other_versions_of_a_case_are_named(tell: Tell, before: Path, tmp_path: Path) -> None:
    other = [with_version(one, "onnxruntime", "1.24.0") for one in measure()]
    assert (
        "  onnxruntime 1.23.0 → 1.24.0"
        in tell(before, write_run(tmp_path / "after", 1, other))[1].splitlines()
    )


def test_runs_of_the_history_are_named_by_id(
    tell: Tell, history: History, make_entry: MakeEntry, before: Path
) -> None:
    history.append(make_entry(4))
    with (history.folder / FILE).open("ab") as file:
        file.write(b'{"cut')
    code, out, _ = tell(before, run_name(4)[:10])
    assert code == 0
    assert out.count("is cut off") == 1
    assert "5 same" in out


def test_bad_use_is_one_message_and_exit_code_two(
    tell: Tell, before: Path, history: History, tmp_path: Path
) -> None:
    history.folder.mkdir()
    assert "run 'absent': neither a run directory nor a run of the history" in tell(before, "absent")[2]
    assert "run.json: no such file" in tell(before, tmp_path)[2]
    assert "metric 'map51': unknown metric" in tell(before, before, "--metric", "map51")[2]
    assert "-k 'int9': selects none" in tell(before, before, "-k", "int9")[2]
    assert "have no case and metric in common" in tell(before, before, "--metric", "map75")[2]
    code, out, err = tell(before, write_run(tmp_path / "empty", 1, [make_measurement("map75")]))
    assert (code, out) == (2, "")
    assert "have no case and metric in common (studies 'codes' and 'codes')" in err
