from __future__ import annotations

from slimgate.detect.kernels import compiled


def same(value: float) -> float:
    return value


def test_compiled_code_is_kept_on_disk_lets_other_threads_run_and_divides_by_zero() -> None:
    kernel = compiled(same)
    assert kernel.stats.cache_path is not None  # type: ignore[attr-defined]
    options = kernel.targetoptions  # type: ignore[attr-defined]
    assert (options["nogil"], options["error_model"]) == (True, "numpy")
