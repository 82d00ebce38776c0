"""Whose marks slimgate acts on: those of tests that use its study, and of projects that ask for more."""

from __future__ import annotations

import pytest

INI = "slimgate_markers"
MARKERS = ("gpu", "slow", "timing")
"""Marks that other projects use for purposes of their own."""

_FIXTURES = {"gate_study", "gate_case", "study_run"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini key that widens what slimgate acts on."""
    parser.addini(
        INI,
        type="args",
        default=[],
        help="marks among gpu, slow, timing that slimgate acts on in every test of this project; without it "
        "only in tests that use slimgate's fixtures",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse marks that slimgate does not have."""
    unknown = [name for name in config.getini(INI) if name not in MARKERS]
    if unknown:
        raise pytest.UsageError(
            f"{INI}: unknown mark '{unknown[0]}'\n  expected: some of {', '.join(MARKERS)}\n"
            f"  what to do: correct {INI} in the project's pytest settings"
        )


def is_meant(item: pytest.Item, marker: str) -> bool:
    """Return whether a test bears a mark, and bears it in slimgate's sense."""
    if item.get_closest_marker(marker) is None:
        return False
    return uses_study(item) or marker in item.config.getini(INI)


def uses_study(item: pytest.Item) -> bool:
    """Return whether a test depends on the study or its run."""
    return not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def is_of_gate(item: pytest.Item) -> bool:
    """Return whether a test asserts a verdict of the study."""
    return item.get_closest_marker("gate") is not None and uses_study(item)
