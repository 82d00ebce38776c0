"""How far a training is, on the terminal: a counter that rewrites its line, and a line per epoch."""

from __future__ import annotations

import sys
from collections.abc import Mapping


def show_drawing(done: int, total: int) -> None:
    """Show how many pictures of the built-in set are drawn."""
    if done == total or done % 50 == 0:
        sys.stderr.write(f"\rdrawing pictures {done}/{total}" + ("\n" if done == total else ""))
        sys.stderr.flush()


def show_step(name: str, epoch: int, done: int, total: int) -> None:
    """Show how far an epoch is."""
    if done == total or done % 10 == 0:
        sys.stderr.write(f"\r{name} epoch {epoch}: {done}/{total}" + ("\n" if done == total else ""))
        sys.stderr.flush()


def show_epoch(name: str, row: Mapping[str, float]) -> None:
    """Print an epoch's row of the curve."""
    losses = "  ".join(
        f"{key.removesuffix('_loss')} {value:.3f}"
        for key, value in row.items()
        if key.endswith("_loss") and not key.startswith("val_")
    )
    sparsity = row.get("gamma_share_under_0.01")
    sys.stdout.write(
        f"{name} epoch {row['epoch']:.0f}: mAP50 {row['map50']:.4f}  mAP50-95 {row['map50_95']:.4f}  "
        f"F1 {row['f1']:.4f} at {row['f1_threshold']:.2f}  {losses}"
        + (f"  scales under 0.01: {sparsity:.1%}" if sparsity is not None else "")
        + f"  {row['seconds']:.0f} s\n"
    )
    sys.stdout.flush()
