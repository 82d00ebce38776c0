from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from slimgate.data import Dataset
from slimgate.detect import Detections, Protocol
from slimgate.errors import InputError
from slimgate.measure import Matches, confusion_at, match_images, read_matches, write_matches
from slimgate.measure.bootstrap import draw_copies, measure_resamples
from slimgate.measure.confusion import count_images

from fixtures.coco_oracle import evaluate_with_pycocotools
from fixtures.datasets import noisy_detections, peculiar_dataset

PROTOCOL = Protocol(image_size=320)


def match(dataset: Dataset, detections: list[Detections]) -> Matches:
    counts = count_images(dataset, detections, conf=0.5, iou=0.5)
    return match_images(dataset, detections, counts, PROTOCOL)


def repeat(
    dataset: Dataset, detections: list[Detections], copies: npt.NDArray[np.int64]
) -> tuple[Dataset, list[Detections]]:
    """Return a dataset in which images occur as often as told, under new ids in the order of the old ones."""
    ascending = np.argsort([sample.image_id for sample in dataset.samples])
    places = [int(place) for place, count in zip(ascending, copies, strict=True) for _ in range(count)]
    samples = [replace(dataset.samples[place], image_id=1 + index) for index, place in enumerate(places)]
    drawn = Dataset.from_samples(
        tuple(samples), name="drawn", class_names=dataset.class_names, category_ids=dataset.category_ids
    )
    return drawn, [detections[place] for place in places]


