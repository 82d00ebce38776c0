from __future__ import annotations

import shutil
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest
from slimgate.cli import main
from slimgate.flow import Status

from fixtures.runs import RunDraft


def test_a_green_run_is_rendered(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run_dir)]) == 0
    out = capsys.readouterr().out
    assert "PASS: 37 PASS, 3 not proven" in out
    assert f"report: {run_dir / 'report.html'}" in out.replace("\n", "")
    assert (run_dir / "report.html").is_file()
    assert (run_dir / "report.md").is_file()


def test_rendering_a_red_run_is_no_failure(
    run_draft: RunDraft, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_draft.change_verdict("int8@openvino", Status.FAIL)
    assert main(["report", str(run_draft.write(tmp_path / "run"))]) == 0
    assert "FAIL: 1 FAIL" in capsys.readouterr().out


def test_what_is_no_run_is_one_message_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"slimgate: {tmp_path}: not a run directory: it has no run.json")
    assert list(tmp_path.iterdir()) == []


def test_open_shows_the_page(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    assert main(["report", str(run_dir), "--open"]) == 0
    assert opened == [(run_dir / "report.html").resolve().as_uri()]


def test_open_without_a_browser_says_so(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    assert main(["report", str(run_dir), "--open"]) == 0
    assert "no browser to be found" in capsys.readouterr().out


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["report", "--help"])
    assert leaving.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "exit code is 0 when the report was written, also when its verdict is red" in out


def test_a_report_needs_no_framework(written_run: Path, tmp_path: Path) -> None:
    run_dir = shutil.copytree(written_run, tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from slimgate.report import write_report;"
        f"write_report(Path({str(run_dir)!r}));"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino', 'tensorrt', 'matplotlib', 'cv2', 'ultralytics'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
