"""What the cases of a run claim to gain, and against what."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slimgate.flow import Artifact, Case, Precision, Status
from slimgate.gate import Claim
from slimgate.gate.pays import judge_claim
from slimgate.measure import PairResult, summarise_pairs
from slimgate.study.claims import add_same_network, list_claims
from slimgate.study.comparisons import Comparison, Pairs
from slimgate.study.multiplicity import count_comparisons
from slimgate.study.spec import Study, VariantSpec
from slimgate.study.timing import measure_latency
from slimgate.study.work import CaseWork, find_own_int8, name_same_in_float, name_same_in_half

ORIGINAL = 1000


def _spec(
    name: str, precision: str = "fp32", weights: str = "", operations: tuple[str, ...] = ()
) -> VariantSpec:
    return VariantSpec(
        name=name,
        weights=weights,
        operations=operations,
        precision=Precision(precision),
        runtimes=("onnxruntime", "openvino"),
    )


SPECS = (
    _spec("fp32"),
    _spec("int8", "int8"),
    _spec("fp16", "fp16"),
    _spec("slim", weights="slim.safetensors"),
    _spec("slim-int8", "int8", weights="slim.safetensors"),
    _spec("pruned", operations=("prune:0.5",)),
    _spec("alone-int8", "int8", weights="other.safetensors"),
    _spec("bf16", "bf16"),
)


@pytest.fixture
def study() -> Study:
    plain: dict[str, Any] = dict.fromkeys(
        ("title", "weights", "evaluation", "calibration"), "x"
    ) | dict.fromkeys(("images", "image_size"), None)
    counts = dict.fromkeys(("calibration_images", "threads", "rounds", "rounds_batch32", "pictures"), 1)
    return Study(
        id="s",
        path=Path("s.toml"),
        also=(),
        protocol={},
        search={},
        required_metrics=(),
        variants=SPECS,
        **plain,
        **counts,
    )


def _entry(baseline: str, ratio: float) -> dict[str, Any]:
    return {
        "baseline": f"s/{baseline}@onnxruntime",
        "ratio": ratio,
        "interval": [ratio - 0.02, ratio + 0.02],
        "control": {"ratio": 1.0, "interval": [0.99, 1.01]},
    }


def _work(
    name: str, *, size: int, parameters: int = ORIGINAL, nonzero: int | None = None, **entry: Any
) -> CaseWork:
    spec = next(one for one in SPECS if one.name == name)
    work = CaseWork(
        case=Case(study="s", variant=name, runtime="onnxruntime"), spec=spec, runtime="onnxruntime"
    )
    work.artifact = Artifact(
        path=Path(f"{name}.onnx"),
        format="onnx",
        target="x86",
        precision=spec.precision,
        class_names=("a",),
        image_size=64,
        batch=0,
        sha256="0",
        size_bytes=size,
        build_s=0.0,
    )
    work.record["model"] = {
        "parameters": parameters,
        "nonzero_parameters": parameters if nonzero is None else nonzero,
    }
    if entry:
        work.record["latency"] = {"batch1": entry}
    return work


def _listed(study: Study, works: list[CaseWork], *, timed: bool = True) -> list[Claim]:
    add_same_network(study, works)
    return list_claims(study, works, original_parameters=ORIGINAL, timed=timed)


def _claims(study: Study, works: list[CaseWork], *, timed: bool = True) -> dict[str, tuple[str, str, float]]:
    found = _listed(study, works, timed=timed)
    assert not [one for one in found if one.why_invalid]
    return {f"{one.case.variant} {one.metric}": (one.gain, one.against.variant, one.ratio) for one in found}


def test_each_kind_of_compression_claims_what_it_is_for(study):
    works = [
        _work("fp32", size=100, **_entry("fp32", 1.0)),
        _work("int8", size=30, **_entry("fp32", 0.7)),
        _work("fp16", size=51, **_entry("fp32", 1.0)),
        _work("bf16", size=100, **_entry("fp32", 0.6)),
        _work("slim", size=20, parameters=200, **_entry("fp32", 0.4)),
        _work("slim-int8", size=10, parameters=200, **_entry("fp32", 0.5), same=_entry("slim", 1.25)),
        _work("pruned", size=100, nonzero=500, **_entry("fp32", 1.0)),
    ]
    assert _claims(study, works) == {
        "int8 pays/int8_b1": ("faster", "fp32", 0.7),
        "fp16 pays/fp16": ("smaller", "fp32", 0.51),
        "bf16 pays/bf16_b1": ("faster", "fp32", 0.6),
        "slim pays/slim_b1": ("faster", "fp32", 0.4),
        # Not 0.5 of the original: the slim network has that without INT8.
        "slim-int8 pays/int8_b1": ("faster", "slim", 1.25),
        "pruned pays/sparse_b1": ("faster", "fp32", 1.0),
    }


def test_an_engine_is_weighed_by_its_weights(study):
    works = [_work("fp32", size=11_900), _work("fp16", size=7_300)]
    for work, weights in zip(works, (10_000, 5_000), strict=True):
        work.artifact = dataclasses.replace(work.artifact, facts={"weight_memory_bytes": weights})
    assert _claims(study, works) == {"fp16 pays/fp16": ("smaller", "fp32", 0.5)}


def test_int8_of_a_network_that_broke_in_float_says_that_its_claim_cannot_be_judged(study):
    slim = _work("slim", size=20, parameters=200)
    slim.failed, slim.companion = "slim.onnx: cut off", True
    works = [
        _work("fp32", size=100, **_entry("fp32", 1.0)),
        slim,
        # Faster than the original, which is another question.
        _work("slim-int8", size=10, parameters=200, **_entry("fp32", 0.5)),
    ]
    (claim,) = _listed(study, works)
    assert (claim.case.variant, str(claim.against)) == ("slim-int8", "s/slim@onnxruntime")
    verdict = judge_claim(claim)
    assert (verdict.metric, verdict.status, verdict.measured) == ("pays/int8_b1", Status.INVALID, None)
    assert "cause      s/slim@onnxruntime was not timed: slim.onnx: cut off" in verdict.message
    assert "measured   " not in verdict.message
    del works[1]
    (claim,) = _listed(study, works)
    assert claim.why_invalid == "s/slim@onnxruntime was not timed: it is not in this run"


def test_every_claim_whose_other_side_broke_says_so(study: Study) -> None:
    fp32, fp16, int8, slim = (_work(name, size=9) for name in ("fp32", "fp16", "int8", "slim"))
    fp32.failed, fp32.artifact, fp32.companion = "no space left", None, True
    slim.record["model"]["parameters"] = 200
    assert {one.metric: one.why_invalid for one in _listed(study, [fp32, fp16, int8, slim])} == {
        "pays/fp16": "s/fp32@onnxruntime was not built: no space left",
        "pays/int8_b1": "s/fp32@onnxruntime was not timed: no space left",
        "pays/slim_b1": "s/fp32@onnxruntime was not timed: no space left",
    }
    assert [one.metric for one in _listed(study, [fp32, fp16, int8, slim], timed=False)] == ["pays/fp16"]


def test_int8_of_a_network_that_the_study_has_only_in_int8_is_held_against_the_original(study):
    works = [
        _work("fp32", size=100, **_entry("fp32", 1.0)),
        _work("alone-int8", size=10, **_entry("fp32", 0.5)),
    ]
    assert _claims(study, works) == {"alone-int8 pays/int8_b1": ("faster", "fp32", 0.5)}


def test_a_variant_that_is_there_for_another_purpose_claims_nothing(study):
    works = [
        _work("fp32", size=100, **_entry("fp32", 1.0)),
        _work("pruned", size=100, nonzero=500, **_entry("fp32", 1.0)),
    ]
    works[1].spec = dataclasses.replace(works[1].spec, no_gain="what zeros cost")
    assert _claims(study, works) == {}


def test_what_failed_or_was_not_timed_claims_nothing(study):
    works = [_work("fp32", size=100), _work("int8", size=30), _work("pruned", size=100, nonzero=500)]
    works[2].record["latency"] = {"batch1": _entry("fp32", 1.0)}
    works[2].failed = "broke"
    assert _claims(study, works, timed=False) == {}
    works[1].leave_out("built, not run: no GPU")
    assert _claims(study, works) == {}


def test_the_same_network_has_the_same_weights_operations_and_runtime(study):
    names = {
        one.name: name_same_in_float(study, CaseWork(case=None, spec=one, runtime="openvino"))  # type: ignore[arg-type]
        for one in SPECS
    }
    assert {name: str(case) for name, case in names.items() if case} == {
        "int8": "s/fp32@openvino",
        "fp16": "s/fp32@openvino",
        "bf16": "s/fp32@openvino",
        "slim-int8": "s/slim@openvino",
    }


def test_bfloat16_replaces_float32_of_the_runtime_without_it(study):
    work = CaseWork(case=None, spec=_spec("bf16", "bf16"), runtime="openvino-bf16")  # type: ignore[arg-type]
    assert str(name_same_in_float(study, work)) == "s/fp32@openvino"


def test_another_tools_int8_is_held_against_ours_of_the_same_network_and_runtime():
    ours, slim, fp32 = (_work(name, size=1) for name in ("int8", "slim-int8", "fp32"))
    peer = _work("int8", size=1)
    peer.spec = dataclasses.replace(peer.spec, name="int8-nncf", int8={"peer": "nncf"})
    works = [fp32, slim, peer, ours]
    assert find_own_int8(works, peer) is ours
    assert find_own_int8(works, ours) is None
    ours.runtime = "openvino"
    assert find_own_int8(works, peer) is None


@pytest.mark.parametrize("key", ["why_invalid", "why_no_claim"])
def test_a_claim_says_that_the_machine_could_not_tell(study, key):
    entry = {**_entry("fp32", 0.7), key: "the A/A control is off"}
    add_same_network(study, works := [_work("fp32", size=100), _work("int8", size=30, **entry)])
    (claim,) = list_claims(study, works, original_parameters=ORIGINAL, timed=True)
    assert claim.why_invalid == "the A/A control is off"


ON_A_GPU = ("onnxruntime-cuda", "tensorrt", "onnxruntime", "openvino")


def _on_a_gpu(name: str, precision: str, batches: tuple[int, ...] = (1, 32), **more: Any) -> VariantSpec:
    return dataclasses.replace(_spec(name, precision), runtimes=ON_A_GPU, batches=batches, **more)


def _half_of(study: Study, spec: VariantSpec, runtime: str, batch: int = 1) -> str:
    found = name_same_in_half(study, CaseWork(case=None, spec=spec, runtime=runtime), batch)  # type: ignore[arg-type]
    return str(found) if found else ""


def test_int8_has_to_beat_fp16_where_fp16_is_computed(study: Study) -> None:
    int8 = _on_a_gpu("int8", "int8")
    specs = (_on_a_gpu("fp32", "fp32"), _on_a_gpu("fp16", "fp16", batches=(1,)), int8)
    study = dataclasses.replace(study, variants=specs)
    assert {runtime: _half_of(study, int8, runtime) for runtime in ON_A_GPU} == {
        "onnxruntime-cuda": "s/fp16@onnxruntime-cuda",
        "tensorrt": "s/fp16@tensorrt-sm86",
        # Both compute FP16 files in float32.
        "onnxruntime": "",
        "openvino": "",
    }
    # At a batch size that FP16 is not timed at, its engine may have no profile.
    assert _half_of(study, int8, "tensorrt", batch=32) == ""
    assert _half_of(study, specs[1], "tensorrt") == ""
    for other in (
        dataclasses.replace(int8, weights="other.safetensors"),
        dataclasses.replace(int8, nms=True),
        dataclasses.replace(int8, compute_capability="8.9"),
    ):
        assert _half_of(study, other, "tensorrt") == ""


def test_int8_claims_to_be_faster_than_fp16_where_fp16_is_computed(study: Study) -> None:
    names = (("fp32", "fp32"), ("fp16", "fp16"), ("int8", "int8"))
    specs = tuple(_on_a_gpu(*name, batches=(1,)) for name in names)
    study = dataclasses.replace(study, variants=specs)
    fp32, fp16, int8 = (
        dataclasses.replace(
            _work(spec.name, size=100),
            case=Case(study="s", variant=spec.name, runtime="onnxruntime-cuda"),
            spec=spec,
            runtime="onnxruntime-cuda",
        )
        for spec in specs
    )
    entry = {**_entry("fp32", 0.5), "baseline": str(fp32.case)}
    timed = {**_entry("fp16", 1.1), "baseline": str(fp16.case)}
    int8.record["latency"] = {"batch1": {**entry, "fp16": timed}}
    found = {one.metric: (one.against, one.ratio) for one in _listed(study, [fp32, int8])}
    assert found == {"pays/int8_b1": (fp32.case, 0.5), "pays/int8_fp16_b1": (fp16.case, 1.1)}
    fp16.failed = "cut off"
    int8.record["latency"] = {"batch1": entry}
    (_, broken) = _listed(study, [fp32, fp16, int8])[-2:]
    assert broken.metric == "pays/int8_fp16_b1"
    assert broken.why_invalid == "s/fp16@onnxruntime-cuda was not timed: cut off"


def test_a_pair_of_int8_and_fp16_is_timed_and_counted(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole stage, with the clock alone replaced: which pairs it asks for."""
    specs = (_on_a_gpu("fp32", "fp32"), _on_a_gpu("fp16", "fp16"), _on_a_gpu("int8", "int8"))
    study = dataclasses.replace(study, variants=specs)
    works = []
    for runtime in ("tensorrt", "openvino"):
        for spec in specs:
            work = _work(spec.name, size=1)
            case = Case(study="s", variant=spec.name, runtime=spec.runtime_label(runtime))
            works.append(dataclasses.replace(work, case=case, spec=spec, runtime=runtime))
    timed = []

    def record(self: Pairs, one: Comparison, control: PairResult | None = None) -> PairResult:
        if control is not None:
            timed.append((str(one.work.case), str(one.baseline.case), one.batch))
        return summarise_pairs([1.0] * 9, [1.0] * 9, calls=(1, 1))

    monkeypatch.setattr(Pairs, "_time", record)
    monkeypatch.setattr(Pairs, "_time_control", record)
    monkeypatch.setattr("slimgate.study.timing._images", lambda prepared, batch: None)
    prepared = SimpleNamespace(study=study)
    floors = SimpleNamespace(for_metric=lambda case, metric: ())
    measure_latency(prepared, works, floors, lambda *told: None)  # type: ignore[arg-type]
    beside_half = [pair for pair in timed if "fp16" in pair[1]]
    assert beside_half == [("s/int8@tensorrt-sm86", "s/fp16@tensorrt-sm86", batch) for batch in (1, 32)]
    assert set(works[2].record["latency"]["batch1"]) > {"fp16"}
    without = dataclasses.replace(study, variants=(specs[0], specs[2]))
    # Of INT8 on onnxruntime-cuda and on tensorrt, at two batch sizes each.
    cases_of_fp16 = len(ON_A_GPU) * 2
    assert count_comparisons(study) == count_comparisons(without) + cases_of_fp16 + 4
