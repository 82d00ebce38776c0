"""A study from its TOML file: parsed and checked once, here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimgate.errors import InputError, UsageError, name_offenders, nearest_name
from slimgate.flow import Precision
from slimgate.gate.formats import find_other_format
from slimgate.gate.tomlfile import read_toml
from slimgate.measure.metrics import metric_for
from slimgate.study.protocol import protocol_from_toml
from slimgate.study.reader import TomlReader
from slimgate.study.spec import BUILT_IN, ENGINE_RUNTIMES, Study, VariantSpec, studies_folder
from slimgate.study.variant import variant_from_toml

STUDY_FORMAT = "slimgate-study/1"


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
    file = read_toml(path, shown=str(path), expected="a study file")
    return _study_from_toml(file.value, TomlReader(path.resolve(), file))


def _study_from_toml(value: Mapping[str, Any], reader: TomlReader) -> Study:
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
    variants = tuple(
        variant_from_toml(item, reader, index) for index, item in enumerate(reader.tables(value, "variant"))
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
    scored = [variant.name for variant in variants if variant.needs_labels]
    if scored and "labelled" not in data:
        raise reader.error(
            "data.labelled",
            f"is missing, and {name_offenders(scored)} has a budget or scores groups",
            "labelled training pictures that mAP is measured on",
            'write labelled = "codes:train", or leave budget and score_groups out',
        )
    first = variants[0]
    if first.operations or first.weights or first.nms or first.precision is not Precision.FP32:
        raise reader.error(
            "variant",
            f"the first one, '{first.name}', is not the plain FP32 model",
            "the reference that others are compared with",
            "put an FP32 variant without weights, operations and NMS of its own first",
        )
    _refuse_batches_without_a_baseline(variants, reader)
    return Study(
        id=reader.name(value, "id"),
        title=reader.text(value, "title"),
        path=reader.path,
        weights=reader.text(detector, "weights", "detector."),
        image_size=reader.whole(detector, "image_size", "detector.", default=None, least=32),
        evaluation=reader.text(data, "evaluation", "data."),
        also=_also_from_toml(data, reader),
        images=reader.whole(data, "images", "data.", default=None, least=1),
        calibration=reader.text(data, "calibration", "data."),
        calibration_images=reader.whole(data, "calibration_images", "data.", default=512, least=1) or 512,
        labelled=reader.text(data, "labelled", "data.") if "labelled" in data else "",
        labelled_images=reader.whole(data, "labelled_images", "data.", default=256, least=1) or 256,
        protocol=protocol_from_toml(value, reader),
        threads=reader.whole(measure, "threads", "measure.", default=2, least=1) or 2,
        rounds=reader.whole(measure, "rounds", "measure.", default=41, least=9) or 41,
        rounds_batch32=reader.whole(measure, "rounds_batch32", "measure.", default=10, least=9) or 10,
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
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
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


def _refuse_batches_without_a_baseline(variants: Sequence[VariantSpec], reader: TomlReader) -> None:
    """Refuse a batch size of an engine that the FP32 engine it is timed against is not built for."""
    for index, variant in enumerate(variants):
        baselines = [variants[0]]
        if variant.precision is not Precision.FP32:
            baselines += [
                one for one in variants if one.precision is Precision.FP32 and one.network == variant.network
            ]
        for baseline in baselines:
            shared = [
                name for name in variant.runtimes if name in ENGINE_RUNTIMES and name in baseline.runtimes
            ]
            lacking = sorted({*variant.batches} - {*baseline.batches})
            if shared and lacking:
                raise reader.error(
                    f"variant[{index}].batches",
                    f"has {name_offenders(map(str, lacking))}, and '{baseline.name}', which it is timed against on "
                    f"{shared[0]}, is built for {name_offenders(map(str, baseline.batches))}",
                    "batch sizes that both engines are built for",
                    f"add them to the batches of '{baseline.name}', or leave them out here",
                )
