"""Policy of this repository's test runs, and nothing else: the machinery is the installed plugin."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# One fixture module imports another, so all must be announced before the first is imported.
pytest.register_assert_rewrite("fixtures")

_FIXTURES = Path(__file__).parent / "fixtures"
pytest_plugins = [
    "pytester",
    *(f"fixtures.{file.stem}" for file in sorted(_FIXTURES.glob("*.py")) if not file.stem.startswith("_")),
]

# ultralytics installs packages, downloads weights and writes into the home directory unless told not to.
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"
os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(tempfile.gettempdir()) / "slimgate-yolo-settings"))

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two workers with two threads each would only wait for one another; read when torch is first imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]  # the machine decides, not the property
settings.register_profile("dev", max_examples=30, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.register_profile("nightly", parent=settings.get_profile("dev"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))
