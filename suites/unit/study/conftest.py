"""A tiny project that studies run on, and study files that tests write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from slimgate.flow import Detector

from fixtures.tiny_project import STUDY, write_project


@pytest.fixture
def project(tmp_path: Path, tiny_detector: Detector) -> Path:
    """Return a project folder with a study, weights, and two disjoint datasets."""
    return write_project(tmp_path / "project", tiny_detector, STUDY)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a study file and returns its path."""

    def _write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return _write
