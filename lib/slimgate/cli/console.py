"""The console that commands print tables to."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 200


def make_console() -> Console:
    """Return the console of standard output; into a pipe or a file it is wide enough for every column.

    Rich takes what is no terminal for 80 columns wide, and a log of continuous integration would lose columns of the
    table for nothing. ``COLUMNS`` is obeyed where it is set.
    """
    from rich.console import Console

    unbounded = not sys.stdout.isatty() and not os.environ.get("COLUMNS")
    return Console(highlight=False, width=_WIDE if unbounded else None)
