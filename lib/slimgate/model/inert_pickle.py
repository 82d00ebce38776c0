"""Reading a PyTorch ``.pt`` without running anything in it.

A pickle names the functions and classes it wants. Here every name must be on an allow-list, and every name
that is not PyTorch's own tensor machinery gets an empty class in its place, so nothing of the checkpoint, of
YOLOv5 or of ultralytics is imported or run; ``torch.load(weights_only=True)`` then refuses everything else.
"""

from __future__ import annotations

import pickletools
import re
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

import torch

from slimgate.errors import InputError, name_offenders

_STAND_IN_NAMES = re.compile(
    r"models\.(yolo|common|experimental)\.\w+"
    r"|ultralytics\.nn\.(tasks|modules(\.\w+)?)\.\w+"
    r"|ultralytics\.(yolo\.)?utils\.IterableSimpleNamespace"
    r"|torch\.nn\.modules\.\w+\.\w+"
    r"|numpy\.(core|_core)\.multiarray\.(scalar|_reconstruct)|numpy\.(dtype|ndarray)|numpy\.dtypes\.\w+DType"
    r"|pathlib\.(Pure)?(Posix|Windows)?Path|pathlib\._local\.(Pure)?(Posix|Windows)?Path"
    r"|datetime\.(datetime|date)|argparse\.Namespace|types\.SimpleNamespace"
)
_TENSOR_NAMES = re.compile(
    r"torch\._utils\._rebuild_(tensor|tensor_v2|parameter)|torch\.nn\.parameter\.Parameter"
    r"|torch\.(Float|Half|Double|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage|torch\.storage\.UntypedStorage"
    r"|torch\.(Size|device|float(16|32|64)|bfloat16|u?int8|int16|int32|int64|bool)"
    r"|collections\.OrderedDict|(__builtin__|builtins)\.(set|bytearray)|_codecs\.encode"
)
_LEGACY_PICKLES = 5
"""Pickles at the start of a file written before PyTorch 1.6: magic, version, system, object, storage keys."""

# torch keeps the names it allows in a list of the process.
_loading = threading.Lock()


class StandIn:
    """What is left of an object whose class is not run: the class's name and the object's attributes."""

    global_name: ClassVar[str] = ""
    arguments: tuple[Any, ...]

    def __new__(cls, *arguments: Any) -> StandIn:
        """Return an object that remembers its arguments and does nothing with them."""
        self = super().__new__(cls)
        self.arguments = arguments
        return self

    def __init__(self, *arguments: Any) -> None: ...

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)

    @property
    def class_name(self) -> str:
        """The class's own name, ``C3`` of ``models.common.C3``."""
        return self.global_name.rpartition(".")[2]


def read_inert(path: Path) -> object:
    """Return what a ``.pt`` holds, with a StandIn for every object of a class.

    Raises:
        InputError: the file is not a PyTorch checkpoint, is cut off, or names anything that is not allowed.
    """
    names = _named_globals(path)
    refused = sorted(name for name in names if not _is_known(name))
    if refused:
        raise InputError(
            path.name,
            found=f"its pickle wants {name_offenders(refused)}; nothing in it was run",
            expected="names of a YOLOv5 or ultralytics detector, torch.nn layers and tensors only",
            action="use a checkpoint from a source you trust, saved by YOLOv5 v4.0-v7.0 or ultralytics",
        )
    stand_ins: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (_stand_in(name), name) for name in sorted(names) if _STAND_IN_NAMES.fullmatch(name)
    ]
    try:
        with _loading, torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle can fail in any way
        reason = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0]
        raise InputError(
            path.name,
            found=f"a damaged checkpoint ({type(error).__name__}: {reason[:120]})",
            expected="a .pt that PyTorch can read without running its pickle",
            action="download or save it again",
        ) from error


def _stand_in(name: str) -> type[StandIn]:
    return type(name.rpartition(".")[2], (StandIn,), {"global_name": name})


