"""The folder of one training: what was asked for, the epochs kept, and the state to resume from.

::

    run.json                          what was asked for: settings, data, start; nothing is resumed under another
    start.safetensors, .json          the detector it started from
    last, best, best-f1 (each pair)   the last epoch, and the best by mAP50-95 and by F1
    state.pt                          plain tensors and numbers: everything the next epoch depends on
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from slimgate.compress.operation import recorded
from slimgate.compress.training_data import TrainingData
from slimgate.compress.training_request import (
    FORMAT,
    RUN_FILE,
    asked_for,
    damaged,
    earlier_stages,
    read_run,
    refuse_another,
)
from slimgate.errors import UsageError
from slimgate.flow import Detector, Json, Step
from slimgate.model import build_module, hash_weights, load_detector, save_checkpoint

if TYPE_CHECKING:
    from slimgate.compress.train import Stage, TrainSettings

START, LAST, BEST, BEST_F1 = (f"{stem}.safetensors" for stem in ("start", "last", "best", "best-f1"))
_STATE_FILE = "state.pt"
POLICIES: Mapping[str, tuple[str, str | None]] = {
    "map": (BEST, "map50_95"),
    "f1": (BEST_F1, "f1"),
    "last": (LAST, None),
}
"""What to keep: by mAP50-95, by F1 at its best confidence, or simply the last epoch; file and column of the curve."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a finished training gives.

    Attributes:
        by_policy: the detector by each of ``POLICIES``.
    """

    by_policy: Mapping[str, Detector]

    @property
    def best(self) -> Detector:
        """The epoch that was best by mAP50-95."""
        return self.by_policy["map"]

    @property
    def best_f1(self) -> Detector:
        """The epoch that was best by F1 at its best confidence."""
        return self.by_policy["f1"]

    @property
    def last(self) -> Detector:
        """The last epoch."""
        return self.by_policy["last"]


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """One training's folder, opened.

    Attributes:
        folder: where it is.
        start: the detector it starts from.
        data: what it is trained on.
        record: what the training record says before the first epoch.
        step: the operation it is, without notes; None when it is not part of the lineage.
    """

    folder: Path
    start: Detector
    data: TrainingData
    record: Mapping[str, Json]
    step: Step | None

    def state(self) -> dict[str, Any] | None:
        """Return the state after the last whole epoch; None before the first."""
        path = self.folder / _STATE_FILE
        if not path.exists():
            return None
        try:
            found = torch.load(path, weights_only=True)
        # A torn or foreign file fails anywhere inside torch's zip and pickle readers.
        except Exception as error:
            raise damaged(path, error) from error
        if not isinstance(found, dict) or not isinstance(found.get("curve"), list):
            raise damaged(path, "no curve in it")
        return found

    def is_finished(self) -> bool:
        """Whether every epoch is done."""
        state = self.state()
        return state is not None and len(state["curve"]) >= self.record["settings"]["epochs"]

    def keep(
        self,
        weights: Mapping[str, torch.Tensor],
        curve: list[dict[str, float]],
        state: Mapping[str, Any],
        *,
        notes: Callable[[nn.Module], Mapping[str, Json]],
    ) -> None:
        """Write the epoch's checkpoints, then the state: killed in between, the epoch is done again."""
        module = build_module(
            self.start.architecture, family=self.start.family, class_count=len(self.start.class_names)
        )
        module.load_state_dict(
            {
                key: value.detach().float() if value.is_floating_point() else value.detach()
                for key, value in weights.items()
            }
        )
        for policy, (file, column) in POLICIES.items():
            if column is None or all(curve[-1][column] >= row[column] for row in curve):
                kept = _kept(policy, curve[-1])
                save_checkpoint(self._detector(module, curve, kept, notes(module)), self.folder / file)
        temporary = self.folder / f".{_STATE_FILE}"
        torch.save(dict(state), temporary)
        temporary.replace(self.folder / _STATE_FILE)

    def trained(self) -> Trained:
        """Return what the finished run gave; each checkpoint's record has the whole curve and every policy."""
        state = self.state()
        assert state is not None, "only a finished run is asked for"
        curve = state["curve"]
        by_policy = {}
        for policy, (file, _) in POLICIES.items():
            detector = load_detector(self.folder / file)
            kept = detector.training["kept"]
            whole = dataclasses.replace(
                detector,
                training=self._training(curve, kept | {"policy": policy}),
                source=file,
            )
            by_policy[policy] = whole
            save_checkpoint(whole, self.folder / file)
        return Trained(by_policy=by_policy)

    def write_data_config(self) -> Path:
        """Write what ultralytics reads: two lists of pictures and the class names; return its path."""
        for split, paths in (("train", self.data.train), ("val", self.data.val)):
            listing = "".join(f"{path.resolve()}\n" for path in paths)
            (self.folder / f"{split}.txt").write_text(listing, encoding="utf-8")
        names = "".join(f"  {k}: {json.dumps(name)}\n" for k, name in enumerate(self.data.class_names))
        config = self.folder / "data.yaml"
        root = json.dumps(str(self.folder.resolve()))
        config.write_text(f"path: {root}\ntrain: train.txt\nval: val.txt\nnames:\n{names}", encoding="utf-8")
        return config

    def _training(self, curve: list[dict[str, float]], kept: Mapping[str, Json]) -> dict[str, Json]:
        best = {
            policy: _kept(policy, max(reversed(curve), key=lambda row: row[column]))
            for policy, (_, column) in POLICIES.items()
            if column is not None
        }
        return {
            **self.record,
            "kept": dict(kept),
            "best": best,
            "epochs_done": len(curve),
            "wall_s": round(sum(row["seconds"] for row in curve), 1),
            "curve": curve,
        }

    def _detector(
        self,
        module: nn.Module,
        curve: list[dict[str, float]],
        kept: Mapping[str, Json],
        notes: Mapping[str, Json],
    ) -> Detector:
        lineage = self.start.lineage
        if self.step is not None:
            lineage = (
                *lineage,
                dataclasses.replace(self.step, notes={**self.step.notes, "kept": kept, **notes}),
            )
        return dataclasses.replace(
            self.start,
            module=module,
            weights_sha256=hash_weights(module),
            source="slimgate train",
            training=self._training(curve, kept),
            lineage=lineage,
        )


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made when missing: one process at a time trains in it.

    Raises:
        UsageError: another process does.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            str(folder),
            found="another process is training in it",
            expected="one process at a time",
            action="name another folder, or wait for that process and give the same command with --resume",
        ) from None
    try:
        yield
    finally:
        lock.release()


