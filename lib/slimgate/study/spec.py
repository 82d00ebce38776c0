"""What a study says: a detector, a dataset, the variants, the protocol. Parsed and checked once, here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimgate.errors import InputError, name_offenders, nearest_name
from slimgate.flow import Case, Precision

STUDY_FORMAT = "slimgate-study/1"

BUILT_IN = "codes"
"""The study that runs when none is named."""

_KEYS: dict[str, tuple[str, ...]] = {
    "study": ("format", "id", "title", "detector", "data", "protocol", "measure", "gate", "variant"),
    "detector": ("weights", "image_size"),
    "data": ("evaluation", "images", "calibration", "calibration_images"),
    "protocol": ("conf", "iou", "max_det", "multi_label", "deployed_conf", "match_iou"),
    "measure": ("threads", "rounds", "rounds_batch32", "pictures"),
    "gate": ("required",),
    "variant": (
        "name",
        "weights",
        "operations",
        "precision",
        "runtimes",
        "batches",
        "compute_capability",
        "about",
    ),
}

DEVICE = "device"
"""The compute capability of the GPU that is there."""

_CAPABILITY = re.compile(r"\d+\.\d")

ENGINE_RUNTIMES = ("tensorrt", "tensorrt-rtx")
"""Runtimes whose artifact is an engine, built ahead of time for one compute capability."""


@dataclass(frozen=True, kw_only=True)
class VariantSpec:
    """One variant: operations on the detector, a precision, and where it runs.

    Attributes:
        name: part of the case id.
        weights: a detector file of its own, such as one that was slimmed and trained before; empty for the study's.
        operations: operation texts such as ``prune:0.3,scope=layer``, applied in order.
        precision: of the artifacts.
        runtimes: runtime names.
        batches: batch sizes whose latency is measured.
        compute_capability: of the GPU that engines are built for, such as ``8.6``, or ``device``: that of the
            GPU that is there when the study runs.
        about: one sentence for the report.
    """

    name: str
    weights: str = ""
    operations: tuple[str, ...] = ()
    precision: Precision = Precision.FP32
    runtimes: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1,)
    compute_capability: str = "8.6"
    about: str = ""

    def runtime_label(self, runtime: str) -> str:
        """Return the runtime's part of the case id: engines carry what they are built for.

        An id is the same on every machine, so ``device`` stands as it is; the record's lineage says which GPU
        it was, and a record of another one is refused.
        """
        if runtime in ENGINE_RUNTIMES and self.compute_capability == DEVICE:
            return f"{runtime}-{DEVICE}"
        if runtime in ENGINE_RUNTIMES:
            return f"{runtime}-sm{self.compute_capability.replace('.', '')}"
        return runtime


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study, checked.

    Attributes:
        id: first part of every case id.
        title: for people.
        path: the TOML file.
        weights: a file, or ``fetch:NAME`` for a published one.
        image_size: side of the square input, or None for the detector's own.
        evaluation: dataset source that is evaluated.
        images: how many of its images, or None for all.
        calibration: dataset source that INT8 is calibrated on.
        calibration_images: how many.
        protocol: settings of ``slimgate.detect.Protocol`` other than the image size.
        threads: inference threads of every runtime.
        rounds: interleaved rounds per latency comparison at batch 1.
        rounds_batch32: the same for larger batches.
        pictures: pictures shown side by side.
        required_metrics: metrics that must have a floor in every case that measures accuracy.
        variants: in the file's order; the first is the FP32 reference.
    """

    id: str
    title: str
    path: Path
    weights: str
    image_size: int | None
    evaluation: str
    images: int | None
    calibration: str
    calibration_images: int
    protocol: Mapping[str, Any]
    threads: int
    rounds: int
    rounds_batch32: int
    pictures: int
    required_metrics: tuple[str, ...]
    variants: tuple[VariantSpec, ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        """Every case of the study, in the file's order."""
        return tuple(
            Case(study=self.id, variant=variant.name, runtime=variant.runtime_label(runtime))
            for variant in self.variants
            for runtime in variant.runtimes
        )

    @property
    def argument(self) -> str:
        """What a user types to run this study again: a built-in study's name, else the file."""
        if self.path.parent == studies_folder():
            return self.path.stem
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @property
    def reference(self) -> VariantSpec:
        """The FP32 variant that the others are compared with: the first one."""
        return self.variants[0]

    def resolve(self, source: str) -> str:
        """Return a dataset or weights source with a relative path made relative to the study file."""
        if ":" in source or "/" not in source:
            return source
        return str((self.path.parent / source).resolve())


def studies_folder() -> Path:
    """Return the folder of the built-in studies, in the source tree."""
    return Path(__file__).resolve().parents[3] / "fixtures" / "studies"


def golden_folder(study: Study) -> Path:
    """Return the ``golden`` folder of a study's project: the nearest above the study file, else the current one's."""
    for folder in study.path.parents:
        if (folder / "golden").is_dir():
            return folder / "golden"
    return Path("golden")


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
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            str(path), found=f"not TOML: {error}", expected="a TOML file", action="correct that line"
        ) from None
    return _study_from_toml(value, path.resolve())