@pytest.mark.parametrize("seed", range(6))
def test_images_as_they_are_give_pycocotools_numbers(seed: int) -> None:
    dataset = peculiar_dataset(seed)
    detections = noisy_detections(dataset, seed)
    numbers, _, _ = evaluate_with_pycocotools(dataset, detections)
    measured = measure_resamples(match(dataset, detections), np.ones((1, len(dataset)), dtype=np.int64))
    for metric, number in zip(("map50_95", "map50", "map75"), numbers[:3], strict=True):
        assert measured[metric][0] == pytest.approx(number, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_images_drawn_twice_or_never_give_pycocotools_numbers_on_that_dataset(seed: int) -> None:
    # Scores with one digit tie within an image, between images and between copies; crowds are among the objects.
    dataset = peculiar_dataset(seed)
    detections = noisy_detections(dataset, seed)
    copies = draw_copies(len(dataset), resamples=4, seed=seed)
    assert (copies.sum(axis=1) == len(dataset)).all()
    assert copies.max() > 1
    measured = measure_resamples(match(dataset, detections), copies)
    for draw, row in enumerate(copies):
        again, found = repeat(dataset, detections, row)
        numbers, _, _ = evaluate_with_pycocotools(again, found)
        for metric, number in zip(("map50_95", "map50", "map75"), numbers[:3], strict=True):
            assert measured[metric][draw] == pytest.approx(number, abs=1e-12)
        counted = confusion_at(again, found, conf=0.5, iou=0.5)
        overall = counted.overall
        assert measured["recall"][draw] == overall.recall
        assert measured["precision"][draw] == overall.precision
        assert measured["f1"][draw] == overall.f1
        assert measured["miss_rate"][draw] == overall.miss_rate
        assert measured["false_detections"][draw] == overall.fp
        assert (measured["misses"][draw], measured["partial"][draw]) == (overall.misses, overall.partial)
        for name, of_class in counted.per_class.items():
            recall = measured[f"recall/{name}"][draw]
            assert np.isnan(recall) if of_class.recall is None else recall == of_class.recall


def test_without_detections_there_are_objects_and_no_hits() -> None:
    dataset = peculiar_dataset(0)
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    measured = measure_resamples(match(dataset, [nothing] * len(dataset)), np.ones((1, len(dataset)), int))
    assert (measured["map50_95"][0], measured["recall"][0]) == (0.0, 0.0)
    assert np.isnan(measured["precision"][0])


def test_images_go_by_their_ids() -> None:
    dataset = peculiar_dataset(2)
    matches = match(dataset, noisy_detections(dataset, 2))
    assert (np.diff(matches.image_ids) > 0).all()
    assert (np.diff(matches.images) >= 0).all()
    first = next(sample for sample in dataset.samples if sample.image_id == matches.image_ids[0])
    assert matches.objects[0].sum() == (~first.crowd).sum()


def test_a_file_gives_back_what_was_written_and_the_same_bytes(tmp_path: Path) -> None:
    written = {}
    for name, seed in (("", 1), ("codes:test", 2)):
        dataset = peculiar_dataset(seed)
        written[name] = match(dataset, noisy_detections(dataset, seed))
    path = write_matches(tmp_path / "a.matches.npz", written)
    assert path.read_bytes() == write_matches(tmp_path / "b.npz", written).read_bytes()
    read = read_matches(path)
    assert list(read) == ["", "codes:test"]
    for name, one in written.items():
        for field, value in vars(one).items():
            np.testing.assert_array_equal(getattr(read[name], field), value)


def test_image_ids_may_follow_on_one_another_and_occur_once(tmp_path: Path) -> None:
    dataset = peculiar_dataset(1)
    matches = match(dataset, noisy_detections(dataset, 1))
    counted = np.arange(1, len(dataset) + 1)
    path = write_matches(tmp_path / "x.npz", {"": replace(matches, image_ids=counted)})
    np.testing.assert_array_equal(read_matches(path)[""].image_ids, counted)
    write_matches(path, {"": replace(matches, image_ids=np.maximum(counted, 2))})
    with pytest.raises(InputError, match="image ids do not ascend"):
        read_matches(path)


BROKEN = [
    ({"hits": np.zeros(3, np.uint16)}, r"hits is \(3,\), expected \(\d+,\)"),
    ({"scores": None}, "scores is float64"),
    ({"classes": 99}, "classes names one beyond the 5 there are"),
    ({"images": -1}, "images names one beyond the 12 there are"),
    ({"hits": 0x3FF, "ignored": 0}, "more hits than objects"),
    ({"scores": np.nan}, "a score is not finite"),
    ({"deployed": -1}, "a count is negative"),
]


@pytest.mark.parametrize(("change", "found"), BROKEN)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path: Path, change: dict, found: str) -> None:
    dataset = peculiar_dataset(1)
    matches = match(dataset, noisy_detections(dataset, 1))
    path = write_matches(tmp_path / "x.npz", {"": matches})
    with np.load(path) as file:
        arrays = dict(file)
    for key, value in change.items():
        old = arrays[f"0.{key}"]
        if value is None:
            arrays[f"0.{key}"] = old.astype(np.float64)
        else:
            arrays[f"0.{key}"] = value if isinstance(value, np.ndarray) else np.full_like(old, value)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=found):
        read_matches(path)


def test_a_file_out_of_order_is_refused(tmp_path: Path) -> None:
    dataset = peculiar_dataset(1)
    matches = match(dataset, noisy_detections(dataset, 1))
    turned = {name: getattr(matches, name)[::-1] for name in ("images", "classes", "hits", "ignored")}
    path = write_matches(tmp_path / "x.npz", {"": replace(matches, **turned)})
    with pytest.raises(InputError, match="detections are not in the order of the images"):
        read_matches(path)


def test_a_file_that_is_missing_cut_off_or_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.matches.npz"
    with pytest.raises(InputError, match="no such file\n  expected: a slimgate-matches/1 file"):
        read_matches(path)
    dataset = peculiar_dataset(1)
    write_matches(path, {"": match(dataset, noisy_detections(dataset, 1))})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut off, or not what was written"):
        read_matches(path)
    np.savez(path, header=np.array('{"format": "slimgate-matches/9"}'))
    with pytest.raises(InputError, match="format 'slimgate-matches/9'"):
        read_matches(path)
    np.savez(path, header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="allow_pickle=False"):
        read_matches(path)
