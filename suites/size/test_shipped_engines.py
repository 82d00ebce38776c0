"""Every shipped slim detector as an engine in every precision: really built, held against bands that people set.

What is shipped is what lies in ``fixtures/weights``. Detectors of one architecture differ in nothing that an engine's
size or shares depend on, so one of them is built. The built-in study builds those of the unslimmed detector. Building
needs no GPU; running does, and is not claimed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slimgate.artifact import Profile, build_engine
from slimgate.artifact.trt import load_trt, why_not_installed
from slimgate.flow import Artifact, Case
from slimgate.gate import load_floors
from slimgate.gate.floors import runtime_major
from slimgate.model import checkpoint_paths
from slimgate.study import load_study

from fixtures.shipped import WEIGHTS, ShippedFiles

RTX = "tensorrt-rtx"
STUDY = "codes-engines"
GOLDEN = Path(__file__).parents[2] / "golden" / "engines"
PRECISIONS = ("fp32", "fp16", "int8")


def shipped_architectures() -> list[list[str]]:
    """Return the names of all shipped detectors, those of one architecture together."""
    groups: dict[str, list[str]] = {}
    for weights in sorted(WEIGHTS.glob("*.safetensors")):
        card = json.loads(checkpoint_paths(weights)[1].read_text())
        known = {key: card[key] for key in ("family", "architecture", "image_size", "class_names")}
        groups.setdefault(json.dumps(known, sort_keys=True), []).append(weights.stem.removeprefix("codes-"))
    return sorted(sorted(names) for names in groups.values())


def is_unslimmed(names: list[str]) -> bool:
    return any(name.startswith("yolov5n") for name in names)


# Of several with one architecture, the last by name: slim18, which nas was derived from, and not nas.
BUILT = [names[-1] for names in shipped_architectures() if not is_unslimmed(names)]
ENGINES = [(variant, precision) for variant in BUILT for precision in PRECISIONS]
ALWAYS = ("fast", "slim18")
"""Built in every run; the others in the slow lane, every night."""


def case_of(variant: str, precision: str) -> Case:
    return Case(study=STUDY, variant=f"{variant}-{precision}", runtime=f"{RTX}-sm86")


@pytest.mark.skipif(why_not_installed(RTX) is not None, reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize(
    ("variant", "precision"),
    [
        pytest.param(*engine, marks=() if engine[0] in ALWAYS else pytest.mark.slow, id="-".join(engine))
        for engine in ENGINES
    ],
)
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


def test_every_shipped_detector_is_built_or_shares_its_widths_with_one_that_is() -> None:
    groups = shipped_architectures()
    assert sorted(name for names in groups for name in names) == sorted(
        path.stem.removeprefix("codes-") for path in WEIGHTS.glob("*.safetensors")
    )
    for names in groups:
        cards = [json.loads((WEIGHTS / f"codes-{name}.json").read_text()) for name in names]
        assert all(
            card["architecture"].get("widths") == cards[0]["architecture"].get("widths") for card in cards
        )
        if is_unslimmed(names):
            assert not cards[0]["architecture"].get("widths")
        else:
            assert set(names) & set(BUILT), f"no engine of {names}"
    assert ["nas", "nas-f1", "scratch", "slim18"] in groups


def test_the_built_in_study_builds_the_unslimmed_detector() -> None:
    study = load_study("codes")
    (names,) = [names for names in shipped_architectures() if is_unslimmed(names)]
    assert Path(study.weights).stem.removeprefix("codes-") in names
    built = {
        spec.precision.value
        for spec in study.variants
        if RTX in spec.runtimes and not spec.weights and not spec.operations
    }
    assert built == set(PRECISIONS)


def measure(engine: Artifact) -> dict[str, float]:
    return {
        "size_bytes": engine.size_bytes,
        "weight_memory_bytes": engine.facts["weight_memory_bytes"],
        "int8_share": engine.shares.get("int8", 0.0),
        "fp16_share": engine.shares.get("fp16", 0.0),
    }
