"""A study: one TOML file drives the command line and the suites through one artifact store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slimgate.study.load import load_study
from slimgate.study.spec import BUILT_IN, Study, VariantSpec

if TYPE_CHECKING:
    from slimgate.study.pipeline import Run, run_study
    from slimgate.study.store import Store

__all__ = ["BUILT_IN", "Run", "Store", "Study", "VariantSpec", "load_study", "run_study"]


def __getattr__(name: str) -> Any:
    # Collection by pytest parses study files; only running one may load frameworks.
    if name in ("Run", "run_study"):
        from slimgate.study import pipeline

        return getattr(pipeline, name)
    if name == "Store":
        from slimgate.study.store import Store

        return Store
    raise AttributeError(name)
