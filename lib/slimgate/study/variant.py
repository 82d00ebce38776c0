"""One variant of a study's TOML file, parsed and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from slimgate.errors import UsageError, name_offenders
from slimgate.flow import Precision
from slimgate.study.operations import check_operations
from slimgate.study.reader import TomlReader
from slimgate.study.spec import BF16_RUNTIMES, DEVICE, VariantSpec

_INT8_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "observer": ((str,), "a text"),
    "budget": ((int, float), "a number"),
    "sensitivity": ((bool,), "true or false"),
    "score_groups": ((bool,), "true or false"),
    "peer": ((str,), "a text"),
}

_CAPABILITY = re.compile(r"\d+\.\d")


def variant_from_toml(item: Mapping[str, Any], reader: TomlReader, index: int) -> VariantSpec:
    """Return one ``[[variant]]``.

    Args:
        item: its table.
        reader: of the study file.
        index: its place in the file, for messages.

    Raises:
        InputError: a key or a value is not known, or two do not go together.
    """
    where = f"variant[{index}]."
    reader.check_keys("variant", item, where)
    precision = item.get("precision", "fp32")
    if precision not in [known.value for known in Precision]:
        known = ", ".join(known.value for known in Precision)
        raise reader.error(f"{where}precision", f"is {precision!r}", f"one of {known}", "use one of them")
    runtimes = item.get("runtimes")
    if (
        not runtimes
        or not isinstance(runtimes, list)
        or not all(isinstance(runtime, str) for runtime in runtimes)
    ):
        raise reader.error(
            f"{where}runtimes",
            f"is {runtimes!r}",
            "a list of runtime names",
            "name at least one, such as onnxruntime",
        )
    _refuse_unknown_runtimes(runtimes, reader, where)
    _refuse_strange_arithmetic(Precision(precision), runtimes, reader, where)
    batches = item.get("batches", [1])
    if not isinstance(batches, list) or not all(type(batch) is int and batch > 0 for batch in batches):
        raise reader.error(
            f"{where}batches",
            f"is {batches!r}",
            "a list of batch sizes, 1 or more",
            "write batches = [1, 32]",
        )
    capability = item.get("compute_capability", "8.6")
    if capability != DEVICE and not _CAPABILITY.fullmatch(str(capability)):
        raise reader.error(
            f"{where}compute_capability",
            f"is {capability!r}",
            f"a GPU's capability such as '8.6', or '{DEVICE}' for that of the GPU that is there",
            "correct it",
        )
    nms = reader.flag(item, "nms", where)
    without = [name for name in runtimes if nms and (name == "torch" or name.startswith("tensorrt-rtx"))]
    if without:
        raise reader.error(
            f"{where}nms",
            f"is true beside runtimes {name_offenders(without)}",
            "runtimes that suppress inside a file: onnxruntime, openvino, tensorrt",
            "leave these runtimes out, or write nms = false",
        )
    return VariantSpec(
        name=reader.name(item, "name", where),
        weights=reader.text(item, "weights", where) if "weights" in item else "",
        operations=_operations_from_toml(item, reader, where),
        precision=Precision(precision),
        runtimes=tuple(runtimes),
        batches=tuple(batches),
        compute_capability=str(capability),
        nms=nms,
        controls=_controls_from_toml(item, reader, where),
        no_gain=reader.text(item, "no_gain", where) if "no_gain" in item else "",
        int8=_int8_from_toml(item, reader, where),
        about=str(item.get("about", "")),
    )


def _operations_from_toml(item: Mapping[str, Any], reader: TomlReader, where: str) -> tuple[str, ...]:
    texts = reader.texts(item, "operations", where, default=())
    check_operations(texts, reader, where)
    return texts


def _refuse_unknown_runtimes(runtimes: Sequence[str], reader: TomlReader, where: str) -> None:
    from slimgate.runtime import get_runtime

    for name in runtimes:
        try:
            get_runtime(name)
        except UsageError as error:
            raise reader.error(
                f"{where}runtimes", f"'{name}' is an {error.found}", error.expected, "correct the runtime"
            ) from None


def _refuse_strange_arithmetic(
    precision: Precision, runtimes: Sequence[str], reader: TomlReader, where: str
) -> None:
    """Refuse a row that would run in another precision than it is called by.

    Bfloat16 is the runtime's choice, and a checkpoint runs in float32 whatever a row is called.
    """
    from slimgate.runtime import RUNTIMES

    files = {name for name, runtime in RUNTIMES.items() if {"onnx", "engine"} & set(runtime.formats)}
    without = [name for name in runtimes if precision is not Precision.FP32 and name not in files]
    if without:
        raise reader.error(
            f"{where}runtimes",
            f"{name_offenders(without)} runs the checkpoint in float32, and the precision is {precision.value}",
            "runtimes of exported files, such as onnxruntime",
            "leave that runtime out, or put it into an FP32 variant",
        )
    if precision is Precision.BF16:
        others = [name for name in runtimes if name not in BF16_RUNTIMES]
        if others:
            raise reader.error(
                f"{where}runtimes",
                f"{name_offenders(others)} does not compute in bfloat16, and the precision is bf16",
                f"one of {', '.join(BF16_RUNTIMES)}",
                "name that runtime alone, and put the others into a variant of another precision",
            )
        return
    named = [name for name in runtimes if name in BF16_RUNTIMES and precision is not Precision.INT8]
    if named:
        raise reader.error(
            f"{where}precision",
            f"is {precision.value}, and {name_offenders(named)} computes in bfloat16",
            "'bf16' for that runtime",
            'put it into a variant of its own with precision = "bf16"',
        )


def _controls_from_toml(item: Mapping[str, Any], reader: TomlReader, where: str) -> Mapping[str, str]:
    controls = item.get("controls", {})
    if not isinstance(controls, Mapping) or not all(isinstance(name, str) for name in controls.values()):
        raise reader.error(
            f"{where}controls",
            f"is {controls!r}",
            "a table of variant names",
            'write controls = { dense = "dense-retrain", scratch = "slim-scratch" }',
        )
    reader.check_keys("controls", controls, f"{where}controls.")
    return dict(controls)


def _int8_from_toml(item: Mapping[str, Any], reader: TomlReader, where: str) -> Mapping[str, Any]:
    settings = item.get("int8", {})
    if not isinstance(settings, Mapping):
        raise reader.error(
            f"{where}int8", f"is {settings!r}", "a table", 'write int8 = { observer = "mse", budget = 0.002 }'
        )
    reader.check_keys("int8", settings, f"{where}int8.")
    if settings and item.get("precision") != Precision.INT8.value:
        raise reader.error(
            f"{where}int8",
            f"is set, and the precision is {item.get('precision', 'fp32')}",
            'precision = "int8"',
            "add the precision, or leave int8 out",
        )
    for key, value in settings.items():
        kinds, expected = _INT8_KINDS[key]
        if not isinstance(value, kinds) or (kinds != (bool,) and isinstance(value, bool)):
            raise reader.error(f"{where}int8.{key}", f"is {value!r}", expected, "correct it")
    from slimgate.compress.quantize import QuantizationSettings

    try:
        QuantizationSettings(**settings)
    except UsageError as error:
        raise reader.error(
            f"{where}int8", f"{error.subject}: {error.found}", error.expected, error.action
        ) from None
    return dict(settings)
