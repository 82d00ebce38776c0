"""The architecture search, whole, on a tiny detector and tiny pictures; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from slimgate.cli import main
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.candidates import Candidate, pareto_front
from slimgate.compress.search_space import search_space
from slimgate.errors import UsageError
from slimgate.flow import Detector
from slimgate.model import count_flops, load_detector, save_checkpoint

from fixtures.datasets import CLASS_NAMES, write_dataset
from fixtures.specs import NetworkSpec, build_from_spec


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data.yaml of six training pictures, and six of inverted colours to validate on."""
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder / "train")
    write_dataset(folder / "val")
    for path in (folder / "val" / "images").iterdir():
        cv2.imwrite(str(path), 255 - cv2.imread(str(path)))
    config = folder / "data.yaml"
    config.write_text(
        f"path: {folder}\ntrain: train/images\nval: val/images\nnames: {json.dumps(list(CLASS_NAMES))}\n"
    )
    return config


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    detector = build_from_spec(NetworkSpec(widths=(16, 16, 24), depth=2))
    return save_checkpoint(detector, tmp_path_factory.mktemp("model") / "tiny")


def _search(model: Path, data: Path, out: Path, *more: str) -> int:
    numbers = ["--images", "4", "--score-images", "2", "--budget", "0.8"]
    return main(["search", str(model), "--data", str(data), "--out", str(out), *numbers, *more])


