"""What a verdict says to people: what, how far off, which golden file, what changed, how to reproduce."""

from __future__ import annotations

from collections.abc import Sequence

from slimgate.errors import name_offenders
from slimgate.flow import Case, Measurement, Status
from slimgate.gate.advice import advise
from slimgate.gate.floors import Floor
from slimgate.gate.noise import describe_noise, find_fineness
from slimgate.gate.provenance import find_changes
from slimgate.gate.records import Record

_COLUMN = 11
_SHOWN_COMMIT = 10


def compose_message(
    status: Status,
    measurement: Measurement,
    floor: Floor,
    *,
    record: Record | None,
    limits: tuple[float | None, float | None],
    reference: Measurement | None,
    causes: Sequence[str],
    reproduce: str,
) -> str:
    """Return the text of one verdict, one fact a line."""
    unit = measurement.unit
    lines = [f"{measurement.case} {measurement.metric}: {status.value}"]
    lines += [_line("cause", cause) for cause in causes]
    lines.append(_line("measured", _describe_measured(measurement)))
    lines.append(_line("floor", _describe_floor(floor, limits)))
    if floor.relative_to is not None and reference is not None:
        lines.append(_line("reference", f"{floor.relative_to} {show_number(reference.value, unit)}"))
    if not causes:
        lines.append(_line("difference", _describe_difference(measurement.value, limits, unit)))
        noise = describe_noise(measurement, floor, limits=limits, reference=reference)
        fineness = find_fineness(measurement, floor, limits=limits, reference=reference)
        lines += [_line(label, text) for label, text in (("noise", noise), ("note", fineness)) if text]
    if status is Status.STALE:
        lines.append(
            _line("stale", f"better than the floor by more than its slack {floor.slack:g}: tighten it")
        )
    if status is Status.INCONCLUSIVE:
        lines.append(_line("cause", _describe_doubt(measurement, limits)))
    lines.append(_line("golden", f"{floor.where} ({floor.date}: {floor.reason})"))
    if record is not None:
        lines.append(_line("record", _describe_record(record)))
        changes = find_changes(record.measurement.provenance, measurement.provenance)
        lines.append(_line("changed", name_offenders(changes) or "nothing that the record knows of"))
    high = limits[1] is not None and measurement.value > limits[1]
    lines += compose_advice(status, measurement.metric, next(iter(causes), ""), high=high)
    lines.append(_line("reproduce", compose_reproduce(measurement.case, reproduce)))
    return "\n".join(lines)


def compose_advice(status: Status, metric: str, cause: str = "", *, high: bool = False) -> list[str]:
    """Return the line that says what to do about a verdict; none where nothing is red, or the cause says it."""
    advice = advise(status, metric, cause, high=high)
    return [_line(*advice)] if advice else []


def compose_reproduce(case: Case, reproduce: str) -> str:
    """Return the one command that measures and judges a case again."""
    return f"{reproduce} -k '{case}'"


def show_number(value: float, unit: str) -> str:
    """Return a number as people read it in its unit."""
    if unit in ("bytes", "count", "flops") and float(value).is_integer():
        return f"{int(value):,} {unit}".replace(",", " ")
    if unit == "seconds":
        return f"{value * 1e3:.3g} ms"
    return f"{value:.4f}" if unit in ("fraction", "ratio") else f"{value:g} {unit}"


def _line(label: str, text: str) -> str:
    return f"  {label:<{_COLUMN}}{text}"


def _describe_measured(measurement: Measurement) -> str:
    text = show_number(measurement.value, measurement.unit)
    if measurement.interval is not None:
        low, high = (show_number(end, measurement.unit) for end in measurement.interval)
        confidence = f", {measurement.confidence:.0%} confidence" if measurement.confidence else ""
        text += f" (interval {low} to {high}{confidence}"
        if measurement.simultaneous is not None and measurement.comparisons > 1:
            low, high = (show_number(end, measurement.unit) for end in measurement.simultaneous)
            text += f"; {low} to {high} in all {measurement.comparisons} comparisons at once"
        text += ")"
    return text if measurement.device == "any" else f"{text} on {measurement.device}"


def _describe_doubt(measurement: Measurement, limits: tuple[float | None, float | None]) -> str:
    low_end, high_end = measurement.interval or (measurement.value, measurement.value)
    low, high = limits
    if (low is not None and high_end < low) or (high is not None and low_end > high):
        return (
            f"beyond the bound, but not surely enough for a FAIL: of {measurement.comparisons} comparisons "
            "some seem to be by chance"
        )
    return "the interval straddles the bound: it is not shown to hold"


def _describe_floor(floor: Floor, limits: tuple[float | None, float | None]) -> str:
    low, high = limits
    parts = []
    if low is not None:
        parts.append(f"min {show_number(low, floor.unit)}")
    if high is not None:
        parts.append(f"max {show_number(high, floor.unit)}")
    if floor.relative_to is not None:
        named = ("max_drop", "max_rise", "min_fraction", "max_fraction")
        bounds = [f"{name} {getattr(floor, name):g}" for name in named if getattr(floor, name) is not None]
        parts.append(f"{' '.join(bounds)} from {floor.relative_to}")
    if floor.slack is not None:
        parts.append(f"slack {floor.slack:g}")
    return ", ".join(parts)


def _describe_difference(value: float, limits: tuple[float | None, float | None], unit: str) -> str:
    texts = []
    for name, bound in zip(("min", "max"), limits, strict=True):
        if bound is not None:
            sign = "-" if value < bound else "+"
            texts.append(f"{sign}{show_number(abs(value - bound), unit)} to {name}")
    return ", ".join(texts)


def _describe_record(record: Record) -> str:
    accepted = record.accepted
    commit = f"commit {accepted.git_commit[:_SHOWN_COMMIT]}" if accepted.git_commit else "no commit"
    value = show_number(record.measurement.value, record.measurement.unit)
    dirty = ", from a dirty tree" if accepted.dirty else ""
    return f"{record.where} ({value}; run of {accepted.started}, {commit}{dirty})"