def open_run(
    folder: Path,
    detector: Detector,
    data: TrainingData,
    settings: TrainSettings,
    stage: Stage,
    *,
    resume: bool,
) -> TrainingRun:
    """Return the run in a folder; a fresh one is written, one that is there must be the same.

    Raises:
        UsageError: a run is there and ``resume`` is not set, or it is another run.
    """
    asked = asked_for(detector, data, settings, stage)
    path = folder / RUN_FILE
    if resume and path.exists():
        found = read_run(folder)
        refuse_another(folder, found, asked)
        _refuse_another_network(folder, detector)
    elif path.exists():
        raise UsageError(
            str(folder),
            found="a run is already there",
            expected="a new folder",
            action="continue it with --resume, or name another folder",
        )
    else:
        found = {
            "format": FORMAT,
            **asked,
            "source": data.source,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        save_checkpoint(detector, folder / START)
        temporary = folder / f".{RUN_FILE}"
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
        temporary.replace(path)
    earlier = earlier_stages(detector.training)
    record = {
        "operation": found["operation"],
        "settings": found["settings"],
        "image_size": found["image_size"],
        "data": found["data"],
        **found["start"],
        "evaluator": "ultralytics validation; best epochs chosen on val by mAP50-95 and by F1",
        "started": found["started"],
        "earlier": earlier,
    }
    step = None
    if stage.settings is not None:
        step = Step(
            operation=stage.operation, settings=recorded(stage.settings), notes=dict(stage.notes or {})
        )
    return TrainingRun(folder=folder, start=detector, data=data, record=record, step=step)


def _refuse_another_network(folder: Path, detector: Detector) -> None:
    """Refuse to go on with a run of equal tensors in another network, such as one with another activation."""
    asked = json.loads(json.dumps(detector.architecture))
    there = json.loads(json.dumps(load_detector(folder / START).architecture))
    differing = [key for key in dict.fromkeys([*there, *asked]) if there.get(key) != asked.get(key)]
    if differing:
        raise UsageError(
            str(folder),
            found=f"a run of another training (architecture: another {', '.join(differing)})",
            expected="the run that these settings, data and weights started",
            action="give the settings of that run, or name another folder",
        )


def _kept(policy: str, row: Mapping[str, float]) -> dict[str, Json]:
    kept: dict[str, Json] = {"policy": policy, "epoch": int(row["epoch"])}
    column = POLICIES[policy][1]
    if column is not None:
        kept["value"] = row[column]
    if policy == "f1":
        kept["threshold"] = row["f1_threshold"]
    return kept
