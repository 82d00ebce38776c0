"""What ``slimgate accept`` prints: floors as TOML, each under the place that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from slimgate.flow import Case
from slimgate.gate.floors import ANY_DEVICE, Floor, Floors, floors_file_name, runtime_major
from slimgate.gate.kinds import is_timed
from slimgate.gate.propose import propose_floor, propose_floors, propose_header
from slimgate.gate.render import render_key, render_metric
from slimgate.gate.tomlfile import last_line_of, split_lines
from slimgate.gate.weigh import Scale, Way, Weighing

_TITLES = {
    Way.LOOSER: "LOOSER floors",
    Way.TIGHTER: "tighter floors",
    Way.VACUOUS: "vacuous floors: a detector that is broken on purpose holds them too",
    Way.NEW: "new floors",
}


def list_proposals(weighed: Sequence[Weighing], scale: Scale, golden: Path, study: str) -> list[str]:
    """Return the floors to paste, looser, tighter and new ones apart, one text per file and way.

    A floor that replaces another is told with the numbers of its lines in the file as it is now, and takes as many:
    whatever is pasted, and in whatever order, leaves the other numbers as they are. Only new floors add lines; they
    come last, and the last ones in the file first.
    """
    texts = []
    for way, title in _TITLES.items():
        of_way = [one for one in weighed if one.way is way]
        for device in sorted({_device_of(one) for one in of_way}):
            path = golden / "floors" / floors_file_name(study, device)
            here = [one for one in of_way if _device_of(one) == device]
            why = f": {scale.reason}" if way is Way.LOOSER and scale.reason else ""
            head = f"# ---- {golden.name}/floors/{path.name}: {title}{why}"
            lines = split_lines(path.read_text(encoding="utf-8")) if path.is_file() else ()
            parts = _add(here, scale, lines, device, study) if way is Way.NEW else _replace(here, lines)
            texts.append("\n".join([head, *parts]))
    return texts


def _device_of(weighing: Weighing) -> str:
    return weighing.measurement.device if is_timed(weighing.measurement.metric) else ANY_DEVICE


def _replace(weighed: Sequence[Weighing], lines: tuple[str, ...]) -> Iterator[str]:
    placed = [(_lines_of(one.floors[0], lines), one) for one in weighed]
    for (first, last), one in sorted(placed, key=lambda pair: pair[0], reverse=True):
        numbers = f"line {first}" if first == last else f"lines {first}-{last}"
        name = f"{one.measurement.case} {one.measurement.metric}"
        yield f"# {name}, in place of {numbers}: {'; '.join(one.changes)}"
        yield "\n".join(_fill(one, 1 + last - first))


def _fill(weighing: Weighing, count: int) -> list[str]:
    """Return what takes the place of a floor, on as many lines as that has."""
    metric, entries = weighing.measurement.metric, weighing.entries
    if not entries:
        lines = [f"# {metric}: no floor of this kind can hold it"]
    else:
        lines = render_metric(metric, entries).splitlines()
    if len(lines) > count:
        lines = [f"{render_key(metric)} = [{', '.join(entries)}]"]
    return [*lines, *["# a floor stood here that is no more"] * (count - len(lines))]


def _add(
    weighed: Sequence[Weighing], scale: Scale, lines: tuple[str, ...], device: str, study: str
) -> Iterator[str]:
    blocks: dict[Case, list[Weighing]] = {}
    for one in weighed:
        blocks.setdefault(one.measurement.case, []).append(one)
    ends = {case: _end_of(case, of_case, scale.floors, lines, device) for case, of_case in blocks.items()}
    for case in sorted((case for case in blocks if ends[case]), key=lambda case: ends[case], reverse=True):
        yield f"# {case}, after line {ends[case]}, the last of its [case.floor]:"
        for one in blocks[case]:
            yield propose_floor(one.measurement, broken=scale.broken)
    fresh = [one.measurement for case, of_case in blocks.items() if not ends[case] for one in of_case]
    if not fresh:
        return
    if lines:
        yield "# at the end of the file:"
    else:
        yield propose_header(study, None if device == ANY_DEVICE else device)
    yield propose_floors(fresh, today=scale.today, broken=scale.broken)


def _end_of(
    case: Case, weighed: Sequence[Weighing], floors: Floors, lines: tuple[str, ...], device: str
) -> int:
    """Return the last line of the floors that a case has in a file for the runtime that ran; 0: it has none."""
    versions = weighed[0].measurement.provenance.get("versions", {})
    ran = runtime_major(case, versions.items())
    present = [
        floor for floor in floors.floors if (floor.case, floor.runtime, floor.device) == (case, ran, device)
    ]
    return max((_lines_of(floor, lines)[1] for floor in present), default=0)


def _lines_of(floor: Floor, lines: tuple[str, ...]) -> tuple[int, int]:
    """Return the first and the last line of a floor's metric in its file, counted from 1."""
    _, _, number = floor.where.rpartition(":")
    first = int(number) if number.isdigit() else 0
    return first, last_line_of(lines, first) if first else 0
