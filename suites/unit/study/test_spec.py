"""Reading a study: what is right is read, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.errors import InputError
from slimgate.flow import Precision
from slimgate.study import load_study
from slimgate.study.spec import (
    GPU_RUNTIMES,
    VariantSpec,
    engine_kind,
    golden_folder,
    history_folder,
    studies_folder,
)

MINIMAL = """
format = "slimgate-study/1"
id = "mine"
title = "Mine"
[detector]
weights = "weights/mine.safetensors"
[data]
evaluation = "data/val.json"
calibration = "codes:calib"
[[variant]]
name = "fp32"
runtimes = ["onnxruntime"]
[[variant]]
name = "small"
operations = ["prune:0.3"]
precision = "int8"
runtimes = ["onnxruntime", "tensorrt-rtx"]
compute_capability = "8.9"
"""

INT8 = 'precision = "int8"'


def test_cases_are_variants_times_runtimes_with_the_engine_capability(write):
    study = load_study(write(MINIMAL))
    assert [str(case) for case in study.cases] == [
        "mine/fp32@onnxruntime",
        "mine/small@onnxruntime",
        "mine/small@tensorrt-rtx-sm89",
    ]
    assert study.variants[1].precision is Precision.INT8
    assert study.reference.name == "fp32"


def test_an_engine_for_the_gpu_that_is_there_has_the_same_case_on_every_machine(write):
    study = load_study(write(MINIMAL.replace('"8.9"', '"device"')))
    assert str(study.cases[-1]) == "mine/small@tensorrt-rtx-device"


@pytest.mark.parametrize("wrong", ['"sm86"', '"devise"', "8", '""'])
def test_another_compute_capability_is_refused(write, wrong):
    with pytest.raises(
        InputError,
        match=r"compute_capability: is .*\n  expected: a GPU's capability such as '8.6', or 'device'",
    ):
        load_study(write(MINIMAL.replace('"8.9"', wrong)))


def test_the_gpu_study_has_a_reference_on_the_cpu_and_three_precisions_on_every_gpu_runtime():
    study = load_study("codes-gpu")
    assert {(case.variant, case.runtime) for case in study.cases} == {
        ("fp32", "onnxruntime"),
        ("fp32", "torch"),
        *(
            (variant, runtime)
            for variant in ("fp32", "fp16", "int8")
            for runtime in (
                "onnxruntime-cuda",
                "onnxruntime-tensorrt",
                "tensorrt-device",
                "tensorrt-cudagraph-device",
            )
        ),
    }
    assert all(spec.batches == (1, 32) for spec in study.variants)


def test_why_a_variant_gains_nothing_is_a_sentence(write):
    text = MINIMAL.replace('name = "small"', 'name = "small"\nno_gain = "the report has this row"')
    assert [variant.no_gain for variant in load_study(write(text)).variants] == [
        "",
        "the report has this row",
    ]
    with pytest.raises(InputError, match=r"variant\[1\]\.no_gain"):
        load_study(write(MINIMAL.replace('name = "small"', 'name = "small"\nno_gain = true')))


def test_settings_of_int8_are_read(write):
    study = load_study(
        write(MINIMAL.replace('precision = "int8"', 'precision = "int8"\nint8 = { observer = "mse" }'))
    )
    assert [dict(variant.int8) for variant in study.variants] == [{}, {"observer": "mse"}]
    assert (study.labelled, study.labelled_images) == ("", 256)


def test_bfloat16_is_a_precision_of_runtimes_that_compute_in_it(write):
    text = f'{MINIMAL}[[variant]]\nname = "half"\nprecision = "bf16"\nruntimes = ["openvino-bf16"]\n'
    study = load_study(write(text))
    assert study.variants[-1].precision is Precision.BF16
    assert str(study.cases[-1]) == "mine/half@openvino-bf16"


def test_the_bfloat16_runtimes_are_in_the_registry():
    from slimgate.runtime import RUNTIMES
    from slimgate.study.spec import BF16_RUNTIMES, float32_runtime

    assert [name for name in RUNTIMES if name.endswith("-bf16")] == list(BF16_RUNTIMES)
    assert {float32_runtime(name) for name in BF16_RUNTIMES} <= set(RUNTIMES)


def test_further_sets_and_controls_are_read(write):
    text = MINIMAL.replace("[data]", '[data]\nalso = ["codes:test", "data/hard.json"]')
    study = load_study(write(text.replace('name = "small"', 'name = "small"\ncontrols = { dense = "fp32" }')))
    assert study.also == ("codes:test", "data/hard.json")
    assert [dict(variant.controls) for variant in study.variants] == [{}, {"dense": "fp32"}]
    assert load_study(write(MINIMAL)).also == ()


def test_relative_sources_are_relative_to_the_study_file(write, tmp_path):
    study = load_study(write(MINIMAL))
    assert study.resolve(study.weights) == str(tmp_path / "weights/mine.safetensors")
    assert study.resolve(study.calibration) == "codes:calib"
    assert study.resolve("coco128") == "coco128"


def test_the_files_that_a_study_is_made_of(write, tmp_path):
    text = MINIMAL.replace('name = "small"', 'name = "small"\nweights = "fetch:yolov5n.pt"')
    path = write(text)
    mine = tmp_path / "weights" / "mine.safetensors"
    assert load_study(path).own_files == (path, mine, mine.with_suffix(".json"))


def test_golden_is_the_nearest_above_the_study(write, tmp_path):
    path = write(MINIMAL)
    assert golden_folder(load_study(path)) == Path("golden")
    (tmp_path / "golden").mkdir()
    assert golden_folder(load_study(path)) == tmp_path / "golden"


def test_the_runtimes_that_need_a_gpu_are_those_of_the_registry(write):
    from slimgate.runtime import RUNTIMES

    assert set(GPU_RUNTIMES) == {name for name, runtime in RUNTIMES.items() if runtime.device == "gpu"}
    text = MINIMAL.replace('runtimes = ["onnxruntime"]', 'runtimes = ["onnxruntime", "tensorrt-rtx"]', 1)
    assert {str(case) for case in load_study(write(text)).gpu_cases} == {
        "mine/fp32@tensorrt-rtx-sm86",
        "mine/small@tensorrt-rtx-sm89",
    }


def test_a_source_without_a_folder_is_a_file_beside_the_study(write, tmp_path):
    study = load_study(write(MINIMAL))
    assert study.resolve("data.yaml:train") == str(tmp_path / "data.yaml:train")
    assert study.resolve("best.pt") == str(tmp_path / "best.pt")
    assert study.resolve("fetch:yolov5n.pt") == "fetch:yolov5n.pt"


@pytest.mark.parametrize("file", sorted(studies_folder().glob("*.toml")), ids=lambda file: file.stem)
def test_built_in_studies_are_read_by_name(file):
    study = load_study(file.stem)
    assert study.id == file.stem
    assert len(set(study.cases)) == len(study.cases)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('title = "Mine"', 'titel = "Mine"', r"titel: unknown key; did you mean 'title'\?"),
        ('runtimes = ["onnxruntime"]', 'runtime = ["onnxruntime"]', r"variant\[0\].runtime: unknown key"),
        ('precision = "int8"', 'precision = "int7"', r"variant\[1\].precision: is 'int7'"),
        ('"slimgate-study/1"', '"slimgate-study/9"', "format: is 'slimgate-study/9'"),
        ('name = "small"', 'name = "fp32"', "named twice: fp32"),
        ('name = "fp32"', 'name = "fp32"\nprecision = "int8"', "not the plain FP32 model"),
        ('calibration = "codes:calib"', "calibration = 3", r"data.calibration: is 3"),
        ("[data]", "[data]\nimages = -1", "data.images: is -1"),
        ("[data]", "[data", r"\.toml:\d+: not TOML: Expected ']' at the end of a table declaration: \[data"),
        (
            "[data]",
            '[gate]\nrequired = ["mAP50-95"]\n[data]',
            r"gate.required: 'mAP50-95' is an unknown metric; did you mean 'map50_95'\?",
        ),
        ('runtimes = ["onnxruntime"]', "runtimes = []", r"variant\[0\].runtimes: is \[\]"),
        ("[data]", '[data]\nalso = "codes:test"', r"data.also: is 'codes:test'"),
        ("[data]", '[data]\nalso = ["data/val.json"]', "data.also: evaluated twice: data/val.json"),
        ("[data]", '[data]\nalso = ["a.json", "a.json"]', "data.also: evaluated twice: a.json"),
        ("[data]", '[data]\nalso = ["data[1].json"]', r"data.also: a bracket in data\[1\].json"),
        ('name = "small"', 'name = "small"\nnms = 1', r"variant\[1\].nms: is 1"),
        ('name = "fp32"', 'name = "fp32"\nnms = true', "not the plain FP32 model"),
        (
            'name = "small"',
            'name = "rows"\nnms = true\nruntimes = ["torch", "tensorrt-rtx"]\n[[variant]]\nname = "small"',
            r"variant\[1\].nms: is true beside runtimes torch, tensorrt-rtx",
        ),
        ('name = "small"', 'name = "small"\ncontrols = ["fp32"]', r"variant\[1\].controls: is \['fp32'\]"),
        (
            'name = "small"',
            'name = "small"\ncontrols = { sparse = "fp32" }',
            r"variant\[1\].controls.sparse: unknown key",
        ),
        (
            'name = "small"',
            'name = "small"\ncontrols = { dense = "fp23" }',
            r"variant\[1\].controls.dense: is 'fp23'; did you mean 'fp32'\?",
        ),
        (
            'name = "small"',
            'name = "small"\ncontrols = { scratch = "small" }',
            r"variant\[1\].controls.scratch: is itself",
        ),
        (INT8, f"{INT8}\nint8 = 3", r"variant\[1\].int8: is 3"),
        (INT8, f'{INT8}\nint8 = {{ obs = "mse" }}', r"variant\[1\].int8.obs: unknown key"),
        (
            INT8,
            f'{INT8}\nint8 = {{ observer = "mze" }}',
            r"variant\[1\].int8: observer 'mze': unknown observer",
        ),
        (INT8, f"{INT8}\nint8 = {{ observer = 3 }}", r"variant\[1\].int8.observer: is 3"),
        (INT8, f"{INT8}\nint8 = {{ budget = true }}", r"variant\[1\].int8.budget: is True"),
        (INT8, f"{INT8}\nint8 = {{ budget = 2 }}", r"variant\[1\].int8: budget 2: not a share of mAP"),
        (INT8, f"{INT8}\nint8 = {{ budget = 0.01 }}", "data.labelled: is missing, and small has a budget"),
        (INT8, 'int8 = { observer = "mse" }', r"variant\[1\].int8: is set, and the precision is fp32"),
        (INT8, f"{INT8}\nint8 = {{ score_groups = true }}", "data.labelled: is missing, and small has"),
        (INT8, f"{INT8}\nint8 = {{ score_groups = 1 }}", r"variant\[1\].int8.score_groups: is 1"),
        (
            'runtimes = ["onnxruntime"]',
            'runtimes = ["onnxruntime", "openvino-bf16"]',
            r"variant\[0\].precision: is fp32, and openvino-bf16 computes in bfloat16",
        ),
        (
            INT8,
            'precision = "bf16"',
            r"variant\[1\].runtimes: .*tensorrt-rtx does not compute in bfloat16, and the precision is bf16",
        ),
        ("[data]", "[data]\nlabelled = 3", "data.labelled: is 3"),
        ("[data]", "[data]\nlabelled_images = 0", "data.labelled_images: is 0"),
        ("[detector]", "[detektor]", r"detektor: unknown key; did you mean 'detector'\?"),
    ],
)
def test_wrong_studies_name_the_key(write, before, after, message):
    assert before in MINIMAL
    with pytest.raises(InputError, match=message) as caught:
        load_study(write(MINIMAL.replace(before, after, 1)))
    assert "expected:" in str(caught.value)
    assert "what to do:" in str(caught.value)


def test_a_missing_study_lists_the_built_in_ones(tmp_path):
    with pytest.raises(InputError, match="no such file") as caught:
        load_study(tmp_path / "absent.toml")
    assert "codes" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('runtimes = ["onnxruntime"]\nbatches = 5', r"variant\[0\]\.batches: is 5\n.*a list of batch sizes"),
        ('runtimes = ["onnxruntime"]\nbatches = [0]', r"variant\[0\]\.batches: is \[0\]"),
        (
            'runtimes = ["onnxruntime"]\noperations = "prune:0.3"',
            r"operations: is 'prune:0\.3'\n.*a list of texts",
        ),
        ("runtimes = 5", r"runtimes: is 5\n.*a list of runtime names"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_by_name(write, line, message):
    with pytest.raises(InputError, match=message):
        load_study(write(MINIMAL.replace('runtimes = ["onnxruntime"]', line, 1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            MINIMAL.split("[[variant]]")[0] + "[gate]\nrequired = 5\n",
            r"gate\.required: is 5\n.*a list of texts",
        ),
        ("variant = 5\n" + MINIMAL.split("[[variant]]")[0], r"variant: is 5\n.*\[\[variant\]\] tables"),
    ],
)
def test_tables_of_the_wrong_kind_are_refused_by_name(write, text, message):
    if "required" in text:
        text += '[[variant]]\nname = "fp32"\nruntimes = ["onnxruntime"]\n'
    with pytest.raises(InputError, match=message):
        load_study(write(text))


def test_the_history_lies_beside_the_golden_folder_of_the_project(write, tmp_path, monkeypatch):
    monkeypatch.delenv("SLIMGATE_HISTORY", raising=False)
    (tmp_path / "golden").mkdir()
    study = load_study(write(MINIMAL))
    assert history_folder(study) == tmp_path / ".slimgate" / "history"
    monkeypatch.setenv("SLIMGATE_HISTORY", str(tmp_path / "elsewhere"))
    assert history_folder(study) == tmp_path / "elsewhere"
    assert history_folder(study, tmp_path / "given") == tmp_path / "given"
    monkeypatch.setenv("SLIMGATE_HISTORY", "off")
    assert history_folder(study) is None
    assert history_folder(study, tmp_path / "given") == tmp_path / "given"


def test_without_a_study_the_nearest_history_above_is_meant(tmp_path, monkeypatch):
    monkeypatch.delenv("SLIMGATE_HISTORY", raising=False)
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert history_folder() == Path(".slimgate/history")
    (tmp_path / ".slimgate" / "history").mkdir(parents=True)
    assert history_folder() == tmp_path / ".slimgate" / "history"


def test_cuda_graphs_run_the_same_kind_of_engine():
    spec = VariantSpec(name="v", compute_capability="8.9")
    assert spec.runtime_label("tensorrt-cudagraph") == "tensorrt-cudagraph-sm89"
    assert engine_kind("tensorrt-rtx-cudagraph") == engine_kind("tensorrt-rtx") == "tensorrt-rtx"


ENGINES = MINIMAL.replace('runtimes = ["onnxruntime"]', 'runtimes = ["onnxruntime", "tensorrt-rtx"]').replace(
    'operations = ["prune:0.3"]\n', "batches = [1, 32]\n"
)


def test_an_engine_is_timed_at_batch_sizes_that_its_baseline_is_built_for(write):
    with pytest.raises(InputError) as raised:
        load_study(write(ENGINES))
    assert (
        "variant[1].batches: has 32, and 'fp32', which it is timed against on tensorrt-rtx, is built for 1"
        in str(raised.value)
    )
    assert "add them to the batches of 'fp32'" in str(raised.value)
    for fitting in (
        ENGINES.replace('"tensorrt-rtx"]\n[[variant]]', '"tensorrt-rtx"]\nbatches = [1, 32]\n[[variant]]'),
        ENGINES.replace('"onnxruntime", "tensorrt-rtx"]\ncompute', '"onnxruntime"]\ncompute'),
    ):
        assert load_study(write(fitting)).variants[1].batches == (1, 32)


def test_an_engine_is_timed_at_batch_sizes_that_its_own_network_in_float_is_built_for(write):
    """The original has both sizes, the pruned network in FP32 has one."""
    pruned = '[[variant]]\nname = "pruned"\noperations = ["prune:0.3"]\nruntimes = ["tensorrt-rtx"]\n'
    text = MINIMAL.replace('runtimes = ["onnxruntime"]', 'runtimes = ["tensorrt-rtx"]\nbatches = [1, 32]')
    text = text.replace('compute_capability = "8.9"', "batches = [1, 32]") + pruned
    with pytest.raises(InputError) as raised:
        load_study(write(text))
    assert "variant[1].batches: has 32, and 'pruned', which it is timed against" in str(raised.value)
