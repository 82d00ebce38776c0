"""The artifact store: built once, never trusted unread."""

from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path

import pytest
from slimgate.artifact import hash_file
from slimgate.data.cache import cache_folder
from slimgate.errors import SlimgateError
from slimgate.flow import Artifact, Precision, Step
from slimgate.study.store import Store, hash_json, source_sha256


def _artifact(path: Path) -> Artifact:
    return Artifact(
        path=path,
        format="onnx",
        target="x86",
        precision=Precision.INT8,
        class_names=("a", "b"),
        image_size=64,
        batch=0,
        sha256=hash_file(path),
        size_bytes=path.stat().st_size,
        build_s=0.5,
        shares={"int8": 0.9, "fp32": 0.1},
        facts={"nodes": 3},
        lineage=(Step(operation="prune", settings={"ratio": 0.3}, notes={"zeros": 1}),),
    )


class Builds:
    """A builder that counts how often it is asked."""

    def __init__(self, content: bytes = b"weights") -> None:
        self.count = 0
        self.content = content

    def __call__(self, folder: Path) -> Artifact:
        self.count += 1
        path = folder / "model.onnx"
        path.write_bytes(self.content)
        path.with_suffix(".json").write_text('{"classes": ["a", "b"]}')
        return _artifact(path)


def test_same_inputs_build_once_and_read_back_equal(tmp_path):
    build = Builds()
    first = Store(tmp_path).artifact({"kind": "x", "n": 1}, build)
    second = Store(tmp_path).artifact({"n": 1, "kind": "x"}, build)
    assert build.count == 1
    assert first == second
    assert first.lineage[0].settings == {"ratio": 0.3}
    assert first.path.read_bytes() == b"weights"


def test_values_are_worked_out_once_and_read_back_to_the_last_digit(tmp_path):
    asked = []

    def work_out():
        asked.append(1)
        return {"ranges": {"x": [-0.1 / 3, 1e-300]}, "seen": [512, None, "a"]}

    first = Store(tmp_path).values({"kind": "plan", "n": 1}, work_out)
    second = Store(tmp_path).values({"n": 1, "kind": "plan"}, work_out)
    assert first == second == work_out()
    assert len(asked) == 2
    Store(tmp_path).values({"kind": "plan", "n": 2}, work_out)
    assert len(asked) == 3


@pytest.mark.parametrize("damage", ['{"format": ', "0.5"])
def test_corrupted_values_are_worked_out_again(tmp_path, damage):
    kept = Store(tmp_path).values({"n": 1}, lambda: {"high": 0.25})
    assert kept == {"high": 0.25}
    entry = next(tmp_path.rglob("entry.json"))
    text = entry.read_text()
    entry.write_text(text.replace("0.25", damage) if damage == "0.5" else damage)
    assert Store(tmp_path).values({"n": 1}, lambda: {"high": 0.25}) == {"high": 0.25}
    assert "0.5" not in entry.read_text()


def test_other_inputs_build_again(tmp_path):
    build = Builds()
    Store(tmp_path).artifact({"n": 1}, build)
    Store(tmp_path).artifact({"n": 2}, build)
    assert build.count == 2


@pytest.mark.parametrize(
    "damage", ["file", "entry", "missing", "beside", "nothing beside", "claim", "no object"]
)
def test_a_corrupted_entry_is_rebuilt(tmp_path, damage):
    build = Builds()
    made = Store(tmp_path).artifact({"n": 1}, build)
    entry, beside = made.path.parent / "entry.json", made.path.with_suffix(".json")
    if damage == "file":
        made.path.write_bytes(b"weightz")
    elif damage == "entry":
        entry.write_text('{"format": ')
    elif damage == "beside":
        beside.write_text('{"classes": ["b", "a"]}')
    elif damage == "nothing beside":
        beside.unlink()
    elif damage == "claim":
        assert '"int8": 0.9' in entry.read_text()
        entry.write_text(entry.read_text().replace('"int8": 0.9', '"int8": 1.0'))
    elif damage == "no object":
        entry.write_text("[]")
    else:
        made.path.unlink()
    again = Store(tmp_path).artifact({"n": 1}, build)
    assert build.count == 2
    assert again == made
    assert again.path.read_bytes() == b"weights"
    assert beside.read_text() == '{"classes": ["a", "b"]}'


def test_an_artifact_that_says_another_hash_than_its_file_has_is_no_entry(tmp_path):
    def build(folder: Path) -> Artifact:
        made = Builds()(folder)
        return dataclasses.replace(made, sha256="0" * 64)

    with pytest.raises(SlimgateError, match="the entry does not read back as it was written"):
        Store(tmp_path).artifact({"n": 1}, build)


def test_what_json_writes_in_another_way_is_read_back_once_built(tmp_path):
    asked = []

    def work_out():
        asked.append(1)
        return {"batches": {32: (1, 2), 4: ()}}

    for _ in range(2):
        assert Store(tmp_path).values({"n": 1}, work_out) == {"batches": {"32": [1, 2], "4": []}}
    assert len(asked) == 1


def test_changed_source_builds_again(tmp_path, monkeypatch):
    build = Builds()
    Store(tmp_path).artifact({"n": 1}, build)
    monkeypatch.setattr("slimgate.study.store.source_sha256", lambda: "changed")
    Store(tmp_path).artifact({"n": 1}, build)
    assert build.count == 2


def test_a_failed_build_leaves_nothing(tmp_path):
    def fail(folder: Path) -> Artifact:
        (folder / "half").write_bytes(b"x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).artifact({"n": 1}, fail)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def _build_slowly(root: Path, counter: Path) -> None:
    import time

    def build(folder: Path) -> Artifact:
        with counter.open("a") as file:
            file.write("x")
        time.sleep(0.3)
        path = folder / "model.onnx"
        path.write_bytes(b"weights")
        return _artifact(path)

    Store(root).artifact({"n": 1}, build)


def test_two_processes_build_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    counter = tmp_path / "count"
    workers = [context.Process(target=_build_slowly, args=(tmp_path / "store", counter)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert counter.read_text() == "x"


def test_the_cache_folder_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMGATE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_what_a_killed_build_left_goes_with_the_next_build(tmp_path):
    store = Store(tmp_path)
    inputs = {"weights": "a"}
    key = hash_json({**inputs, "source": source_sha256()})
    left = tmp_path / key[:2] / f"{key[:16]}-killed"
    left.mkdir(parents=True)
    (left / "half.onnx").write_bytes(b"half")
    other = tmp_path / key[:2] / "0123456789abcdef-building"
    other.mkdir()

    store.artifact(inputs, Builds())

    assert not left.exists()
    assert other.is_dir()  # another key's build may be alive