def test_a_search_leaves_its_front_with_checkpoints(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "search"
    assert _search(model, data, out, "--trials", "1", "--activations", "silu,relu") == 0
    result = json.loads((out / "search.json").read_text())
    assert result["format"] == "slimgate-search/1"
    assert len(result["candidates"]) == 1
    front = [one for one in result["candidates"] if one["number"] in result["front"]]
    assert front
    assert sorted(path.name for path in out.glob("*.safetensors")) == sorted(
        f"candidate-{one['number']}.safetensors" for one in front
    )
    whole = load_detector(model)
    for one in front:
        made = load_detector(out / f"candidate-{one['number']}.safetensors")
        assert one["flops"] == count_flops(made) / count_flops(whole) <= 0.8
        assert [step.operation for step in made.lineage] == [
            text.partition(":")[0] for text in one["operations"]
        ]
    shown = capsys.readouterr()
    assert "Pareto front" in shown.out
    assert "candidate 0: " in shown.err

    # The same command again finds the journal full; a larger number goes on.
    assert _search(model, data, out, "--trials", "1", "--activations", "silu,relu") == 0
    assert json.loads((out / "search.json").read_text())["candidates"] == result["candidates"]
    assert _search(model, data, out, "--trials", "2", "--activations", "silu,relu") == 0
    assert json.loads((out / "search.json").read_text())["candidates"][:1] == result["candidates"]


def test_a_journal_of_another_search_is_refused(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _search(model, data, tmp_path, "--trials", "1") == 0
    before = (tmp_path / "search.json").read_text()
    assert _search(model, data, tmp_path, "--trials", "2", "--score-images", "1") == 2
    message = capsys.readouterr().err
    assert "a search with other settings: score_images, score_sha256" in message
    assert (tmp_path / "search.json").read_text() == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--trials", "0"], "--trials: 0"),
        (["--budget", "30"], "budget: 30"),
        (["--activations", "rellu"], "did you mean 'relu'"),
        (["--images", "6"], "6 training pictures, 8 asked for"),
        (["--cost", "latency", "--runtime", "onnxruntim"], "onnxruntime"),
        (["--budget-of", "latency", "--budget", "3"], "a share of the latency, above 0"),
        (["--precision", "int8"], "--precision int8: nothing is timed"),
        (
            ["--precision", "int8", "--cost", "latency", "--runtime", "torch"],
            "--runtime torch: it runs no INT8 file",
        ),
    ],
)
def test_bad_use_is_one_message_and_leaves_nothing(
    model: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    assert _search(model, data, tmp_path / "out", *more) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("what to do") == 1
    assert not (tmp_path / "out").exists()


def _tried(number: int, cost: float | None, score: float | None) -> Candidate:
    return Candidate(number=number, operations=(), flops=cost, cost=cost, score=score)


def test_the_front_is_what_no_other_beats() -> None:
    candidates = [
        _tried(0, 0.5, 0.8),
        _tried(1, 0.2, 0.5),
        _tried(2, 0.3, 0.5),  # costs more than 1, and is no better
        _tried(3, 0.5, 0.7),  # as dear as 0, and worse
        _tried(4, 0.1, 0.1),
        _tried(5, None, None),
        _tried(6, 0.2, 0.5),  # equal to 1, and later
    ]
    assert [one.number for one in pareto_front(candidates)] == [4, 1, 0]
    assert pareto_front([]) == []


def test_the_space_is_what_the_network_has() -> None:
    detector = build_from_spec(NetworkSpec(depth=2))
    space = search_space(detector, budget=0.5)
    assert space.parts == ("2", "4", "8", "head")
    assert (space.levels, space.blocks, space.activations) == (1, 2, ())
    with pytest.raises(UsageError, match="budget: 0"):
        search_space(detector, budget=0)


def test_only_blocks_that_may_go_are_searched() -> None:
    detector = build_from_spec(NetworkSpec(block="C2f", depth=2))
    assert search_space(detector, budget=0.5).blocks == 1


def test_what_is_wrong_with_every_training_is_not_called_a_budget(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "a,b" / "data.yaml"
    moved.parent.mkdir()
    moved.write_bytes(data.read_bytes())
    assert _search(model, moved, tmp_path / "out", "--trials", "1") == 2
    shown = capsys.readouterr().err
    assert "raise the budget" not in shown
    assert "'b/data.yaml' is not a setting" in shown


class _Clock:
    """Latency that falls as the square of the FLOPs."""

    def __init__(self, whole: int) -> None:
        self.whole = whole

    def ratio(self, meter: object, detector: Detector) -> float:
        return float((count_flops(detector) / self.whole) ** 2)


def test_a_budget_of_latency_is_kept_and_needs_no_clock_to_be_made_again(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_detector(model)
    clock = _Clock(count_flops(whole))
    monkeypatch.setattr("slimgate.study.latency.LatencyMeter.ratio", lambda *given: clock.ratio(*given))
    more = ["--trials", "1", "--budget-of", "latency", "--cost", "latency"]
    assert _search(model, data, tmp_path, *more) == 0
    result = json.loads((tmp_path / "search.json").read_text())
    assert result["budget_of"] == "latency on onnxruntime"
    assert result["space"]["budget_of"] == "latency"
    (one,) = result["candidates"]
    assert one["reason"] == ""
    assert one["cost"] == pytest.approx(one["flops"] ** 2)
    assert one["cost"] <= 0.8
    assert not any("latency=" in text for text in one["operations"])
    made = load_detector(tmp_path / "candidate-0.safetensors")
    again = apply_operations(whole, [parse_operation(text) for text in one["operations"][:-1]])
    assert again.architecture == made.architecture
    kept = [step.notes["kept"] for each in (again, made) for step in each.lineage if step.operation == "slim"]
    assert kept[0] == kept[1]


def test_a_candidate_that_is_too_slow_is_not_trained(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slower_and_slower(*given: object) -> float:
        timed.append(given)
        return 1.0 + len(timed)

    timed: list[object] = []
    monkeypatch.setattr("slimgate.study.latency.LatencyMeter.ratio", slower_and_slower)
    assert _search(model, data, tmp_path, "--trials", "1", "--budget-of", "latency") == 0
    (one,) = json.loads((tmp_path / "search.json").read_text())["candidates"]
    assert one["score"] is None
    assert "latency" in one["reason"]
    assert not (tmp_path / "runs").exists()
