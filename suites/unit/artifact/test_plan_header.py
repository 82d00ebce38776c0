"""The first bytes of an engine: kind and version, without TensorRT."""

from pathlib import Path

import pytest
from slimgate.artifact import artifact_from_file, build_engine
from slimgate.artifact.plan_header import read_plan_header
from slimgate.artifact.trt import load_trt, why_not_installed
from slimgate.errors import InputError

PATH = Path("model.engine")


def plan(tag, version, size=200):
    """Return the start of a plan as TensorRT lays it out: tag, serialisation version, sizes, library version."""
    return (tag + bytes(20) + bytes(version)).ljust(size, b"\x01")


@pytest.mark.parametrize(
    ("content", "kind", "version"),
    [
        (plan(b"ftrt", (10, 9, 0, 34)), "tensorrt", "10.9.0.34"),
        (plan(b"ftrt", (11, 0, 0, 1)), "tensorrt", "11.0.0.1"),
        (plan(b"vtrt", (10, 3, 0, 26)), "tensorrt", "10.3.0.26"),
        (plan(b"vtrt", (1, 2, 0, 54)), "tensorrt-rtx", "1.2.0.54"),
    ],
)
def test_kind_and_version(content, kind, version):
    assert read_plan_header(PATH, content) == (kind, version)


@pytest.mark.skipif(why_not_installed("tensorrt-rtx") is not None, reason="tensorrt-rtx is not installed")
def test_a_real_engine_names_the_version_that_built_it(artifacts, tmp_path):
    built = build_engine(artifacts.fp32, tmp_path / "m.engine", kind="tensorrt-rtx")
    header = read_plan_header(built.path, built.path.read_bytes()[:28])
    assert header == ("tensorrt-rtx", str(load_trt("tensorrt-rtx").__version__))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"PK\x03\x04 and more", r"starts with b'PK\x03\x04'"),
        (plan(b"ptrt", (8, 4, 1, 5)), "a timing cache, or an engine of TensorRT 8.4 or older"),
        (plan(b"vtrt", (1, 7, 1, 116))[:20], "only 20 bytes"),
    ],
)
def test_what_is_no_engine(tmp_path, content, found):
    path = tmp_path / "model.engine"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        artifact_from_file(path)
    assert str(caught.value) == (
        f"{path}: {found}\n  expected: a serialised TensorRT engine\n"
        "  what to do: build it with 'slimgate export --format engine'"
    )
