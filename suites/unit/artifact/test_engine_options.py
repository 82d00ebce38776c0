"""Options of an engine's build: what each kind of TensorRT has, and timings in a file."""

import hashlib
from types import SimpleNamespace

import pytest
from slimgate.artifact import EngineOptions, build_engine
from slimgate.artifact.engine_options import apply_options, check_options
from slimgate.artifact.timing_cache import attach_timing_cache, keep_timing_cache, read_timing_cache
from slimgate.artifact.trt import why_not_installed
from slimgate.errors import InputError, UsageError

SHA256 = hashlib.sha256(b"timings").hexdigest()


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "timings.cache"
    path.write_bytes(b"timings")
    return path


class Config:
    """What the installed builder of TensorRT-RTX refuses or ignores: a builder configuration of TensorRT proper."""

    def __init__(self, takes=True):
        self.flags, self.takes, self.content = [], takes, None

    def create_timing_cache(self, content):
        return SimpleNamespace(serialize=lambda: content or b"new timings") if self.takes else None

    def set_timing_cache(self, cache, ignore_mismatch):
        self.content = cache
        return not ignore_mismatch

    def get_timing_cache(self):
        return self.content

    def set_flag(self, flag):
        self.flags.append(flag)

    def set_memory_pool_limit(self, pool, size):
        self.pool = (pool, size)


TRT = SimpleNamespace(
    __version__="10.0.1",
    BuilderFlag=SimpleNamespace(VERSION_COMPATIBLE="version", ERROR_ON_TIMING_CACHE_MISS="strict timings"),
    HardwareCompatibilityLevel=SimpleNamespace(NONE=0, AMPERE_PLUS=1),
    MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
)


@pytest.mark.parametrize(
    ("options", "name", "reason"),
    [
        (EngineOptions(optimization_level=5), "optimization level", "compiles for the GPU when it runs"),
        (EngineOptions(version_compatible=True), "version compatible", "exactly the version that built them"),
        (
            EngineOptions(hardware_compatibility="ampere+"),
            "hardware compatibility",
            "name the compute capabilities",
        ),
        (EngineOptions(timing_cache="t"), "timing cache", "it times nothing when it builds"),
    ],
)
@pytest.mark.skipif(why_not_installed("tensorrt-rtx") is not None, reason="tensorrt-rtx is not installed")
def test_what_tensorrt_rtx_does_not_have(artifacts, tmp_path, options, name, reason):
    with pytest.raises(
        UsageError, match=f"engine option '{name}': tensorrt-rtx does not have it: .*{reason}"
    ):
        build_engine(artifacts.fp32, tmp_path / "m.engine", kind="tensorrt-rtx", options=options)
    check_options("tensorrt", options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (EngineOptions(timing_cache_sha256=SHA256), "timing cache sha256: there is no timing cache to pin"),
        (EngineOptions(optimization_level=6), "engine option 'optimization level': '6'"),
        (EngineOptions(hardware_compatibility="hopper"), "engine option 'hardware compatibility': 'hopper'"),
        (EngineOptions(workspace_bytes=0), "engine option 'workspace': 0 bytes"),
    ],
)
def test_values_that_none_has(options, text):
    with pytest.raises(UsageError, match=text):
        check_options("tensorrt", options)


def test_only_what_differs_is_recorded(cache):
    assert EngineOptions().chosen() == {}
    options = EngineOptions(workspace_bytes=1, version_compatible=True, timing_cache=cache)
    assert options.chosen() == {"workspace_bytes": 1, "version_compatible": True}


def test_options_reach_the_builder():
    config = Config()
    options = EngineOptions(
        workspace_bytes=5, optimization_level=1, version_compatible=True, hardware_compatibility="ampere+"
    )
    apply_options(TRT, config, options)
    assert config.pool == ("workspace", 5)
    assert config.builder_optimization_level == 1
    assert config.flags == ["version"]
    assert config.hardware_compatibility_level == 1


def test_a_level_that_this_tensorrt_lacks():
    with pytest.raises(UsageError, match=r"this TensorRT, 10\.0\.1, has no 'same-compute-capability'"):
        apply_options(TRT, Config(), EngineOptions(hardware_compatibility="same-compute-capability"))


def test_timings_are_written_once_and_hashed(tmp_path):
    options = EngineOptions(timing_cache=tmp_path / "new.cache")
    config = Config()
    content = read_timing_cache(options)
    assert content == b""
    attach_timing_cache(TRT, config, options, content)
    kept = keep_timing_cache(config, options)
    assert (tmp_path / "new.cache").read_bytes() == b"new timings"
    assert kept == {"timing_cache": {"sha256": hashlib.sha256(b"new timings").hexdigest(), "pinned": False}}
    assert config.flags == []


def test_pinned_timings_are_strict_and_stay_as_they_are(cache):
    options = EngineOptions(timing_cache=cache, timing_cache_sha256=SHA256)
    config = Config()
    attach_timing_cache(TRT, config, options, read_timing_cache(options))
    assert config.flags == ["strict timings"]
    assert keep_timing_cache(config, options) == {"timing_cache": {"sha256": SHA256, "pinned": True}}
    assert cache.read_bytes() == b"timings"


def test_other_timings_than_the_pinned_ones(cache):
    cache.write_bytes(b"other")
    options = EngineOptions(timing_cache=cache, timing_cache_sha256=SHA256)
    with pytest.raises(InputError, match=f"expected: the pinned one, sha256 {SHA256[:12]}"):
        read_timing_cache(options)


def test_pinned_timings_that_are_not_there(tmp_path):
    options = EngineOptions(timing_cache=tmp_path / "gone.cache", timing_cache_sha256=SHA256)
    with pytest.raises(InputError, match=r"gone\.cache: No such file"):
        read_timing_cache(options)


def test_timings_of_another_gpu(cache):
    with pytest.raises(InputError, match=r"timings\.cache: TensorRT 10\.0\.1 does not take it"):
        attach_timing_cache(TRT, Config(takes=False), EngineOptions(timing_cache=cache), b"timings")


def test_no_timings_at_all():
    config = Config()
    attach_timing_cache(TRT, config, EngineOptions(), b"")
    assert keep_timing_cache(config, EngineOptions()) == {}
    assert config.content is None
