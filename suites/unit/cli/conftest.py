"""Golden files that hold a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.acceptances import SIZE
from fixtures.goldens import FLOORS_TOML


@pytest.fixture
def held(golden: Path) -> Path:
    """Give every measurement of ``MEASURED`` that needs one a floor."""
    (golden / "floors" / "codes.toml").write_text(FLOORS_TOML + SIZE)
    return golden
