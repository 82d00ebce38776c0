"""A wrong command line is told in four parts: what, what was found, what is expected, what to do."""

from __future__ import annotations

import re

import pytest
from slimgate.cli import main


@pytest.mark.parametrize(
    ("line", "first", "expected", "action"),
    [
        (
            "export best.pt --precision int4",
            r"slimgate export: --precision int4: unknown value; did you mean 'int8'\?",
            r"one of fp32, fp16, int8",
            r"use one of them; 'slimgate export --help' says more",
        ),
        (
            "val best.pt --data d.yaml --batch x",
            r"slimgate val: --batch x: not a whole number",
            r"a whole number: images per network call \(default: 1\)",
            r"correct the value of --batch",
        ),
        (
            "val best.pt --data d.yaml --conf high",
            r"slimgate val: --conf high: not a number",
            r"a number: confidence of the per-class table",
            r"correct the value of --conf",
        ),
        (
            "study --strict-flors",
            r"slimgate study: --strict-flors: unknown option; did you mean '--strict-floors'\?",
            r"one of --help, --out, --golden",
            r"correct it or leave it out; 'slimgate study --help' explains every option",
        ),
        (
            "study --fast=1",
            r"slimgate study: --fast: unknown option",
            r"one of --help, --out",
            r"correct it or",
        ),
        (
            "study codes codes-slim",
            r"slimgate study: codes-slim: one argument too many",
            r"usage: slimgate study",
            r"correct it or leave it out",
        ),
        (
            "compress best.pt --op prune:0.3",
            r"slimgate compress: --out: missing",
            r"--out OUT \(checkpoint to write, with or without suffix\)",
            r"add --out OUT; 'slimgate compress --help' shows examples",
        ),
        (
            "compress",
            r"slimgate compress: MODEL, --op, --out: missing",
            r"MODEL \(\.safetensors, YOLOv5 \.pt or ultralytics \.pt\); --op OPERATION",
            r"add MODEL --op OPERATION --out OUT",
        ),
        (
            "val best.pt --data",
            r"slimgate val: --data: expected one argument",
            r"--data DATA: COCO \.json, YOLO data\.yaml",
            r"correct it; 'slimgate val --help' explains every option",
        ),
        (
            "train --run r --count many",
            r"slimgate train: --count: 'many' is not a whole number of 0 \(all\) or more",
            r"--count N: only the first N training pictures",
            r"correct it",
        ),
        (
            "train --run r --model a.pt --architecture yolov5s",
            r"slimgate train: --architecture: not allowed with argument --model",
            r"--architecture ARCHITECTURE: a name that slimgate",
            r"correct it",
        ),
        (
            "history --s x",
            r"slimgate history: arguments: ambiguous option: --s",
            r"usage: slimgate history",
            r"'slimgate history --help' explains every option",
        ),
        ("", r"slimgate: COMMAND: none is given", r"one of init, study, predict", r"slimgate --help"),
    ],
)
def test_a_wrong_command_line_is_one_message_of_four_parts(line, first, expected, action, capsys):
    with pytest.raises(SystemExit) as left:
        main(line.split())
    assert left.value.code == 2
    shown = capsys.readouterr().err
    assert re.match(first, shown), shown
    assert re.search(rf"\n  expected: {expected}", shown), shown
    assert re.search(rf"\n  what to do: {action}", shown), shown


def test_scratch_without_a_model_is_refused(tmp_path, capsys):
    assert main(["train", "--run", str(tmp_path / "run"), "--scratch"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("slimgate: --scratch: no --model beside it\n  expected: --model FILE")
    assert not (tmp_path / "run").exists()


def test_the_budget_of_a_search_is_an_option_that_it_has(tiny_detector):
    from slimgate.compress.search_space import search_space
    from slimgate.errors import UsageError

    with pytest.raises(UsageError, match=r"budget: 3\n.*\n  what to do: write --budget 0\.3$"):
        search_space(tiny_detector, budget=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "finetune:x",
            r"finetune epochs 'x': not a whole number\n.*\n  what to do: write epochs=1$",
        ),
        (
            "finetune:2,warmup=200",
            r"warmup '200': too large\n  expected: a number from 0 to 100\n.*write warmup=100$",
        ),
        ("finetune:2,warmup=-1", r"warmup '-1': too small\n.*\n  what to do: write warmup=0$"),
        ("finetune:2,warmup=long", r"warmup 'long': not a number\n.*\n  what to do: write warmup=0$"),
        (
            "finetune:2,data=",
            r"data '': no text\n.*\n  what to do: write data=\.\.\., or leave the setting out$",
        ),
    ],
)
def test_a_setting_out_of_range_says_what_to_write(text, message):
    from slimgate.compress import parse_operation
    from slimgate.errors import UsageError

    with pytest.raises(UsageError, match=message):
        parse_operation(text)
