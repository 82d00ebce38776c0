"""Whether an engine fits version and GPU, before it is loaded."""

import dataclasses

import pytest
from slimgate.artifact import build_engine
from slimgate.artifact.plan_header import PlanHeader
from slimgate.artifact.trt import load_trt, trt_log, why_not_installed
from slimgate.errors import InputError
from slimgate.runtime.engine_fit import check_engine_fits, engine_complaint


def _engine(artifacts, capability="8.6", **options):
    facts = {"kind": "tensorrt", "compute_capability": capability, "options": options}
    return dataclasses.replace(artifacts.fp32, format="engine", facts=facts)


@pytest.mark.parametrize(
    ("built", "installed", "options"),
    [
        ("10.9.0.34", "10.9.0.34", {}),
        ("10.9.0.34", "10.9.0", {}),
        ("10.3.0.26", "10.9.0.34", {"version_compatible": True}),
        ("10.3.0.26", "11.0.0.1", {"version_compatible": True}),
    ],
)
def test_versions_that_fit(artifacts, built, installed, options):
    header = PlanHeader("tensorrt", built)
    check_engine_fits(_engine(artifacts, **options), header, installed=installed, device="8.6")


@pytest.mark.parametrize(
    ("built", "installed", "options"),
    [
        ("10.9.0.34", "10.9.0.33", {}),
        ("10.3.0.26", "10.9.0.34", {}),
        ("11.0.0.1", "10.9.0.34", {"version_compatible": True}),
    ],
)
def test_versions_that_do_not(artifacts, built, installed, options):
    with pytest.raises(InputError) as caught:
        check_engine_fits(
            _engine(artifacts, **options), PlanHeader("tensorrt", built), installed=installed, device="8.6"
        )
    assert str(caught.value).endswith(
        f": built by tensorrt {built}; {installed} is installed\n  expected: an engine of tensorrt {installed}\n"
        "  what to do: build it again on this machine with 'slimgate export --format engine'"
    )


HERE = {"installed": "10.9.0.34"}
HEADER = PlanHeader("tensorrt", "10.9.0.34")


@pytest.mark.parametrize(
    ("capability", "device", "options"),
    [
        ("8.6", "8.6", {}),
        ("8.6,8.9", "8.9", {}),
        ("any", "12.0", {}),
        ("8.6", "9.0", {"hardware_compatibility": "ampere+"}),
    ],
)
def test_gpus_that_fit(artifacts, capability, device, options):
    check_engine_fits(_engine(artifacts, capability, **options), HEADER, **HERE, device=device)


@pytest.mark.parametrize(
    ("capability", "device", "shown", "options"),
    [
        ("8.6", "8.9", "8.6", {}),
        ("8.6,8.9", "12.0", "8.6, 8.9", {}),
        ("any", "7.5", "8.0 and newer", {}),
        ("8.6", "8.9", "8.6", {"hardware_compatibility": "same-compute-capability"}),
        ("8.6", "7.5", "8.0 and newer", {"hardware_compatibility": "ampere+"}),
    ],
)
def test_an_engine_for_another_gpu(artifacts, capability, device, shown, options):
    with pytest.raises(InputError) as caught:
        check_engine_fits(_engine(artifacts, capability, **options), HEADER, **HERE, device=device)
    assert f"built for GPUs of compute capability {shown}; this one has {device}\n" in str(caught.value)
    assert f"expected: an engine for compute capability {device}\n" in str(caught.value)


@pytest.mark.skipif(why_not_installed("tensorrt-rtx") is not None, reason="tensorrt-rtx is not installed")
def test_tensorrt_rtx_says_itself_what_is_wrong_with_a_header(artifacts, tmp_path):
    trt = load_trt("tensorrt-rtx")
    engine = build_engine(artifacts.fp32, tmp_path / "m.engine", kind="tensorrt-rtx")
    content = engine.path.read_bytes()
    runtime = trt.Runtime(trt_log("tensorrt-rtx"))
    assert engine_complaint(trt, runtime, bytes(200)) == "malformed engine"
    assert engine_complaint(trt, runtime, content[:20]) == "malformed engine"
    assert engine_complaint(trt, runtime, b"ftrt" + content[4:]) == "malformed engine"
    # Without a GPU a whole header is as far as it gets.
    assert engine_complaint(trt, runtime, content) in ("", "the GPU could not be asked", "cuda error")


def test_tensorrt_proper_has_no_such_check():
    assert engine_complaint(object(), object(), b"") == ""
