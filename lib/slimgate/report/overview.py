"""The headline of a run and its main table: the same for the terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slimgate.flow import Verdict
from slimgate.gate import PAYS, WHOLE_CASE, Judgement, RunFiles
from slimgate.report.differences import find_interval
from slimgate.report.numbers import (
    NONE,
    show_bytes,
    show_change,
    show_count,
    show_flops,
    show_fraction,
    show_half,
    show_interval,
    show_ms,
    show_ratio,
)
from slimgate.report.rows import Row, Standing, baseline_row, judge_speed, sort_worst_first
from slimgate.report.table import Cell, Column, Table, number_cell, text_cell

_STATUS_MEANINGS = (
    ("FAIL", "red", "below a floor"),
    ("INVALID", "red", "cannot be judged, which is no pass"),
    ("INCONCLUSIVE", "red", "the interval straddles its budget"),
    ("WAIVED", "amber", "does not hold its floor; a named person answers for it until a day"),
    ("STALE", "amber", "better than the floor by more than its slack: tighten the floor"),
    ("PASS", "green", "holds its floor"),
    ("not proven", "grey", "not measured here"),
)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What a reader must know first.

    Attributes:
        word: ``PASS``, ``PASS WITH WAIVERS``, ``FAIL`` or ``NOTHING JUDGED``.
        tone: ``green``, ``amber`` (something is waived) or ``red``.
        sentence: what that means.
        counts: status, count, tone and meaning, worst first; statuses that do not occur have count 0.
        caveat: why the run is not the whole story, or nothing.
    """

    word: str
    tone: str
    sentence: str
    counts: Sequence[tuple[str, int, str, str]]
    caveat: str


def summarise_run(files: RunFiles, rows: Sequence[Row]) -> Headline:
    """Return the headline of a run."""
    found = files.judgement.counts()
    counts = [(name, found.get(name, 0), tone, meaning) for name, tone, meaning in _STATUS_MEANINGS]
    return Headline(
        word=_word(files),
        tone=_tone(files),
        sentence=_sentence(files, rows),
        counts=counts,
        caveat=_caveat(files),
    )


def main_table(rows: Sequence[Row]) -> Table:
    """Return the main table, worst case first."""
    ordered = sort_worst_first(rows)
    reference = baseline_row(rows)
    columns = _columns(rows)
    return Table(
        caption="Every case, worst first",
        columns=[column for column, _ in columns],
        rows=[[cell(row, reference) for _, cell in columns] for row in ordered],
        tones=[row.standing.tone for row in ordered],
        marks=[row.standing.symbol for row in ordered],
    )


def deployed_confidence(rows: Sequence[Row]) -> float | None:
    """Return the fixed confidence that detections were counted at, or None."""
    return next((conf for row in rows if (conf := row.number("confusion", "conf")) is not None), None)


def standing_cell(row: Row) -> Cell:
    """Return where a case stands, with the metrics that brought it there."""
    standing = row.standing
    blamed = [verdict.metric for verdict in row.verdicts if _explains(verdict, standing)]
    if standing is Standing.PASS:
        floors = [metric for metric in blamed if not metric.startswith(PAYS)]
        asked = sum(not verdict.metric.startswith(PAYS) for verdict in row.verdicts)
        below = f"{len(floors)} of {asked} floors"
        below += ", pays" if len(floors) < len(blamed) else ""
        gaps = len(row.gaps)
        below += f", {gaps} not proven" if gaps else ""
    elif standing is Standing.NOT_PROVEN:
        held = len(row.verdicts)
        below = f"{held} floor{'s hold' if held > 1 else ' holds'}" if held else "nothing was judged"
    else:
        below = blamed[0] + (f" +{len(blamed) - 1}" if len(blamed) > 1 else "") if blamed else ""
    return Cell(
        text=f"{standing.symbol} {standing.value}", sort=standing.rank, below=below, tone=standing.tone
    )


def latency_cell(row: Row, batch: int = 1) -> Cell:
    """Return the latency ratio with its interval, and what that shows."""
    entry = row.latency(batch)
    if entry is None or "ratio" not in entry:
        return Cell(text=NONE)
    text = f"{show_ratio(entry['ratio'])} ({show_interval(entry.get('interval'))})"
    baseline = str(entry.get("baseline", "")).rpartition("/")[2]
    # A ratio to FP32 on another runtime must not be read as one to its own.
    elsewhere = baseline and baseline.rpartition("@")[2] != row.case.runtime
    speed = judge_speed(row, batch)
    below = f"{speed}, against {baseline}" if elsewhere else speed
    return Cell(text=text, sort=float(entry["ratio"]), below=below)