def _named_globals(path: Path) -> set[str]:
    """Return every global that the file's pickles name, without unpickling them."""
    start = _first_bytes(path)
    if start.startswith(b"PK\x03\x04"):
        return _zip_globals(path)
    with path.open("rb") as stream:
        found, damage = _scan(stream, _LEGACY_PICKLES)
    if any(not _is_known(name) for name in found):
        return found
    if damage is None:
        # Its pickle holds the source text of classes, which weights_only refuses; YOLOv5 v4.0 needed 1.7.
        raise InputError(
            path.name,
            found="a checkpoint in the format of PyTorch before 1.6",
            expected="the zip format that every YOLOv5 from v4.0 on writes",
            action="load it once with the code that wrote it and save it with a newer PyTorch",
        )
    if start[:1] == b"\x80":
        raise _cut_off(path) from damage
    pointer = start.startswith(b"version https://git-lfs")
    raise InputError(
        path.name,
        found="a Git LFS pointer, not the file it stands for" if pointer else "not a PyTorch checkpoint",
        expected="a .pt written by torch.save, or a slimgate checkpoint (.safetensors and .json)",
        action="run `git lfs pull`" if pointer else "check the path",
    )


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(64)


def _zip_globals(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            pickles = [name for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
            if any(re.fullmatch(r"[^/]+/(constants\.pkl|code/.*)", name) for name in names):
                raise InputError(
                    path.name,
                    found="a TorchScript file, whose architecture cannot be compressed",
                    expected="the checkpoint it was exported from",
                    action="pass the .pt that training wrote",
                )
            if len(pickles) != 1:
                raise InputError(
                    path.name,
                    found="a zip archive without a PyTorch pickle in it",
                    expected="a .pt written by torch.save",
                    action="check the path; unpack the archive if it contains the checkpoint",
                )
            with archive.open(pickles[0]) as stream:
                found, damage = _scan(stream, 1)
    except zipfile.BadZipFile as error:
        raise _cut_off(path) from error
    except RuntimeError as error:
        # What zipfile raises for an encrypted member, and for a compression that it does not know.
        raise InputError(
            path.name,
            found=f"an archive whose pickle cannot be read ({error})",
            expected="a .pt as torch.save writes it: a zip that is neither encrypted nor compressed",
            action="unpack the archive if it contains the checkpoint",
        ) from None
    if damage is not None and all(_is_known(name) for name in found):
        raise _cut_off(path) from damage
    return found


def _is_known(name: str) -> bool:
    return bool(_STAND_IN_NAMES.fullmatch(name) or _TENSOR_NAMES.fullmatch(name))


def _scan(stream: IO[bytes], pickles: int) -> tuple[set[str], Exception | None]:
    """Return the globals named up to the end or the first damage, and the damage."""
    found: set[str] = set()
    try:
        for _ in range(pickles):
            for name in _globals_of(pickletools.genops(stream)):
                found.add(name)
    except Exception as error:  # noqa: BLE001 - pickletools raises whatever the bytes lead it to
        return found, error
    return found, None


def _globals_of(operations: Iterable[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Iterator[str]:
    strings: list[str] = [""]
    memo: dict[int, str] = {}
    memoized = 0
    for operation, argument, _ in operations:
        name = operation.name
        if name in ("GLOBAL", "INST"):
            yield ".".join(str(argument).split(" ", 1))
        elif name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
        elif name == "MEMOIZE":
            memo[memoized] = strings[-1]
            memoized += 1
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument)] = strings[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            strings.append(memo.get(int(argument), ""))
        elif isinstance(argument, str):
            strings.append(argument)


def _cut_off(path: Path) -> InputError:
    return InputError(
        path.name,
        found=f"a damaged or cut-off checkpoint ({path.stat().st_size:,} bytes)",
        expected="a whole .pt written by torch.save",
        action="download or copy it again and compare its size with the source",
    )
