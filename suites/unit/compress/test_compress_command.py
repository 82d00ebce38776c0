"""``slimgate compress`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slimgate.cli import main
from slimgate.compress import OPERATIONS
from slimgate.flow import Detector
from slimgate.model import count_parameters, load_detector, save_checkpoint


@pytest.fixture
def model(tmp_path: Path, tiny_legacy_detector: Detector) -> Path:
    return save_checkpoint(tiny_legacy_detector, tmp_path / "tiny")


def test_a_pruned_checkpoint_is_written_and_summarised(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "tiny-prune50"
    assert main(["compress", str(model), "--op", "prune:0.3", "--op", "prune:0.5", "-o", str(out)]) == 0
    pruned = load_detector(out.with_name("tiny-prune50.safetensors"))
    assert [step.settings["ratio"] for step in pruned.lineage] == [0.3, 0.5]
    shown = capsys.readouterr().out
    counts = count_parameters(pruned.module)
    assert f"{counts.total:,}" in shown
    assert f"{counts.nonzero:,}" in shown
    assert pruned.weights_sha256[:12] in shown
    assert "tiny-prune50.json" in shown
    assert json.loads(out.with_name("tiny-prune50.json").read_text())["lineage"][1]["operation"] == "prune"


def test_what_slim_reached_is_printed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "slim"
    text = "slim:0.3,importance=l2,multiple=4,scope=layer"
    assert main(["compress", str(model), "--op", text, "-o", str(out)]) == 0
    notes = load_detector(out.with_suffix(".safetensors")).lineage[-1].notes
    shown = " ".join(capsys.readouterr().out.split())
    reached = f"30.0% of the channels to remove asked for, {notes['reached']['ratio']:.1%} reached"
    assert reached in shown
    assert notes["reached"]["ratio"] < 0.3
    assert notes["held_back"]["multiple"] > 0
    # What nothing can reach is refused, and nothing is written.
    assert main(["compress", str(model), "--op", "slim:1,importance=l2,multiple=4", "-o", f"{out}1"]) == 2
    assert "ratio 1: floors and the multiple of 4 let at most" in capsys.readouterr().err
    assert not Path(f"{out}1.safetensors").exists()


def test_half_and_image_size_are_recorded(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "half"
    arguments = ["--op", "prune:0", "-o", str(out), "--half", "--image-size", "96"]
    assert main(["compress", str(model), *arguments]) == 0
    record = json.loads(out.with_name("half.json").read_text())
    assert (record["storage"], record["image_size"]) == ("float16", 96)


def test_nothing_is_overwritten_without_force(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model.read_bytes()
    arguments = ["compress", str(model), "--op", "prune:0.5", "-o", str(model)]
    assert main(arguments) == 2
    assert "tiny.safetensors and tiny.json exists already" in capsys.readouterr().err
    assert model.read_bytes() == before
    assert main([*arguments, "--force"]) == 0
    assert model.read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--op", "prune:30", "-o", "x"], "did you mean 0.3?"),
        (["--op", "prunes:0.3", "-o", "x"], "did you mean 'prune'?"),
        (["--op", "prune:0.3", "-o", "."], "a directory"),
        (
            ["--op", "prune:0.3", "-o", "x", "--image-size", "65"],
            "image size 65: not a multiple of the stride",
        ),
    ],
)
def test_bad_use_exits_with_2_and_writes_nothing(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["compress", str(model), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_an_operation_is_required(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["compress", str(model), "-o", "x"])
    assert left.value.code == 2
    assert "--op" in capsys.readouterr().err


def test_the_help_teaches_every_operation_and_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compress", "--help"])
    shown = capsys.readouterr().out
    for name, operation in OPERATIONS.items():
        assert f"--op {name}:" in shown
        assert all(setting in shown.lower() for setting in operation.settings)


def test_the_place_is_tried_before_the_work(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    for command in (["compress", str(model), "--op", "prune:0.3"], ["align", str(model), "--multiple", "8"]):
        assert main([*command, "-o", str(out)]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith(f"slimgate: --out {out}: cannot be written (")
        assert "applying" not in shown
