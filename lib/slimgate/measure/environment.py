"""The machine and the versions a number comes from."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from slimgate.errors import InputError

_PACKAGES = (
    "slimgate",
    "torch",
    "torchvision",
    "ultralytics-opencv-headless",
    "numpy",
    "numba",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "opencv-python-headless",
    "hotcoco",
    "pycocotools",
    "tensorrt",
    "tensorrt-rtx",
    "nvidia-modelopt",
)
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_CPU_FACTS = Path("/proc/cpuinfo")
_SECONDS = 10


_CODE = (":(top)*.py", ":(top)*.toml")
"""What changes numbers wherever it lies in a repository, as git's patterns."""
_MOST_NAMED = 20


def environment(inputs: Sequence[Path] = (), *, folder: Path | None = None) -> dict[str, Any]:
    """Return what a reader of a time must know: device, versions, governor, load, threads, git commit.

    A fact that this machine does not tell is absent. Nothing here names the user, the host or a path, but for files of
    the repository.

    Args:
        inputs: files that the numbers come from; the tree is dirty where git does not know one of them.
        folder: in the repository whose commit is told; the current one.
    """
    facts: dict[str, Any] = {
        "device": device_key(),
        "cpu": cpu_name(),
        "cpus": usable_cpus(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": package_versions(),
        "threads": {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
            if name in os.environ
        },
    }
    gpu = gpu_name()
    if gpu:
        facts["gpu"] = gpu
    if _GOVERNOR.exists():
        facts["governor"] = _GOVERNOR.read_text(encoding="ascii").strip()
    if hasattr(os, "getloadavg"):
        facts["load_average"] = list(os.getloadavg())
    commit = git_commit(folder, inputs=inputs)
    if commit:
        facts["git"] = commit
    return facts


def device_key(kind: str = "cpu") -> str:
    """Return the exact key that floors for times are filed under.

    Args:
        kind: ``cpu`` (model, usable cores) or ``gpu`` (name, driver major version; the CPU's key where
            there is none, which no GPU case is measured under: see ``require_gpu_key``).
    """
    gpu = gpu_name() if kind == "gpu" else None
    return f"gpu:{gpu}" if gpu else f"cpu:{cpu_name()}, {usable_cpus()} cores"


def require_gpu_key(key: str) -> None:
    """Refuse to measure on a GPU that nobody can name: its numbers would be filed under another device.

    Args:
        key: what ``device_key("gpu")`` returned.

    Raises:
        InputError: it is no GPU's.
    """
    if key.startswith("gpu:"):
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    raise InputError(
        "device of a GPU case",
        found="nvidia-smi does not tell which GPU this is"
        + (f" (CUDA_VISIBLE_DEVICES is '{visible}')" if visible is not None else ""),
        expected="one whole GPU that nvidia-smi names",
        action="name one GPU by its UUID in CUDA_VISIBLE_DEVICES ('nvidia-smi -L' lists them), or set "
        "CUDA_DEVICE_ORDER=PCI_BUS_ID where GPUs of several kinds are numbered",
    )


def cpu_name() -> str:
    """Return the CPU's model name, with family and model numbers where the name alone is generic."""
    facts: dict[str, str] = {}
    if _CPU_FACTS.exists():
        for line in _CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    family, model = facts.get("cpu family"), facts.get("model")
    # Virtual machines hide the part number ("AMD EPYC"): two generations would share one key.
    return f"{name} (family {family} model {model})" if family and model else name


def usable_cpus() -> int:
    """Return how many CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_name() -> str | None:
    """Return ``<name> driver <major>`` of the NVIDIA GPU that this process computes on, or None where nobody can tell.

    That is the first of ``CUDA_VISIBLE_DEVICES``, by number or UUID. A slice of a GPU (MIG) has no name here: its times
    are not those of the whole one.
    """
    answer = _answer(("nvidia-smi", "--query-gpu=uuid,driver_version,name", "--format=csv,noheader"))
    rows = [line.split(",", 2) for line in (answer or "").splitlines()]
    gpus = [[part.strip() for part in row] for row in rows if len(row) == 3]
    chosen = _first_visible([uuid for uuid, _, _ in gpus], [name for _, _, name in gpus])
    if chosen is None:
        return None
    _, driver, name = gpus[chosen]
    return f"{name} driver {driver.partition('.')[0]}"


def _first_visible(uuids: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the place of the GPU that CUDA gives to this process first; None where it cannot be told."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if wanted.startswith("GPU-"):
        found = [place for place, uuid in enumerate(uuids) if uuid.startswith(wanted)]
        return found[0] if len(found) == 1 else None
    if not wanted.isdecimal() or int(wanted) >= len(uuids):
        return None
    # CUDA numbers GPUs by their speed unless it is told to go by the bus, as nvidia-smi does.
    same_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len(set(names)) == 1
    return int(wanted) if same_order else None


def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that numbers depend on."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_commit(folder: Path | None = None, *, inputs: Sequence[Path] = ()) -> dict[str, Any] | None:
    """Return ``{"commit", "dirty", "changes"}`` of the repository around a folder (the current one), or None.

    Dirty is a tree with changed files, or with files that no commit holds and that numbers may come from: Python and
    TOML files anywhere in it, and the inputs, those outside the repository too. What git is told to ignore is left
    alone. ``changes`` names up to twenty of them, those outside by their name alone; it is absent in a clean tree, and
    empty where git does not answer.

    Args:
        folder: in the repository.
        inputs: files that the numbers come from.
    """
    where = ("-C", str(folder)) if folder else ()
    commit = _answer(("git", *where, "rev-parse", "HEAD"))
    top = _answer(("git", *where, "rev-parse", "--show-toplevel"))
    if not commit or not top:
        return None
    resolved = [path.resolve() for path in inputs]
    own = [path.relative_to(top) for path in resolved if path.is_relative_to(top)]
    outside = [f"{path.name} (outside the repository)" for path in resolved if not path.is_relative_to(top)]
    patterns = (*_CODE, *(f":(top,literal){path.as_posix()}" for path in own))
    listings = (
        _answer(("git", "-C", top, "diff", "--name-only", "-z", "HEAD")),
        _answer(("git", "-C", top, "ls-files", "-z", "--others", "--exclude-standard", "--", *patterns)),
    )
    named = {name for listing in listings if listing for name in listing.split("\0") if name}
    changes = sorted(named.union(outside))
    dirty = bool(changes) or None in listings
    return {"commit": commit, "dirty": dirty, **({"changes": changes[:_MOST_NAMED]} if dirty else {})}


def _answer(command: Sequence[str]) -> str | None:
    """Return what a program prints, or None where it is not there or fails."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
