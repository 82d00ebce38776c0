"""``report.html``: one file that needs no network, no fonts and, but for sorting, no script."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from slimgate.gate import WHOLE_CASE, NotProven, RunFiles
from slimgate.report import (
    accuracy,
    confidence,
    differences,
    peers,
    plots,
    provenance,
    quantization,
    sizes,
    slim,
    times,
    training,
)
from slimgate.report.attribution import attribution_table
from slimgate.report.overview import deployed_confidence, main_table, summarise_run
from slimgate.report.panels import list_pictures
from slimgate.report.rows import Row, baseline_row, list_rows, sort_worst_first
from slimgate.report.searched import read_searched
from slimgate.report.sets import list_sets
from slimgate.report.tradeoff import tradeoff_plots

_TEMPLATES = Path(__file__).parent / "templates"
_FEW_MESSAGES = 8
_FEW_CLASSES = 12


def render_html(files: RunFiles) -> str:
    """Return the page of a run; the same run gives the same bytes."""
    rows = list_rows(files)
    template = _environment().get_template("report.html.jinja")
    return template.render(_context(files, rows)) + "\n"


def render_template(name: str, **context: Any) -> str:
    """Return a template of this room, filled in."""
    return _environment().get_template(name).render(**context)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _context(files: RunFiles, rows: list[Row]) -> dict[str, Any]:
    judgement = files.judgement
    loud = [(row, messages) for row in sort_worst_first(rows) if (messages := row.loud)]
    class_tables = accuracy.class_tables(rows)
    return {
        "style": Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "script": Markup((_TEMPLATES / "sort.js.jinja").read_text(encoding="utf-8")),
        "run": files.run,
        "study": files.run["study"],
        "headline": summarise_run(files, rows),
        "main": main_table(rows),
        "baseline": baseline_row(rows),
        "has_sparse": any(row.is_sparse for row in rows),
        "messages": loud,
        "messages_open": sum(len(messages) for _, messages in loud) <= _FEW_MESSAGES,
        "variants": {row.case.variant: row.about for row in rows if row.about},
        "gaps": len(judgement.not_proven),
        "gaps_by_reason": _gather_gaps(judgement.not_proven),
        "findings": judgement.findings,
        "latency_plots": tradeoff_plots(rows),
        "coco": accuracy.coco_table(rows),
        "pruning_plots": plots.pruning_plots(rows),
        "totals": accuracy.totals_table(rows),
        "conf": deployed_confidence(rows),
        "class_tables": class_tables,
        "other_sets": [
            (name, accuracy.totals_table(rows, name), accuracy.class_tables(rows, name))
            for name in list_sets(rows)[1:]
        ],
        "noise": [
            (differences.describe_resolution(rows, name), table)
            for name in list_sets(rows)
            if (table := differences.differences_table(rows, name))
        ],
        "fine_floors": differences.list_fine_floors(files),
        "best_f1": confidence.confidence_table(rows),
        "f1_plots": confidence.variant_plots(rows),
        "curve_plots": confidence.case_plots(rows),
        "slim": slim.slim_table(rows),
        "widths": slim.list_widths(rows),
        "attribution": attribution_table(files.run, rows),
        "searched": read_searched(files.run),
        "epochs": training.epochs_table(files.run, rows),
        "trainings": training.list_trainings(files.run, rows),
        "classes_open": len(files.run["class_names"]) <= _FEW_CLASSES,
        "iou_plots": plots.iou_plots(rows),
        "iou": accuracy.iou_table(rows),
        "by_size": accuracy.size_table(rows),
        "parity": accuracy.parity_table(rows),
        "sizes": sizes.sizes_table(rows),
        "quantization": quantization.quantization_table(rows),
        "sensitivity": quantization.sensitivity_tables(rows),
        "peers": peers.peers_table(rows),
        "latency": times.latency_table(rows),
        "latency_confidence": times.confidence_of(rows),
        "invalid_times": times.invalid_times(rows),
        "stages": times.stages_table(rows),
        "nms": times.nms_table(rows),
        "engines": sizes.engines_table(rows),
        "pictures": list_pictures(files, rows),
        "commands": provenance.list_commands(files),
        "facts": provenance.list_facts(files),
        "artifacts": provenance.artifacts_table(rows),
    }


def _gather_gaps(gaps: Iterable[NotProven]) -> dict[str, dict[str, list[str]]]:
    """Return by reason the metrics of each case that were not proven for it: a machine without floors has a hundred."""
    gathered: dict[str, dict[str, list[str]]] = {}
    for gap in gaps:
        metrics = gathered.setdefault(gap.reason, {}).setdefault(str(gap.case), [])
        if gap.metric != WHOLE_CASE:
            metrics.append(gap.metric)
    return gathered
