"""``-k study/variant@runtime`` selects exactly that case; pytest's own expressions cannot say it."""

from __future__ import annotations

import pytest

from slimgate.flow import Case

_CASE = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Take a case id out of ``-k`` before pytest parses it."""
    keyword = config.getoption("keyword").strip()
    try:
        config.stash[_CASE] = str(Case.parse(keyword))
    except ValueError:
        return
    if not hasattr(config, "workerinput"):
        # Workers get a copy of the options, and still need the id.
        config.option.slimgate_case = config.stash[_CASE]
    config.option.keyword = ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect everything but the tests of that case."""
    case = config.stash.get(_CASE, getattr(config.option, "slimgate_case", ""))
    if not case:
        return
    kept = [item for item in items if _has_case(item, case)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _has_case(item: pytest.Item, case: str) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and case in [str(value) for value in callspec.params.values()]
