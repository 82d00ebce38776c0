"""``slimgate rederive``, as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from slimgate.cli import main
from slimgate.compress import apply_operations, parse_operation
from slimgate.model import architecture_from_file, build_module, load_detector, save_checkpoint

from fixtures.specs import NetworkSpec, build_from_spec


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    whole = build_from_spec(NetworkSpec())
    save_checkpoint(whole, folder / "whole")
    slim = apply_operations(whole, [parse_operation("slim:0.5,importance=l1,multiple=4")])
    save_checkpoint(slim, folder / "slim")
    return folder


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_yaml_builds_the_slim_network(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "nas.yaml"
    code, text, _ = _run(capsys, "rederive", files / "slim.safetensors", "-o", out)
    assert code == 0
    assert text == f"wrote {out}\n"
    slim = load_detector(files / "slim.safetensors")
    module = build_module(architecture_from_file(out, class_count=3), family=slim.family, class_count=3)
    assert {name: tensor.shape for name, tensor in module.state_dict().items()} == {
        name: tensor.shape for name, tensor in slim.module.state_dict().items()
    }
    assert sorted(tmp_path.rglob("*")) == [out.parent, out]


def test_a_checkpoint_inherits_what_slimming_kept(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["-o", tmp_path / "nas.yaml", "--weights", files / "whole.safetensors"]
    code, text, _ = _run(
        capsys, "rederive", files / "slim.safetensors", *arguments, "--checkpoint", tmp_path / "nas"
    )
    assert code == 0
    built, slim = (load_detector(path) for path in (tmp_path / "nas.json", files / "slim.json"))
    tensors = len(slim.module.state_dict())
    assert f"inherited {tensors} of {tensors} tensors from drawn" in text
    assert "nas.safetensors and nas.json" in text
    # Nothing was trained since, so what was kept is what is inherited.
    assert built.weights_sha256 == slim.weights_sha256
    assert [step.operation for step in built.lineage] == ["slim", "rederive"]


def test_random_weights_follow_the_seed(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        arguments = ["-o", tmp_path / f"{name}.yml", "--checkpoint", tmp_path / name, "--seed", seed]
        code, text, _ = _run(capsys, "rederive", files / "slim.safetensors", *arguments)
        assert code == 0
        assert "inherited 0 of" in text
        assert "random weights" in text
        hashes.append(load_detector(tmp_path / f"{name}.json").weights_sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_first_channels_of_every_layer(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--weights", files / "whole.json", "--match", "first", "--checkpoint", tmp_path / "nas"]
    code, _, _ = _run(capsys, "rederive", files / "slim.json", "-o", tmp_path / "nas.yaml", *arguments)
    assert code == 0
    built, whole = (
        load_detector(path).module.state_dict() for path in (tmp_path / "nas.json", files / "whole.json")
    )
    width = len(built["model.0.conv.weight"])
    assert torch.equal(built["model.0.conv.weight"], whole["model.0.conv.weight"][:width])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "nas.json"], "--out nas.json: suffix '.json'"),
        (["-o", "folder.yaml"], "--out folder.yaml: a directory"),
        (["-o", "taken.yaml"], "taken.yaml: it exists already"),
        (["-o", "x.yaml", "--weights", "WHOLE"], "no --checkpoint"),
        (["-o", "x.yaml", "--weights", "WHOLE", "--match", "none", "--checkpoint", "x"], "--match none"),
        (["-o", "x.yaml", "--match", "kept", "--checkpoint", "x"], "--match kept: no --weights"),
        (["-o", "x.yaml", "--weights", "no.pt", "--checkpoint", "x"], "no.pt: no such file"),
        (["-o", "x.yaml", "--checkpoint", "."], "--checkpoint .: a directory"),
        (["-o", "x.yaml", "--checkpoint", "taken"], "--checkpoint taken: taken.json exists already"),
        (["-o", "x.yaml", "--checkpoint", "x", "--seed", "one"], "rederive seed 'one': not a whole number"),
    ],
)
def test_bad_use_is_one_message_and_writes_nothing(
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.yaml").mkdir()
    Path("taken.yaml").write_text("")
    Path("taken.json").write_text("")
    before = sorted(tmp_path.iterdir())
    given = [str(files / "whole.json") if argument == "WHOLE" else argument for argument in arguments]
    code, _, error = _run(capsys, "rederive", files / "slim.json", *given)
    assert code == 2
    assert message in error
    assert sorted(tmp_path.iterdir()) == before


def test_an_unslimmed_detector_does_not_say_what_was_kept(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--weights", files / "whole.json", "--checkpoint", tmp_path / "x", "-o", tmp_path / "x.yaml"]
    code, _, error = _run(capsys, "rederive", files / "whole.json", *arguments)
    assert code == 2
    assert "match=kept for drawn: no slim in its lineage" in error
    assert not list(tmp_path.iterdir())
