"""Every shipped slim detector as an engine in every precision: really built, held against bands that people set.

The built-in study builds those of the unslimmed detector. Building needs no GPU; running does, and is not claimed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.artifact import Profile, build_engine
from slimgate.artifact.trt import load_trt, why_not_installed
from slimgate.flow import Artifact, Case
from slimgate.gate import load_floors
from slimgate.gate.floors import runtime_major

from fixtures.shipped import ShippedFiles

RTX = "tensorrt-rtx"
STUDY = "codes-engines"
GOLDEN = Path(__file__).parents[2] / "golden" / "engines"
ENGINES = [
    (variant, precision)
    for variant in ("slim50", "slim30", "slim18")
    for precision in ("fp32", "fp16", "int8")
]


def case_of(variant: str, precision: str) -> Case:
    return Case(study=STUDY, variant=f"{variant}-{precision}", runtime=f"{RTX}-sm86")


@pytest.mark.skipif(why_not_installed(RTX) is not None, reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize(("variant", "precision"), ENGINES)
def test_an_engine_is_within_its_bands(
    shipped: ShippedFiles, variant: str, precision: str, tmp_path: Path
) -> None:
    source = shipped.of(f"codes-{variant}", precision)
    engine = build_engine(
        source, tmp_path / "m.engine", kind=RTX, compute_capability="8.6", batch=(Profile(1, 1, 32),)
    )
    case = case_of(variant, precision)
    measured = measure(engine)
    floors = {name: load_floors(GOLDEN, STUDY, device="any").for_metric(case, name) for name in measured}
    assert all(floors.values()), f"{case}: no floor for {[name for name in floors if not floors[name]]}"
    for name, value in measured.items():
        for floor in floors[name]:
            assert floor.runtime == runtime_major(case, [(RTX, str(load_trt(RTX).__version__))])
            low, high = floor.min, floor.max
            assert low is None or value >= low, f"{case} {name}: {value:g} is below {low:g} ({floor.where})"
            assert high is None or value <= high, (
                f"{case} {name}: {value:g} is above {high:g} ({floor.where})"
            )


def test_every_band_is_of_an_engine_that_is_built() -> None:
    floors = load_floors(GOLDEN, STUDY, device="any").floors
    assert {floor.case for floor in floors} == {case_of(*engine) for engine in ENGINES}


def measure(engine: Artifact) -> dict[str, float]:
    return {
        "size_bytes": engine.size_bytes,
        "weight_memory_bytes": engine.facts["weight_memory_bytes"],
        "int8_share": engine.shares.get("int8", 0.0),
        "fp16_share": engine.shares.get("fp16", 0.0),
    }
