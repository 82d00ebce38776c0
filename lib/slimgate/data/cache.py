"""Where everything lies that can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "SLIMGATE_CACHE"


def cache_folder() -> Path:
    """Return the folder that ``SLIMGATE_CACHE`` names, else the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("slimgate"))
