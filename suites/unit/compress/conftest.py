"""These networks are tiny: a second thread only waits for the first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from slimgate.compress.training_data import TrainingData
from slimgate.data import list_images
from slimgate.data.codes import CLASS_NAMES, materialise_split


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """Return eight pictures of the built-in set, half of which are validated on: enough for what is tested here."""
    paths = tuple(
        list_images(materialise_split("train", tmp_path_factory.mktemp("cache"), count=8) / "images")
    )
    return TrainingData(
        source="codes", train=paths, val=paths[:4], class_names=CLASS_NAMES, facts={"train": "digest"}
    )
