"""``slimgate inspect``, as a user types it."""

import json

from slimgate.cli import main


def _run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_inspect_prints_the_proof(artifacts, capsys):
    code, text, _ = _run(capsys, "inspect", artifacts.int8("x86").path, "--layers")
    assert code == 0
    assert f"int8 {artifacts.int8('x86').shares['int8']:.1%}" in text
    assert "claims int8" in text
    assert "aligned to 8, 4 exempt" in text
    assert "output of the head: its width is set by boxes and classes" in " ".join(
        text.replace("│", " ").split()
    )
    assert "quantize" in text


def test_inspect_as_json_and_as_text(artifacts, capsys):
    _, text, _ = _run(capsys, "inspect", artifacts.fp16.path, "--json")
    assert json.loads(text)["shares"] == {"fp16": 1.0}
    _, text, _ = _run(capsys, "inspect", artifacts.fp16.path, "--text")
    assert text.startswith("format onnx\n")


def test_inspect_of_a_missing_file(tmp_path, capsys):
    code, _, error = _run(capsys, "inspect", tmp_path / "gone.onnx")
    assert code == 2
    assert "No such file or directory" in error
