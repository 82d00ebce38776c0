"""Floors: the policy. TOML that people write, keyed exactly; no program writes it."""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.flow import Case, Measurement

if TYPE_CHECKING:
    from slimgate.gate.schema import FloorFile

ANY_DEVICE = "any"


@dataclass(frozen=True, kw_only=True)
class Floor:
    """One bound, or band, for one metric of one case.

    A floor is absolute (``min``, ``max`` or both) or relative to another case of the same run
    (``relative_to`` with ``max_drop``, ``max_rise``, ``min_fraction`` or ``max_fraction``).

    Attributes:
        case: the case it judges.
        metric: the metric it judges.
        unit: of the metric and of every bound that is no fraction of the reference.
        runtime: runtime package and major version, such as ``onnxruntime 1``.
        device: exact device key for times, else ``any``.
        min: lowest value that passes.
        max: highest value that passes.
        relative_to: the reference case.
        max_drop: how far the value may lie below the reference, in ``unit``.
        max_rise: how far the value may lie above the reference, in ``unit``.
        min_fraction: lowest share of the reference's value that passes.
        max_fraction: highest share of the reference's value that passes.
        slack: how much better than the bound a value may be before the floor is STALE; None: never stale.
        reason: why the floor is where it is.
        date: when a person put it there.
        where: file and line.
    """

    case: Case
    metric: str
    unit: str
    runtime: str
    device: str = ANY_DEVICE
    min: float | None = None
    max: float | None = None
    relative_to: Case | None = None
    max_drop: float | None = None
    max_rise: float | None = None
    min_fraction: float | None = None
    max_fraction: float | None = None
    slack: float | None = None
    reason: str
    date: date
    where: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What two floors must not share: case, metric, runtime, device, and what it is relative to."""
        return (self.case, self.metric, self.runtime, self.device, self.relative_to)


@dataclass(frozen=True, kw_only=True)
class Floors:
    """The floors of one study that apply on the devices of one machine.

    Attributes:
        study: the study's id.
        floors: those of any device, and those of this machine's.
        files: the files they came from, relative to the golden folder's parent.
        devices: the devices of this machine that have a latency floors file.
        elsewhere: the times, as case and metric, that have a floor on another device than this machine's.
    """

    study: str
    floors: tuple[Floor, ...] = ()
    files: tuple[str, ...] = ()
    devices: frozenset[str] = frozenset()
    elsewhere: frozenset[tuple[Case, str]] = frozenset()

    def for_metric(self, case: Case, metric: str) -> tuple[Floor, ...]:
        """Return the floors of one metric of one case, for every runtime major and device."""
        return tuple(floor for floor in self.floors if (floor.case, floor.metric) == (case, metric))

    def metrics_of(self, case: Case) -> tuple[str, ...]:
        """Return the metrics that have a floor in one case, in the files' order."""
        return tuple(dict.fromkeys(floor.metric for floor in self.floors if floor.case == case))

    def awaits_floor(self, measurement: Measurement) -> bool:
        """Return whether a time has no floor only because its device has none yet.

        Those are the ratios to another case, and whatever is held on another device. Where a device has floors,
        somebody has chosen which of its times to hold.
        """
        if measurement.device in self.devices:
            return False
        if (measurement.case, measurement.metric) in self.elsewhere:
            return True
        is_baseline = measurement.provenance.get("baseline") == str(measurement.case)
        return measurement.metric.startswith("latency_ratio") and not is_baseline


def load_floors(golden: Path, study: str, *, device: str | Collection[str]) -> Floors:
    """Return the floors of a study: ``floors/<study>.toml`` and ``floors/<study>.<device slug>.toml``.

    Files of other devices are checked too, so that a broken one is found where somebody can mend it.

    Args:
        golden: the ``golden`` folder.
        study: the study's id.
        device: exact device key of this machine, or keys: its CPU and its GPU.

    Raises:
        InputError: a file breaks the schema; names file, line and key.
    """
    every = _read_files(golden, study)
    here = {device} if isinstance(device, str) else set(device)
    applying = [file for file in every if file.device in {ANY_DEVICE, *here}]
    return Floors(
        study=study,
        floors=tuple(floor for file in applying for floor in file.floors),
        files=tuple(file.shown for file in applying),
        devices=frozenset(file.device for file in applying) - {ANY_DEVICE},
        elsewhere=frozenset(
            (floor.case, floor.metric)
            for file in every
            if file.device not in {ANY_DEVICE, *here}
            for floor in file.floors
        ),
    )


def load_every_floor(golden: Path, study: str) -> tuple[Floor, ...]:
    """Return the floors of a study on every device, not only those of this machine.

    Raises:
        InputError: a file breaks the schema; names file, line and key.
    """
    return tuple(floor for file in _read_files(golden, study) for floor in file.floors)


def _read_files(golden: Path, study: str) -> list[FloorFile]:
    from slimgate.gate.schema import read_floor_file, refuse_doubles

    folder = golden / "floors"
    every: list[FloorFile] = []
    paths = [folder / f"{study}.toml", *sorted(folder.glob(f"{glob.escape(study)}.*.toml"))]
    for path in dict.fromkeys(paths):
        if path.is_file():
            read = read_floor_file(path, shown=f"{golden.name}/floors/{path.name}")
            if read.study == study:
                every.append(read)
    refuse_doubles(floor for file in every for floor in file.floors)
    return every


def device_slug(device: str) -> str:
    """Return a device key as part of a file name: ``cpu:AMD EPYC 9R14`` is ``cpu-amd-epyc-9r14``."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def floors_file_name(study: str, device: str) -> str:
    """Return the name of the floors file for a study on a device."""
    return f"{study}.toml" if device == ANY_DEVICE else f"{study}.{device_slug(device)}.toml"


def runtime_major(case: Case, versions: Iterable[tuple[str, str]]) -> str | None:
    """Return the runtime key of a case such as ``onnxruntime 1``, from the versions that ran; None if absent.

    The package is the longest one that the case's runtime name starts with: ``tensorrt-rtx-sm86`` is
    ``tensorrt-rtx``, not ``tensorrt``.
    """
    majors = {
        re.sub(r"[-_.]+", "-", name.lower()).removesuffix("-gpu"): version.split(".")[0]
        for name, version in versions
        if version
    }
    matching = [name for name in majors if case.runtime == name or case.runtime.startswith(f"{name}-")]
    if not matching:
        return None
    package = max(matching, key=len)
    return f"{package} {majors[package]}"
