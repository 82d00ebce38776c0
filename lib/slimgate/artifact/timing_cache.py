"""TensorRT's kernel timings in a file, so that two builds choose the same kernels."""

from __future__ import annotations

import hashlib
from typing import Any

from slimgate.artifact.engine_options import EngineOptions
from slimgate.artifact.graph import read_bytes
from slimgate.artifact.write import replace_file
from slimgate.errors import InputError
from slimgate.flow import Json


def read_timing_cache(options: EngineOptions) -> bytes:
    """Return the content of the timing cache, or nothing when there is no file yet and none is pinned.

    Raises:
        InputError: a pinned file is missing, or is not the one that is pinned.
    """
    path = options.timing_cache
    if path is None or not (path.exists() or options.timing_cache_sha256):
        return b""
    content = read_bytes(path, kind="timing cache")
    found = hashlib.sha256(content).hexdigest()
    if options.timing_cache_sha256 and found != options.timing_cache_sha256:
        raise InputError(
            str(path),
            found=f"a timing cache with sha256 {found[:12]}",
            expected=f"the pinned one, sha256 {options.timing_cache_sha256[:12]}",
            action="use the file that was pinned, or pin this one",
        )
    return content


def attach_timing_cache(trt: Any, config: Any, options: EngineOptions, content: bytes) -> None:
    """Give a builder the timings; with a pinned file a kernel that is not in it ends the build.

    Raises:
        InputError: TensorRT does not take the file: it is damaged, or of another version or GPU.
    """
    if options.timing_cache is None:
        return
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        raise InputError(
            str(options.timing_cache),
            found=f"TensorRT {trt.__version__} does not take it",
            expected="a timing cache of this version of TensorRT and this GPU",
            action="name another file; it is written after the build",
        )
    if options.timing_cache_sha256:
        config.set_flag(trt.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)


def keep_timing_cache(config: Any, options: EngineOptions) -> dict[str, Json]:
    """Write the timings of a finished build, unless the file is pinned; return what the manifest says of them."""
    if options.timing_cache is None:
        return {}
    if options.timing_cache_sha256:
        return {"timing_cache": {"sha256": options.timing_cache_sha256, "pinned": True}}
    content = bytes(config.get_timing_cache().serialize())
    with replace_file(options.timing_cache) as temporary:
        temporary.write_bytes(content)
    return {"timing_cache": {"sha256": hashlib.sha256(content).hexdigest(), "pinned": False}}
