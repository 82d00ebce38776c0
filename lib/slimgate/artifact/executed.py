"""What a runtime says that it executes, held against the graph: the same for every runtime that tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from slimgate.errors import InputError, name_offenders
from slimgate.flow import Json

UNKNOWN = "unknown"
"""The share of convolutions whose layer is not found, or does not say what it runs in."""

LARGEST_DIFFERENCE = 0.01
"""Of the MACs, how much a runtime may run in another precision than expected."""


def executed_shares(
    executed: Mapping[str, str], convolutions: Mapping[str, Mapping[str, Json]]
) -> dict[str, float]:
    """Return the share of convolution MACs per executed precision, adding up to 1.

    Args:
        executed: precision by node name, ``UNKNOWN`` where nothing tells it.
        convolutions: the graph's convolutions by node name, each with its ``macs``.
    """
    work: Counter[str] = Counter()
    for name, entry in convolutions.items():
        work[executed[name]] += int(entry["macs"])
    total = sum(work.values())
    return {name: work[name] / total for name in sorted(work)} if total else {}


def check_executed_shares(
    subject: str,
    executed: Mapping[str, str],
    convolutions: Mapping[str, Mapping[str, Json]],
    *,
    expected: str = "what the graph says",
    action: str,
) -> dict[str, float]:
    """Return the shares that run, once they are found to be the expected ones.

    Args:
        subject: file and runtime, for the message.
        executed: precision by node name.
        convolutions: by node name, each with ``macs`` and the ``precision`` that is expected to run.
        expected: in words, for the message.
        action: what to do, for the message.

    Raises:
        InputError: more than 1 % of the MACs run in another precision; the convolutions are named.
    """
    wrong = [name for name, entry in convolutions.items() if executed[name] != entry["precision"]]
    total = sum(int(entry["macs"]) for entry in convolutions.values())
    share = sum(int(convolutions[name]["macs"]) for name in wrong) / total if total else 0.0
    if share > LARGEST_DIFFERENCE:
        shown = [f"{name} ({convolutions[name]['precision']} runs in {executed[name]})" for name in wrong]
        raise InputError(
            subject,
            found=f"{share:.1%} of the convolution MACs run in another precision: {name_offenders(shown)}",
            expected=f"{expected}, within {LARGEST_DIFFERENCE:.0%}",
            action=action,
        )
    return executed_shares(executed, convolutions)
