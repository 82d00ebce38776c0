"""``slimgate align`` and ``slimgate inspect --multiple``, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from slimgate.cli import main
from slimgate.compress import apply_operations, parse_operation
from slimgate.model import load_detector, save_checkpoint

from fixtures.specs import NetworkSpec, build_from_spec


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    step = parse_operation("slim:0.4,importance=random,multiple=1")
    slim = apply_operations(build_from_spec(NetworkSpec(up="deconv2")), [step])
    return save_checkpoint(slim, tmp_path_factory.mktemp("odd") / "odd")


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, " ".join(captured.out.split()), captured.err


def test_widths_are_repaired_and_the_outputs_stay(
    odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "aligned"
    code, text, _ = _run(capsys, "align", odd, "--multiple", "8", "-o", out)
    assert code == 0
    before, after = load_detector(odd), load_detector(out.with_suffix(".safetensors"))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(after.module(image), before.module(image), rtol=1e-4, atol=1e-3)
    padded = after.lineage[-1].notes["padded"]
    assert padded
    assert f"padded {len(padded)} layers: " in text
    assert f"{next(iter(padded))} ({next(iter(padded.values()))})" in text
    assert "exempt (output of the head: its width is set by boxes and classes): model.8.cv2.0.2" in text
    assert "largest difference between the outputs, in float64: " in text
    _, text, _ = _run(capsys, "inspect", out.with_suffix(".safetensors"))
    assert "exempt, 0 odd" in text


def test_aligned_already(odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = _run(capsys, "align", odd, "--multiple", "1", "-o", tmp_path / "same")
    assert code == 0
    assert "every width is a multiple of 1 already" in text
    assert load_detector(tmp_path / "same.safetensors").weights_sha256 == load_detector(odd).weights_sha256


def test_half_is_stored_as_such(odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(capsys, "align", odd, "-o", tmp_path / "half", "--half")[0] == 0
    assert json.loads((tmp_path / "half.json").read_text())["storage"] == "float16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--multiple", "0", "-o", "x"], "align multiple '0': too small"),
        (["--multiple", "8,seed=1", "-o", "x"], "setting of align 'seed': unknown setting of align"),
        (["-o", "."], "--out .: a directory"),
        (["-o", "taken"], "taken.json exists already"),
    ],
)
def test_bad_use_is_one_message_and_writes_nothing(
    odd: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.json").write_text("{}")
    code, _, error = _run(capsys, "align", odd, *arguments)
    assert code == 2
    assert message in error
    assert [file.name for file in tmp_path.iterdir()] == ["taken.json"]


def test_a_model_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = _run(capsys, "align", tmp_path / "none.pt", "-o", tmp_path / "x")
    assert code == 2
    assert "none.pt: no such file" in error


def test_inspect_holds_widths_against_a_multiple(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = _run(capsys, "inspect", odd, "--multiple", "1")
    assert code == 0
    assert "aligned to 1, 5 exempt, 0 odd" in text
    assert "model.8.cv2.0.2 (16)" in text
    code, text, _ = _run(capsys, "inspect", odd, "--json", "--multiple", "16")
    found = json.loads(text)
    assert found["multiple"] == 16
    for layer in found["layers"]:
        expected = "exempt" if layer["reason"] else "odd" if layer["outputs"] % 16 else "aligned"
        assert layer["alignment"] == expected
    exempt = {layer["name"]: layer["reason"] for layer in found["layers"] if layer["reason"]}
    assert set(exempt) == {
        *(f"model.8.cv{branch}.{level}.2" for branch in (2, 3) for level in (0, 1)),
        "model.8.dfl.conv",
    }


def test_inspect_lists_channels_that_cannot_change_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    grouped = build_from_spec(NetworkSpec(widths=(8, 8, 24), down="DWConv"))
    path = save_checkpoint(grouped, tmp_path / "grouped")
    _, text, _ = _run(capsys, "inspect", path)
    assert "model.2.cv3.conv (8), model.3.conv (24): part of a grouped convolution (model.3.conv)" in text


@pytest.mark.parametrize("multiple", ["0", "-8", "eight", "8.0", "²"])
def test_a_multiple_that_is_none(odd: Path, capsys: pytest.CaptureFixture[str], multiple: str) -> None:
    code, _, error = _run(capsys, "inspect", odd, f"--multiple={multiple}")
    assert code == 2
    assert error == (
        f"slimgate: --multiple '{multiple}': not a whole number from 1\n"
        "  expected: what channel widths should be multiples of: 8, 4, 16, 32\n"
        "  what to do: write --multiple 8\n"
    )
