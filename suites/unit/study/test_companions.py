"""A case that is run by itself is judged as it was in the whole run: what it is compared with runs beside it."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

from slimgate.cli import build_parser
from slimgate.flow import Case, Status, Verdict
from slimgate.gate import Acceptance, Floors, RunFiles, load_run, write_records
from slimgate.study import load_study
from slimgate.study.companions import list_works

from fixtures.goldens import make_floor
from fixtures.tiny_project import STUDY, run_project

INT8 = Case(study="tiny", variant="int8", runtime="onnxruntime")

FLOORS = """\
format = "slimgate-floors/1"
study = "tiny"
[[case]]
id = "tiny/int8@onnxruntime"
runtime = "onnxruntime 1"
reason = "planted: nothing is this good"
date = 2026-11-20
[case.floor]
size_bytes = [
    { max = 9_000_000, slack = 1_000_000, unit = "bytes" },
    { relative_to = "tiny/fp32@torch", max_fraction = 0.001, unit = "bytes" },
]
score_shift = { min = 0.9, slack = 0.01, unit = "fraction" }
map50_95 = { min = 0.001, slack = 0.05, unit = "fraction" }
"""


def verdicts_of_int8(files: RunFiles) -> dict[tuple[str, float | None], Verdict]:
    found = [one for one in files.judgement.verdicts if one.case == INT8]
    assert found
    return {(one.metric, one.floor): one for one in found}


def test_a_failure_is_reproduced_by_the_command_that_it_prints(project: Path, monkeypatch) -> None:
    monkeypatch.chdir(project)
    (project / "tiny.toml").write_text(STUDY[: STUDY.index('[[variant]]\nname = "pruned"')])
    accepted = load_run(run_project(project, "one").directory)
    write_records(
        [one for one in accepted.measurements if one.metric in ("size_bytes", "score_shift", "map50_95")],
        Acceptance(run_id="one", started="2026-11-20T08:00:00Z", git_commit="fedcba"),
        project / "golden",
    )
    (project / "golden" / "floors" / "tiny.toml").write_text(FLOORS)
    whole = load_run(run_project(project, "two").directory)
    before = verdicts_of_int8(whole)
    failures = [one for one in before.values() if one.status is Status.FAIL]
    assert {one.metric for one in failures} >= {"size_bytes", "score_shift"}
    (command,) = {one.message.rpartition("reproduce  ")[2] for one in failures}
    program, *arguments = shlex.split(command)
    args = build_parser().parse_args(arguments)
    assert (program, args.study, args.expression) == ("slimgate", "tiny.toml", str(INT8))

    again = load_run(run_project(project, "three", expression=args.expression).directory)

    after = verdicts_of_int8(again)
    assert {key: one.status for key, one in after.items()} == {key: one.status for key, one in before.items()}
    assert {one.case for one in again.judgement.verdicts} == {INT8}
    assert again.run["broken"] == whole.run["broken"], "vacuous floors are judged by the broken reference"
    # What it was compared with is named, and is no part of the run.
    assert again.run["companions"] == ["tiny/fp32@onnxruntime", "tiny/fp32@torch"]
    assert again.run["cases"] == list(again.cases) == [str(INT8)]
    assert {one.case for one in again.measurements} == {INT8}
    assert not again.run["complete"]
    report = (again.directory / "report.md").read_text()
    assert "Measured for comparison only: tiny/fp32@onnxruntime, tiny/fp32@torch." in report


def companions(project: Path, *cases: str, floors: Floors | None = None) -> list[str]:
    works = list_works(
        load_study(project / "tiny.toml"),
        [Case.parse(case) for case in cases],
        floors or Floors(study="tiny"),
    )
    assert [str(work.case) for work in works if not work.companion] == list(cases)
    return [str(work.case) for work in works if work.companion]


def test_the_same_network_in_float_and_what_floors_name_come_along_with_what_they_need(project: Path) -> None:
    (project / "tiny.toml").write_text(
        STUDY.replace('"torch"]', '"torch", "openvino"]')
        + '[[variant]]\nname = "pruned-int8"\nprecision = "int8"\noperations = ["prune:0.5,scope=layer"]\n'
        'runtimes = ["onnxruntime"]\n'
    )
    original = "tiny/fp32@onnxruntime"
    assert companions(project, original) == []
    assert companions(project, "tiny/fp32@torch") == [original]
    assert companions(project, "tiny/pruned-int8@onnxruntime") == [original, "tiny/pruned@onnxruntime"]
    floor = make_floor(
        "map50_95",
        Case.parse("tiny/fp32@openvino"),
        relative_to=Case.parse("tiny/pruned-int8@onnxruntime"),
        max_drop=0.01,
    )
    chained = companions(project, "tiny/fp32@openvino", floors=Floors(study="tiny", floors=(floor,)))
    assert chained == [original, "tiny/pruned@onnxruntime", "tiny/pruned-int8@onnxruntime"]


def test_int8_on_a_gpu_brings_the_fp16_that_it_has_to_beat(project: Path) -> None:
    text = STUDY.replace('["onnxruntime", "torch"]', '["onnxruntime", "onnxruntime-cuda"]')
    int8 = 'name = "{0}"\nprecision = "{0}"\nruntimes = ["onnxruntime-cuda"]\n'
    head = text[: text.index("[[variant]]")]
    first = text[text.index("[[variant]]") :].split("[[variant]]")[1]
    (project / "tiny.toml").write_text(
        "[[variant]]".join([head, first, *("\n" + int8.format(name) for name in ("fp16", "int8"))])
    )
    found = companions(project, "tiny/int8@onnxruntime-cuda")
    assert "tiny/fp16@onnxruntime-cuda" in found
    assert "tiny/fp16@onnxruntime-cuda" not in companions(project, "tiny/fp32@onnxruntime-cuda")


def test_a_reference_that_this_machine_has_not_brings_the_next_one(project: Path, monkeypatch) -> None:
    text = STUDY.replace('["onnxruntime", "torch"]', '["onnxruntime-cuda", "torch", "onnxruntime"]')
    (project / "tiny.toml").write_text(text)
    missing = {"onnxruntime-cuda": "it is planted"}
    monkeypatch.setattr(
        "slimgate.runtime.get_runtime",
        lambda name: SimpleNamespace(why_unavailable=lambda: missing.get(name)),
    )
    assert companions(project, "tiny/pruned@onnxruntime-cuda") == [
        "tiny/fp32@onnxruntime-cuda",
        "tiny/fp32@torch",
    ]
