"""Precision, recall and F1 against confidence: what another deployed confidence would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from slimgate.report.charts import Curve, draw_curves
from slimgate.report.numbers import show_change, show_fraction
from slimgate.report.rows import Row, baseline_row
from slimgate.report.sets import FIRST_SET, list_sets, part_of
from slimgate.report.table import Column, Table, number_cell, text_cell

RATES = (("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"))
_ALL = "all classes"
_MOST_CLASSES = 5
"""More lines than that cannot be told apart; those with the lowest best F1 are kept."""
_MOST_VARIANTS = 12


@dataclass(frozen=True, kw_only=True)
class CasePlots:
    """The plots of one case on one set.

    Attributes:
        title: the case, and the set where it is not the first one.
        plots: precision, recall and F1 against confidence.
        left_out: how many classes have no line.
    """

    title: str
    plots: Sequence[Markup]
    left_out: int


def confidence_table(rows: Sequence[Row]) -> Table | None:
    """Return F1 at the deployed confidence, the best F1 and where it is reached, on every set; or None."""
    known = [row for row in rows if row.record.get("curves")]
    if not known:
        return None
    sets = list_sets(known)
    columns = [Column(title="Case", numeric=False)]
    for name in sets:
        of = "" if name == FIRST_SET else f", {name}"
        columns += [
            Column(title=f"F1{of}", hint="over all classes, at the deployed confidence"),
            Column(
                title=f"Best F1{of}", hint="over all classes; below: more than at the deployed confidence"
            ),
            Column(title=f"at{of}", hint="the lowest confidence at which the best F1 is reached"),
        ]
    lines = []
    for row in known:
        cells = [text_cell(row.name)]
        for name in sets:
            part = part_of(row, name)
            f1 = part.get("confusion", {}).get("all", {}).get("f1")
            best = part.get("curves", {}).get("best_f1", {})
            more = show_change(best["value"] - f1) if best and f1 is not None else ""
            cells += [
                number_cell(f1, show_fraction),
                number_cell(best.get("value"), show_fraction, below=more),
                number_cell(best.get("conf"), lambda value: show_fraction(value, 2)),
            ]
        lines.append(cells)
    return Table(caption="F1 and the best F1", columns=columns, rows=lines)


def variant_plots(rows: Sequence[Row]) -> list[Markup]:
    """Return F1 over all classes against confidence, a line per variant, one plot per set.

    Of the baseline's runtime alone where that is known; zeros-only variants are left out.
    """
    known = _drawn(rows)
    if len(known) < 2:
        return []
    runtimes = ", ".join(dict.fromkeys(row.case.runtime for row in known))
    return [
        draw_curves(
            [
                Curve(name=row.case.variant, points=_points(part_of(row, name)["curves"], "f1"))
                for row in known[:_MOST_VARIANTS]
                if part_of(row, name).get("curves")
            ],
            x_title="confidence",
            y_title=f"F1 of all classes, {name or 'first set'}"
            if len(list_sets(known)) > 1
            else "F1 of all classes",
            x_range=(0.0, 1.0),
            y_range=(0.0, 1.0),
            title=f"F1 of all classes against confidence on {runtimes}; the table has the best of each",
        )
        for name in list_sets(known)
    ]


def case_plots(rows: Sequence[Row]) -> list[CasePlots]:
    """Return precision, recall and F1 against confidence per class, on every set, for what is drawn at all."""
    return [
        _case_plots(row, name, curves)
        for row in _drawn(rows)
        for name in list_sets([row])
        if (curves := part_of(row, name).get("curves"))
    ]


def _drawn(rows: Sequence[Row]) -> list[Row]:
    """Return the cases with curves on the baseline's runtime, where that is known; zeros-only ones are left out."""
    known = [row for row in rows if row.record.get("curves") and not row.is_sparse]
    reference = baseline_row(rows)
    if reference is None or reference not in known:
        return known
    return [row for row in known if row.case.runtime == reference.case.runtime]


def _case_plots(row: Row, name: str, curves: Mapping[str, Any]) -> CasePlots:
    title = row.name if name == FIRST_SET else f"{row.name} on {name}"
    per_class = curves["per_class"]
    worst = sorted(
        per_class, key=lambda label: max((f1 or 0.0 for f1 in per_class[label]["f1"]), default=0.0)
    )
    shown = [label for label in per_class if label in worst[:_MOST_CLASSES]]
    return CasePlots(
        title=title,
        plots=[
            draw_curves(
                [
                    *(Curve(name=label, points=_points(curves, rate, label)) for label in shown),
                    Curve(name=_ALL, points=_points(curves, rate)),
                ],
                x_title="confidence",
                y_title=heading,
                x_range=(0.0, 1.0),
                y_range=(0.0, 1.0),
                title=f"{heading} of {title} against confidence, per class",
            )
            for rate, heading in RATES
        ],
        left_out=len(per_class) - len(shown),
    )


def _points(
    curves: Mapping[str, Any], rate: str, label: str | None = None
) -> list[tuple[float, float | None]]:
    """Return every second point: a line of 350 pixels needs no more, and pages stay small."""
    values = curves["all"][rate] if label is None else curves["per_class"][label][rate]
    return list(zip(curves["conf"], values, strict=True))[::2]
