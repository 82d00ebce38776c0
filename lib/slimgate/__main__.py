"""``python -m slimgate``."""

from slimgate.cli import main

raise SystemExit(main())
