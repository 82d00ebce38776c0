from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from slimgate.cli import main
from slimgate.gate.history import Entry, History
from slimgate.study.pipeline import Run

from fixtures.goldens import INT8, STUDY_TOML, make_measurement
from fixtures.histories import FILE, MACHINE, judge_green, measure, run_name, with_version, write_run

MakeEntry = Callable[..., Entry]
Tell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tell(
    history: History, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Tell:
    """Return a function that runs ``slimgate history`` and returns exit code, output and errors."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("SLIMGATE_HISTORY", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        given = ("--history", str(history.folder), "--golden", str(tmp_path / "golden"))
        code = main(["history", *given, *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def pin(tmp_path: Path, number: int, more: str = "") -> None:
    (tmp_path / "golden").mkdir(exist_ok=True)
    (tmp_path / "golden" / "baseline.toml").write_text(
        f'format = "slimgate-baseline/1"\n[[baseline]]\nstudy = "codes"\ndevice = "{MACHINE}"\n'
        f'run = "{run_name(number)}"\nreason = "the release"\ndate = 2026-11-23\n{more}'
    )


def test_the_runs_are_listed_with_verdict_and_remarks(
    tell: Tell, history: History, make_entry: MakeEntry, tmp_path: Path
) -> None:
    pin(tmp_path, 0)
    history.append(make_entry(0))
    history.append(make_entry(1, red="map50_95", git={"commit": "abcdef0123456", "dirty": True}))
    history.append(make_entry(2, complete=False, filter="int8"))
    history.append(make_entry(3, device="cpu:B", complete=False))
    code, out, err = tell()
    lines = [line.rstrip() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[0] == f"codes on {MACHINE}"
    assert re.fullmatch(rf"{run_name(0)} +2026-01-01 02:00 +0000000000 +2 +green +baseline", lines[3])
    assert re.fullmatch(rf"{run_name(1)} +2026-01-02 02:00 +abcdef0123\+ +2 +red: 1 FAIL", lines[4])
    assert lines[5].split("green")[1].strip() == "partial (-k 'int8')"
    assert lines[6] == "codes on cpu:B"
    assert lines[9].endswith("partial (no times)")
    assert run_name(0) not in tell("--last", "1")[1]
    assert run_name(0) not in tell("--device", "CPU:b")[1]


def test_a_case_is_shown_metric_by_metric(tell: Tell, history: History, make_entry: MakeEntry) -> None:
    for number, value in enumerate((0.9, 0.92, 0.88)):
        history.append(make_entry(number, measure(value), red="map50_95" * (number == 2)))
    code, out, _ = tell(str(INT8))
    assert code == 0
    row = next(line for line in out.splitlines() if line.startswith("map50_95"))
    assert row.split() == ["map50_95", "3", "0.9000", "0.8800", "-0.0200", "1", "▅█▁"]
    assert "inference_s" in out
    assert "fp32" not in out
    several = tell("onnxruntime")[1]
    assert "codes/fp32@onnxruntime" in several
    assert "inference_s" not in several


def test_a_metric_is_shown_run_by_run_with_what_changed(
    tell: Tell, history: History, make_entry: MakeEntry
) -> None:
    one = make_measurement("latency_ratio_b1", 0.6, device=MACHINE, interval=(0.58, 0.62))
    history.append(make_entry(0, [one]))
    history.append(make_entry(1, [with_version(one, "onnxruntime", "1.24.0")]))
    history.append(make_entry(2, [make_measurement("latency_ratio_b1", 0.6, device="cpu:other")]))
    _, out, _ = tell(str(INT8), "--metric", "latency_ratio_b1")
    rows = [" ".join(line.split()) for line in out.splitlines()[3:]]
    assert rows[0].endswith("0.6000 0.5800 to 0.6200 – green")
    assert rows[1].endswith("±0 green onnxruntime 1.23.0 → 1.24.0")
    assert "– – green other device:" in rows[2]


def test_a_plot_is_a_picture_in_which_a_red_run_is_marked(
    tell: Tell, history: History, make_entry: MakeEntry, tmp_path: Path
) -> None:
    pin(tmp_path, 0)
    for number in range(12):
        history.append(
            make_entry(number, measure(0.9 if number < 8 else 0.8), red="map50_95" * (number == 11))
        )
    code, out, _ = tell(str(INT8), "--plot", str(tmp_path / "plots" / "int8.png"))
    assert code == 0
    assert f"plot: {tmp_path / 'plots' / 'int8.png'}" in out
    with Image.open(tmp_path / "plots" / "int8.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert image.size[0] == 1300
    assert {(220, 38, 38), (0, 114, 178)} <= colours


def test_a_plot_of_the_last_runs_still_shows_the_drift_since_the_baseline(
    tell: Tell, history: History, make_entry: MakeEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, list[str]]] = []

    def plot_runs(entries: list[Entry], cases: object, metrics: object, path: Path, **options: Any) -> Path:
        drawn.append((len(entries), [drift.since.run_id for drift in options["drifts"]]))
        return path

    monkeypatch.setattr("slimgate.report.charts.runs.plot_runs", plot_runs)
    pin(tmp_path, 0)
    for number in range(12):
        history.append(make_entry(number, measure(0.9 if number < 9 else 0.8)))
    assert tell("int8", "--last", "5", "--plot", "x.png")[0] == 0
    assert drawn == [(5, [run_name(9)])]


def test_a_plot_of_nothing_or_in_an_unknown_format_is_refused(
    tell: Tell, history: History, make_entry: MakeEntry, tmp_path: Path
) -> None:
    history.append(make_entry(0))
    code, _, err = tell("int8", "--plot", str(tmp_path / "x.jpeg"))
    assert code == 2
    assert "ends with '.jpeg'\n  expected: a file that ends with .png, .svg, .pdf" in err
    code, _, err = tell("int8", "--metric", "map75", "--plot", str(tmp_path / "x.png"))
    assert code == 2
    assert "no run measured map75 of codes/int8@onnxruntime" in err
    assert not list(tmp_path.glob("x.*"))


def test_drift_for_the_worse_is_exit_code_one_and_reads_like_a_verdict(
    tell: Tell, history: History, make_entry: MakeEntry, tmp_path: Path
) -> None:
    pin(tmp_path, 0)
    for number in range(12):
        history.append(
            make_entry(number, measure(0.9 if number < 9 else 0.88), red="map50_95" * (number == 11))
        )
    code, out, _ = tell("--drift")
    assert code == 1
    assert out.splitlines() == [
        f"codes on {MACHINE}: 12 runs since the baseline {run_name(0)} (2026-01-01 02:00, commit 0000000000; "
        "golden/baseline.toml:5: the release)",
        "codes/int8@onnxruntime map50_95: DRIFT 0.9000 → 0.8800 (-0.0200)",
        f"  since      run {run_name(9)} (2026-01-10 02:00, commit 0000000900), 3 runs, the gate red about it in 1",
        f"  before     run {run_name(8)} (2026-01-09 02:00, commit 0000000800)",
        "  changed    nothing that the history knows of but the commit",
        "drift: 1 for the worse, 0 for the better; 4 metrics of cases looked at",
    ]


def test_no_drift_is_exit_code_zero_and_says_what_was_looked_at(
    tell: Tell, history: History, make_entry: MakeEntry, tmp_path: Path
) -> None:
    pin(tmp_path, 1)
    history.append(make_entry(0))
    for number in range(1, 5):
        history.append(make_entry(number))
    history.append(make_entry(9, device="cpu:B"))
    code, out, _ = tell("--drift")
    assert code == 0
    assert "4 of them in too few runs (a finding needs 9)" in out
    assert "not judged, no baseline is pinned: codes on cpu:B" in out


def test_drift_without_a_baseline_prints_what_to_paste(
    tell: Tell, history: History, make_entry: MakeEntry, tmp_path: Path
) -> None:
    history.append(make_entry(0))
    history.append(make_entry(1, red="map50_95"))
    code, _, err = tell("--drift")
    assert code == 2
    assert f"golden/baseline.toml: pins no baseline for codes on {MACHINE}" in err
    assert f'run = "{run_name(0)}"' in err
    assert not (tmp_path / "golden").exists(), "no program pins a baseline"


def test_drift_without_a_green_run_says_so(tell: Tell, history: History, make_entry: MakeEntry) -> None:
    history.append(make_entry(1, red="map50_95"))
    code, _, err = tell("--drift")
    assert code == 2
    assert "run the whole study from a clean commit until it is green, then pin that run" in err


def test_a_red_baseline_is_refused(
    tell: Tell, history: History, make_entry: MakeEntry, tmp_path: Path
) -> None:
    pin(tmp_path, 1)
    history.append(make_entry(1, red="map50_95"))
    code, _, err = tell("--drift")
    assert code == 2
    assert "golden/baseline.toml:5: run: " in err
    assert "a red run never becomes a baseline" in err


def test_runs_are_added_merged_and_repaired(tell: Tell, history: History, tmp_path: Path) -> None:
    runs = [str(write_run(tmp_path / f"run{number}", number)) for number in range(2)]
    assert tell("--add", *runs)[1] == f"{run_name(0)}: added\n{run_name(1)}: added\n"
    assert tell("--add", runs[0])[1] == f"{run_name(0)}: was there already\n"
    other = tmp_path / "other"
    assert (
        main(["history", "--history", str(other), "--add", str(write_run(tmp_path / "run2", 2)), runs[0]])
        == 0
    )
    with (other / FILE).open("ab") as file:
        file.write(b'{"cut')
    out = tell("--merge", str(other))[1]
    assert "line 3 is cut off, or not JSON" in out
    assert out.endswith(f"{other}: 1 runs added, 1 were there already\n")
    assert tell("--repair")[1].endswith("1 lines set aside in cpu-amd-epyc-9r14.jsonl.damaged\n")
    assert tell("--repair")[1] == f"{history.folder}: every line can be read\n"


def test_a_damaged_line_is_told_once_and_the_rest_is_shown(
    tell: Tell, history: History, make_entry: MakeEntry
) -> None:
    history.append(make_entry(0))
    with (history.folder / FILE).open("ab") as file:
        file.write(b'{"cut')
    code, out, _ = tell()
    assert code == 0
    assert out.count("is cut off") == 1
    assert run_name(0) in out


def test_a_branch_is_synchronised_from_the_command_line(
    tell: Tell, history: History, make_entry: MakeEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.append(make_entry(0))
    subprocess.run(("git", "init", "-q", str(tmp_path)), check=True)
    monkeypatch.chdir(tmp_path)
    code, out, _ = tell("--sync", "slimgate-history")
    assert code == 0
    assert re.fullmatch(
        r"slimgate-history: 0 runs added, 0 were there already\nslimgate-history: moved to \w{10}\n", out
    )
    assert tell("--sync", "slimgate-history")[1].endswith("has everything already\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--remote", "origin"], "--remote: without --sync"),
        (["--last", "0"], "--last: is 0\n  expected: a number of runs, 1 or more"),
        (["--plot", "x.png"], "--plot: without a case"),
        (["--metric", "map50"], "--metric: without a case"),
        (["int8", "--metric", "map51"], "metric 'map51': unknown metric; did you mean 'map75'?"),
        (["int9"], "-k 'int9': selects none of 2 cases"),
        (
            ["--study", "other"],
            "holds no run of study 'other'\n  expected: one of codes on cpu:AMD EPYC 9R14",
        ),
        (["--device", "gpu"], "holds no run of device 'gpu'"),
        (["--merge", "nowhere"], "nowhere: no such folder"),
        (["--add", "nowhere"], "nowhere/run.json: no such file"),
    ],
)
def test_bad_use_is_one_message_and_exit_code_two(
    tell: Tell, history: History, make_entry: MakeEntry, arguments: list[str], complaint: str
) -> None:
    history.append(make_entry(0))
    code, out, err = tell(*arguments)
    assert (code, out) == (2, "")
    assert complaint in err
    assert "Traceback" not in err


def test_no_history_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMGATE_HISTORY", str(tmp_path / "none"))
    assert main(["history"]) == 2
    assert (
        "none: no such folder\n  expected: a history, as 'slimgate study' writes one"
        in capsys.readouterr().err
    )
    (tmp_path / "none").mkdir()
    assert main(["history"]) == 2
    assert "holds no run\n  expected: runs that 'slimgate study' added" in capsys.readouterr().err
    monkeypatch.setenv("SLIMGATE_HISTORY", "off")
    assert main(["history"]) == 2
    assert "SLIMGATE_HISTORY: is 'off': no history is kept" in capsys.readouterr().err


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a study in place that ends at once with a green run."""
    monkeypatch.delenv("SLIMGATE_HISTORY", raising=False)

    def run_study(study: object, out: Path, **options: object) -> Run:
        return Run(directory=write_run(out, 0), judgement=judge_green(), report=out / "report.html")

    monkeypatch.setattr("slimgate.study.pipeline.run_study", run_study)
    monkeypatch.setattr("slimgate.report.render_terminal", lambda directory, console: None)
    (tmp_path / "golden").mkdir()
    (tmp_path / "study.toml").write_text(STUDY_TOML)
    return tmp_path / "study.toml"


def test_every_study_is_added_to_the_history_of_its_project(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = study.parent / ".slimgate" / "history"
    assert main(["study", str(study), "--out", str(study.parent / "run")]) == 0
    assert f"history: {place}" in capsys.readouterr().out.replace("\n", "")
    assert [entry.run_id for entry in History(place).load().entries] == [run_name(0)]
    assert main(["study", str(study), "--out", str(study.parent / "b"), "--no-history"]) == 0
    assert (
        main(["study", str(study), "--out", str(study.parent / "c"), "--history", str(study.parent / "h")])
        == 0
    )
    assert len(History(study.parent / "h").load().entries) == 1


def test_a_study_that_can_be_added_to_no_history_says_how_to_add_it(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = study.parent / "run"
    assert main(["study", str(study), "--out", str(out), "--history", str(study / "x")]) == 2
    err = capsys.readouterr().err
    assert f"cannot be written (Not a directory); the run is whole in {out}, and in no history" in err
    assert f"then 'slimgate history --add {out}'" in err
    assert (out / "run.json").is_file()
