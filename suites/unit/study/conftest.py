"""A tiny project that studies run on."""

from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.flow import Detector

from fixtures.tiny_project import STUDY, write_project


@pytest.fixture
def project(tmp_path: Path, tiny_detector: Detector) -> Path:
    """Return a project folder with a study, weights, and two disjoint datasets."""
    return write_project(tmp_path / "project", tiny_detector, STUDY)
