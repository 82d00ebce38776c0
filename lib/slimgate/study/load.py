"""A study from its TOML file: parsed and checked once, here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimgate.errors import InputError, UsageError, name_offenders, nearest_name
from slimgate.flow import Precision
from slimgate.gate.formats import find_other_format
from slimgate.gate.tomlfile import read_toml
from slimgate.measure.metrics import metric_for
from slimgate.study.reader import TomlReader
from slimgate.study.spec import BUILT_IN, DEVICE, Study, VariantSpec, studies_folder

STUDY_FORMAT = "slimgate-study/1"

_INT8_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "observer": ((str,), "a text"),
    "budget": ((int, float), "a number"),
    "sensitivity": ((bool,), "true or false"),
    "peer": ((str,), "a text"),
}

_CAPABILITY = re.compile(r"\d+\.\d")


def load_study(source: str | Path = BUILT_IN) -> Study:
    """Return the study of a TOML file, or of a built-in study's name.

    Raises:
        InputError: the file is missing, is not TOML, or says something that is not known; the message names the
            key and the nearest known one.
    """
    path = Path(source)
    if not path.suffix and (studies_folder() / f"{source}.toml").is_file():
        path = studies_folder() / f"{source}.toml"
    if not path.is_file():
        known = sorted(file.stem for file in studies_folder().glob("*.toml"))
        raise InputError(
            f"study {source}",
            found="no such file",
            expected=f"a study TOML file, or a built-in study: {', '.join(known) or 'none is installed here'}",
            action="name an existing file; fixtures/studies/codes.toml is a model to copy",
        )
    value = read_toml(path, shown=str(path), expected="a study file").value
    return _study_from_toml(value, path.resolve())


def _study_from_toml(value: Mapping[str, Any], path: Path) -> Study:
    reader = TomlReader(path)
    strange = find_other_format(
        value.get("format"),
        STUDY_FORMAT,
        older="write it as docs/studies.md shows, then the format line",
        other="write that format line",
    )
    if strange is not None:
        raise reader.error("format", f"is {strange.found}", strange.expected, strange.action)
    reader.check_keys("study", value)
    detector = reader.table(value, "detector")
    data = reader.table(value, "data")
    measure = reader.table(value, "measure", optional=True)
    gate = reader.table(value, "gate", optional=True)
    protocol = reader.table(value, "protocol", optional=True)
    variants = tuple(
        _variant_from_toml(item, reader, index) for index, item in enumerate(reader.tables(value, "variant"))
    )
    if not variants:
        raise reader.error(
            "variant", "there is none", "at least one [[variant]]", "add the FP32 reference first"
        )
    names = [variant.name for variant in variants]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise reader.error("variant", f"named twice: {name_offenders(doubled)}", "unique names", "rename one")
    _refuse_strange_controls(variants, reader)
    budgeted = [variant.name for variant in variants if variant.int8.get("budget") is not None]
    if budgeted and "labelled" not in data:
        raise reader.error(
            "data.labelled",
            f"is missing, and {name_offenders(budgeted)} has a budget",
            "labelled training pictures that the budget is measured on",
            'write labelled = "codes:train", or leave budget out',
        )
    first = variants[0]
    if first.operations or first.weights or first.nms or first.precision is not Precision.FP32:
        raise reader.error(
            "variant",
            f"the first one, '{first.name}', is not the plain FP32 model",
            "the reference that others are compared with",
            "put an FP32 variant without weights, operations and NMS of its own first",
        )
    return Study(
        id=reader.text(value, "id"),
        title=reader.text(value, "title"),
        path=path,
        weights=reader.text(detector, "weights", "detector."),
        image_size=reader.whole(detector, "image_size", "detector.", default=None, least=32),
        evaluation=reader.text(data, "evaluation", "data."),
        also=_also_from_toml(data, reader),
        images=reader.whole(data, "images", "data.", default=None, least=1),
        calibration=reader.text(data, "calibration", "data."),
        calibration_images=reader.whole(data, "calibration_images", "data.", default=512, least=1) or 512,
        labelled=reader.text(data, "labelled", "data.") if "labelled" in data else "",
        labelled_images=reader.whole(data, "labelled_images", "data.", default=256, least=1) or 256,
        protocol=dict(protocol),
        threads=reader.whole(measure, "threads", "measure.", default=2, least=1) or 2,
        rounds=reader.whole(measure, "rounds", "measure.", default=41, least=9) or 41,
        rounds_batch32=reader.whole(measure, "rounds_batch32", "measure.", default=9, least=9) or 9,
        pictures=reader.whole(measure, "pictures", "measure.", default=6, least=0) or 0,
        search=_search_from_toml(value, reader),
        required_metrics=_required_from_toml(gate, reader),
        variants=variants,
    )


def _required_from_toml(gate: Mapping[str, Any], reader: TomlReader) -> tuple[str, ...]:
    """Return the metrics that need a floor; an unknown one would only be noticed when everything is measured."""
    required = reader.texts(gate, "required", "gate.", default=("map50_95",))
    for metric in required:
        try:
            metric_for(metric)
        except UsageError as error:
            raise reader.error(
                "gate.required", f"'{metric}' is an {error.found}", error.expected, "correct the metric"
            ) from None
    return required


def _search_from_toml(value: Mapping[str, Any], reader: TomlReader) -> Mapping[str, Any]:
    table = reader.table(value, "search", optional=True)
    if not table:
        return {}
    path = reader.path.parent / reader.text(table, "file", "search.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise reader.error(
            "search.file",
            f"{path} cannot be read ({error})",
            "the search.json that slimgate search wrote",
            "correct the path, or leave [search] out",
        ) from None
    from slimgate.compress.candidates import FORMAT, is_search

    if not is_search(found):
        raise reader.error(
            "search.file",
            f"{path} is no search",
            f"a whole file of the format {FORMAT}",
            "name the search.json that slimgate search wrote",
        )
    return dict(found)


def _also_from_toml(data: Mapping[str, Any], reader: TomlReader) -> tuple[str, ...]:
    also = data.get("also", [])
    if not isinstance(also, list) or not all(isinstance(source, str) and source for source in also):
        raise reader.error(
            "data.also", f"is {also!r}", "a list of dataset sources", 'write also = ["codes:test"]'
        )
    sources = [data.get("evaluation"), *also]
    doubled = sorted({source for source in also if sources.count(source) > 1})
    if doubled:
        raise reader.error(
            "data.also",
            f"evaluated twice: {name_offenders(doubled)}",
            "sources other than evaluation, each once",
            "leave it out",
        )
    bracketed = [source for source in also if "[" in source or "]" in source]
    if bracketed:
        raise reader.error(
            "data.also",
            f"a bracket in {name_offenders(bracketed)}",
            "names without [ and ]: metrics carry them as map50_95[name]",
            "rename the file or the folder",
        )
    return tuple(also)


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


def _refuse_strange_controls(variants: Sequence[VariantSpec], reader: TomlReader) -> None:
    names = [variant.name for variant in variants]
    for index, variant in enumerate(variants):
        for kind, name in variant.controls.items():
            if name not in names or name == variant.name:
                own = "itself" if name == variant.name else f"'{name}'{nearest_name(name, names)}"
                raise reader.error(
                    f"variant[{index}].controls.{kind}",
                    f"is {own}",
                    f"another variant of the study: {name_offenders(n for n in names if n != variant.name)}",
                    "name the variant that was trained as the control",
                )


def _variant_from_toml(item: Mapping[str, Any], reader: TomlReader, index: int) -> VariantSpec:
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
        name=reader.text(item, "name", where),
        weights=reader.text(item, "weights", where) if "weights" in item else "",
        operations=reader.texts(item, "operations", where, default=()),
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
