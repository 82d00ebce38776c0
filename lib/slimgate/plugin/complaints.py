"""Why a session is red as a whole: kept beside its run, so that a nightly can tell it from red verdicts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slimgate.plugin.timing import is_under_xdist

_COMPLAINTS = pytest.StashKey[list[str]]()


def complain(config: pytest.Config, *complaints: str) -> None:
    """Note why the session is red though none of its tests says so."""
    config.stash.setdefault(_COMPLAINTS, []).extend(complaints)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Write what was complained about beside the run that this session made, after everybody had their say."""
    yield
    from slimgate.plugin.study import RUN_DIRECTORY  # which imports those who complain

    config = session.config
    directory = config.stash.get(RUN_DIRECTORY, None)
    if directory is None or is_under_xdist(config) or config.getoption("--slimgate-run"):
        return
    from slimgate.gate.session import write_complaints

    complaints: list[str] = config.stash.setdefault(_COMPLAINTS, [])
    write_complaints(directory, complaints)