def _study_from_toml(value: Mapping[str, Any], path: Path) -> Study:
    reader = _Reader(path)
    reader.check_keys("study", value)
    if value.get("format") != STUDY_FORMAT:
        raise reader.error(
            "format", f"is {value.get('format')!r}", f"'{STUDY_FORMAT}'", "write that format line"
        )
    detector = reader.table(value, "detector")
    data = reader.table(value, "data")
    measure = reader.table(value, "measure", optional=True)
    gate = reader.table(value, "gate", optional=True)
    protocol = reader.table(value, "protocol", optional=True)
    variants = tuple(
        _variant_from_toml(item, reader, index) for index, item in enumerate(value.get("variant", ()))
    )
    if not variants:
        raise reader.error(
            "variant", "there is none", "at least one [[variant]]", "add the FP32 reference first"
        )
    names = [variant.name for variant in variants]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise reader.error("variant", f"named twice: {name_offenders(doubled)}", "unique names", "rename one")
    first = variants[0]
    if first.operations or first.weights or first.precision is not Precision.FP32:
        raise reader.error(
            "variant",
            f"the first one, '{first.name}', is not the plain FP32 model",
            "the reference that others are compared with",
            "put an FP32 variant without weights and operations of its own first",
        )
    return Study(
        id=reader.text(value, "id"),
        title=reader.text(value, "title"),
        path=path,
        weights=reader.text(detector, "weights", "detector."),
        image_size=reader.whole(detector, "image_size", "detector.", default=None, least=32),
        evaluation=reader.text(data, "evaluation", "data."),
        images=reader.whole(data, "images", "data.", default=None, least=1),
        calibration=reader.text(data, "calibration", "data."),
        calibration_images=reader.whole(data, "calibration_images", "data.", default=512, least=1) or 512,
        protocol=dict(protocol),
        threads=reader.whole(measure, "threads", "measure.", default=2, least=1) or 2,
        rounds=reader.whole(measure, "rounds", "measure.", default=41, least=9) or 41,
        rounds_batch32=reader.whole(measure, "rounds_batch32", "measure.", default=9, least=9) or 9,
        pictures=reader.whole(measure, "pictures", "measure.", default=6, least=0) or 0,
        required_metrics=tuple(gate.get("required", ("map50_95",))),
        variants=variants,
    )


def _variant_from_toml(item: Mapping[str, Any], reader: _Reader, index: int) -> VariantSpec:
    where = f"variant[{index}]."
    reader.check_keys("variant", item, where)
    precision = item.get("precision", "fp32")
    if precision not in [known.value for known in Precision]:
        known = ", ".join(known.value for known in Precision)
        raise reader.error(f"{where}precision", f"is {precision!r}", f"one of {known}", "use one of them")
    runtimes = item.get("runtimes")
    if not runtimes or not all(isinstance(runtime, str) for runtime in runtimes):
        raise reader.error(
            f"{where}runtimes",
            f"is {runtimes!r}",
            "a list of runtime names",
            "name at least one, such as onnxruntime",
        )
    operations = item.get("operations", ())
    if not all(isinstance(operation, str) for operation in operations):
        raise reader.error(
            f"{where}operations", f"is {operations!r}", "a list of texts", "write them like 'prune:0.3'"
        )
    capability = item.get("compute_capability", "8.6")
    if capability != DEVICE and not _CAPABILITY.fullmatch(str(capability)):
        raise reader.error(
            f"{where}compute_capability",
            f"is {capability!r}",
            f"a GPU's capability such as '8.6', or '{DEVICE}' for that of the GPU that is there",
            "correct it",
        )
    return VariantSpec(
        name=reader.text(item, "name", where),
        weights=reader.text(item, "weights", where) if "weights" in item else "",
        operations=tuple(operations),
        precision=Precision(precision),
        runtimes=tuple(runtimes),
        batches=tuple(item.get("batches", (1,))),
        compute_capability=str(capability),
        about=str(item.get("about", "")),
    )


class _Reader:
    """Reads values out of one TOML file, and names the key in every complaint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def error(self, key: str, found: str, expected: str, action: str) -> InputError:
        return InputError(f"{self.path}: {key}", found=found, expected=expected, action=action)

    def check_keys(self, table: str, value: Mapping[str, Any], where: str = "") -> None:
        known = _KEYS[table]
        unknown = [key for key in value if key not in known]
        if unknown:
            raise self.error(
                f"{where}{unknown[0]}",
                f"unknown key{nearest_name(unknown[0], known)}",
                f"one of {', '.join(known)}",
                "correct or remove the key",
            )

    def table(self, value: Mapping[str, Any], key: str, *, optional: bool = False) -> Mapping[str, Any]:
        inner = value.get(key)
        if inner is None and optional:
            return {}
        if not isinstance(inner, Mapping):
            raise self.error(f"[{key}]", "is missing or not a table", f"a [{key}] table", f"add [{key}]")
        self.check_keys(key, inner, f"{key}.")
        return inner

    def text(self, value: Mapping[str, Any], key: str, where: str = "") -> str:
        inner = value.get(key)
        if not isinstance(inner, str) or not inner:
            raise self.error(f"{where}{key}", f"is {inner!r}", "a text", f'write {key} = "..."')
        return inner

    def whole(
        self, value: Mapping[str, Any], key: str, where: str, *, default: int | None, least: int
    ) -> int | None:
        inner = value.get(key, default)
        if inner is None:
            return None
        if not isinstance(inner, int) or isinstance(inner, bool) or inner < least:
            raise self.error(
                f"{where}{key}", f"is {inner!r}", f"a whole number, {least} or more", "correct it"
            )
        return inner
