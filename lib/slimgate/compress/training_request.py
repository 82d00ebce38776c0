"""What was asked of a training: ``run.json`` in its folder, and the stages that came before it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.compress.training_data import TrainingData
from slimgate.errors import InputError, UsageError, name_offenders
from slimgate.flow import Detector, Json

if TYPE_CHECKING:
    from slimgate.compress.train import Stage, TrainSettings

FORMAT = "slimgate-training/1"
RUN_FILE = "run.json"


def asked_for(
    detector: Detector, data: TrainingData, settings: TrainSettings, stage: Stage
) -> dict[str, Json]:
    """Return everything that decides how a run goes, as JSON values."""
    asked = {
        "operation": stage.operation,
        "operation_settings": None if stage.settings is None else dict(stage.settings),
        "settings": dataclasses.asdict(settings),
        "image_size": detector.image_size,
        "class_names": list(detector.class_names),
        "data": dict(data.facts),
        "start": {
            "init": detector.source,
            "init_weights_sha256": detector.weights_sha256,
            **(stage.notes or {}),
        },
    }
    plain: dict[str, Json] = json.loads(json.dumps(asked))
    return plain


def refuse_another(folder: Path, found: Mapping[str, Json], asked: Mapping[str, Json]) -> None:
    """Refuse to go on with a run that was started for something else.

    Raises:
        UsageError: which settings, data or weights differ.
    """
    differing = []
    for key, value in asked.items():
        there = found.get(key)
        if there == value:
            continue
        if isinstance(there, dict) and isinstance(value, dict):
            differing += [
                f"{key} {name}: {there.get(name)!r}, not {value.get(name)!r}"
                for name in dict.fromkeys([*there, *value])
                if there.get(name) != value.get(name)
            ]
        else:
            differing.append(f"{key}: {there!r}, not {value!r}")
    if differing:
        raise UsageError(
            str(folder),
            found=f"a run of another training ({name_offenders(differing)})",
            expected="the run that these settings, data and weights started",
            action="give the settings of that run, or name another folder",
        )


def read_run(folder: Path) -> dict[str, Json]:
    """Return what was asked for in a run's folder.

    Raises:
        UsageError: there is no run.
        InputError: it was written by another version.
    """
    path = folder / RUN_FILE
    if not path.exists():
        raise UsageError(
            str(folder),
            found="no run to resume",
            expected="the folder of a run that was started",
            action="start without --resume",
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(path, error) from error
    if not isinstance(found, dict):
        raise damaged(path, f"a {type(found).__name__}")
    if found.get("format") != FORMAT:
        raise InputError(
            str(path),
            found=f"format {found.get('format')!r}",
            expected=f"'{FORMAT}'",
            action="resume it with the slimgate version that started it, or start again in another folder",
        )
    return found


def earlier_stages(training: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Return the training records that led to a detector, oldest first, each without those before it."""
    if not training:
        return []
    own = {key: value for key, value in training.items() if key not in ("earlier", "init_training")}
    # Records of the first release nest: each holds the one before it.
    before = [*earlier_stages(training.get("init_training", {})), *training.get("earlier", [])]
    return [*before, own]


def damaged(path: Path, why: object) -> InputError:
    """Return the error for a file of a run that cannot be read."""
    return InputError(
        str(path),
        found=f"damaged ({str(why).splitlines()[0] if str(why) else type(why).__name__})",
        expected="the file that the training wrote after its last whole epoch",
        action="start again in another folder, from one of the checkpoints beside it (best, last)",
    )