def _columns(rows: Sequence[Row]) -> list[tuple[Column, Callable[[Row, Row | None], Cell]]]:
    conf = deployed_confidence(rows)
    at = "" if conf is None else f" @{conf:g}"
    return [
        (
            Column(title="Variant", numeric=False),
            lambda row, _: text_cell(row.case.variant, hint=row.about),
        ),
        (Column(title="Runtime", numeric=False), lambda row, _: text_cell(row.case.runtime)),
        (
            Column(
                title="mAP50-95",
                hint="COCO average precision, IoU .50 to .95; below: change from FP32",
            ),
            lambda row, reference: _with_change(row, reference, "map50_95", "accuracy", "coco", "AP"),
        ),
        (
            Column(
                title="mAP50",
                hint="COCO average precision at IoU .50; below: change from FP32",
            ),
            lambda row, reference: _with_change(row, reference, "map50", "accuracy", "coco", "AP50"),
        ),
        (
            Column(title=f"Recall{at}", hint="share of all objects found at the deployed confidence"),
            lambda row, reference: _with_change(row, reference, "recall", "confusion", "all", "recall"),
        ),
        (
            Column(title="Size", hint="the file, as it lies on disk"),
            lambda row, _: number_cell(row.number("artifact", "size_bytes"), show_bytes),
        ),
        (
            Column(
                title="FLOPs", hint="2 × multiply-accumulates per image; zeros are computed like any number"
            ),
            lambda row, _: number_cell(row.number("model", "flops"), show_flops),
        ),
        (
            Column(title="Non-zero", hint="parameters that are not zero"),
            lambda row, _: number_cell(row.number("model", "nonzero_parameters"), show_count),
        ),
        (
            Column(
                title="Latency ratio",
                hint="time per call against FP32 on the same runtime in the same run, batch 1, with its interval",
            ),
            lambda row, _: latency_cell(row),
        ),
        (
            Column(title="NMS ms", hint="raw prediction to detections, median per image"),
            lambda row, _: number_cell(row.number("stages", "nms_s"), show_ms),
        ),
        (Column(title="Verdict", numeric=False), lambda row, _: standing_cell(row)),
    ]


def _with_change(row: Row, reference: Row | None, metric: str, *keys: str) -> Cell:
    value = row.number(*keys)
    base = reference.number(*keys) if reference is not None else None
    if value is None or base is None or reference is None or row.is_baseline:
        return number_cell(value, show_fraction)
    interval = find_interval(row, str(reference.case), metric)
    # The whole interval has its own table; here it would push the verdict off the page.
    known = "" if interval is None or interval[0] == interval[1] else f" {show_half(interval)}"
    return number_cell(value, show_fraction, below=show_change(value - base) + known)


def _explains(verdict: Verdict, standing: Standing) -> bool:
    """Return whether a verdict is one of those that a case stands there for."""
    if standing is Standing.WAIVED:
        return bool(verdict.waived)
    return not verdict.waived and verdict.status.value == standing.value


def _tone(files: RunFiles) -> str:
    if files.is_red:
        return "red"
    return "amber" if files.judgement.waived else "green"


def _word(files: RunFiles) -> str:
    if not files.judgement.verdicts:
        return "NOTHING JUDGED"
    if files.is_red:
        return "FAIL"
    return "PASS WITH WAIVERS" if files.judgement.waived else "PASS"


def _sentence(files: RunFiles, rows: Sequence[Row]) -> str:
    judgement = files.judgement
    if not judgement.verdicts:
        return "No measurement was held against a floor, so nothing is shown to be fit to ship."
    red = judgement.red()
    cases = len({str(verdict.case) for verdict in red})
    if red:
        only_invalid = all(verdict.status.value == "INVALID" for verdict in red)
        what = (
            "could not be judged: a floor, its evidence or a measurement is missing"
            if only_invalid
            else "do not hold what the floors demand, or could not be shown to"
        )
        return f"Do not ship this: {len(red)} measurements in {_of_cases(cases, len(rows))} {what}."
    stale = judgement.counts().get("STALE", 0)
    tighten = f" {stale} beat their floor by more than its slack: tighten those floors." if stale else ""
    if files.is_red:
        tighten = f" Floors are strict, so this fails: {_name_untidy(judgement, stale)}."
    unproven = sum(row.standing is Standing.NOT_PROVEN for row in rows)
    gap = (
        f" {_of_cases(unproven, len(rows))} could not run here: nothing is claimed about them."
        if unproven
        else ""
    )
    untimed = sum(any(gap.metric != WHOLE_CASE for gap in row.gaps) for row in rows)
    if untimed:
        gap += f" {_of_cases(untimed, len(rows))} have times that were held against no floor here."
    waived = len(judgement.waived)
    but = f", but for {waived} that {'is' if waived == 1 else 'are'} waived" if waived else ""
    return f"Every measurement that was judged holds its floor{but}.{tighten}{gap}"


def _name_untidy(judgement: Judgement, stale: int) -> str:
    """Return what strict floors do not forgive in a run of which every measurement holds its floor."""
    beaten = [f"{stale} beat their floor by more than its slack"] if stale else []
    untidy = [str(finding).partition(":")[0] for finding in judgement.findings if finding.strict]
    return "; ".join([*beaten, *untidy])


def _of_cases(count: int, total: int) -> str:
    return f"{count} of {total} cases"


def _caveat(files: RunFiles) -> str:
    if files.run.get("complete", False):
        return ""
    if files.run.get("filter"):
        beside = files.run.get("companions", [])
        compared = f" Measured for comparison only: {', '.join(beside)}." if beside else ""
        return f"A partial run (-k '{files.run['filter']}'): cases that were not selected are not in it.{compared}"
    return "An incomplete run: times were not measured."
