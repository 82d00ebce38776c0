"""What a study file says is checked when it is read, and every complaint names file, line and key."""

from __future__ import annotations

import pytest
from slimgate.artifact import hash_file
from slimgate.cli import main
from slimgate.compress import OPERATIONS
from slimgate.compress.operation import OUTSIDE
from slimgate.errors import InputError
from slimgate.gate.tomlfile import read_toml
from slimgate.study import Store, load_study
from slimgate.study.locate import locate
from slimgate.study.operations import steps_from_texts
from slimgate.study.prepare import prepare_study

STUDY = """\
format = "slimgate-study/1"
id = "mine"
title = "Mine"
[detector]
weights = "weights/mine.safetensors"
[data]
evaluation = "data/val.json"
calibration = "codes:calib"
[protocol]
conf = 0.001
max_det = 300

[[variant]]
name = "fp32"
runtimes = ["onnxruntime"]

[[variant]]
name = "small"
operations = ["prune:0.3"]
precision = "int8"
runtimes = ["onnxruntime"]
int8 = { observer = "mse" }
"""


def test_the_study_as_it_is_can_be_read(write):
    assert load_study(write(STUDY)).protocol == {"conf": 0.001, "max_det": 300}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "conf = 0.001",
            'conf = "0.1"',
            r":10: protocol\.conf: is '0\.1'\n  expected: a fraction from 0 to 1",
        ),
        ("conf = 0.001", "conf = nan", r":10: protocol\.conf: is nan\n  expected: a fraction"),
        ("conf = 0.001", "conf = true", r":10: protocol\.conf: is True\n  expected: a fraction"),
        (
            "conf = 0.001",
            "deployed_conf = 50",
            r":10: protocol\.deployed_conf: is 50\n  expected: a fraction",
        ),
        (
            "max_det = 300",
            "max_det = 2.5",
            r":11: protocol\.max_det: is 2\.5\n  expected: a whole number, 1 or",
        ),
        (
            "max_det = 300",
            "max_det = 0",
            r":11: protocol\.max_det: is 0\n  expected: a whole number, 1 or more",
        ),
        ("max_det = 300", "multi_label = 1", r":11: protocol\.multi_label: is 1\n  expected: true or false"),
        ("max_det = 300", "max_dets = 1", r":11: protocol\.max_dets: unknown key; did you mean 'max_det'\?"),
        (
            '"mine"',
            '"my study"',
            r':2: id: is .*\n  expected: letters.*\n  what to do: write id = "my-study"',
        ),
        ('"mine"', '".."', r':2: id: is \'\.\.\'.*\n.*\n  what to do: write id = "mine"'),
        ('"small"', '"prune 30"', r""":18: variant\[1\]\.name: is 'prune 30'.*\n.*\n.*name = "prune-30\""""),
        (
            '"small"',
            '"a/b"',
            r""":18: variant\[1\]\.name: is 'a/b'.*\n.*\n  what to do: write name = "a-b\"""",
        ),
        (
            '"prune:0.3"',
            '"prun:0.3"',
            r":19: variant\[1\]\.operations: operation 'prun': .* did you mean 'prune'",
        ),
        ('"prune:0.3"', '"prune:3"', r":19: variant\[1\]\.operations: prune ratio '3': not a ratio"),
        ('"prune:0.3"', '"prune:0.3", "slim:0.3"', r":19: variant\[1\]\.operations: .*: slim after prune"),
        (
            '["onnxruntime"]\n\n',
            '["onnxruntim"]\n\n',
            r":15: variant\[0\]\.runtimes: 'onnxruntim' is an unknown ru",
        ),
        (
            '["onnxruntime"]\nint8',
            '["torch"]\nint8',
            r":21: variant\[1\]\.runtimes: torch runs the checkpoint in",
        ),
        ('observer = "mse"', "observer = 3", r":22: variant\[1\]\.int8\.observer: is 3"),
        (
            'int8 = { observer = "mse" }',
            "[variant.int8]\nobserver = 3",
            r":23: variant\[1\]\.int8\.observer: is 3",
        ),
        ('title = "Mine"\n', "", r"mine\.toml: title: is None\n  expected: a text"),
        ("[detector]", "[detektor]", r":4: detektor: unknown key"),
    ],
)
def test_what_is_wrong_is_found_with_its_line(write, before, after, message):
    assert before in STUDY
    with pytest.raises(InputError, match=message) as caught:
        load_study(write(STUDY.replace(before, after, 1)))
    assert "what to do: " in str(caught.value)


def test_fp16_of_a_checkpoint_is_refused_as_well(write):
    text = STUDY.replace('precision = "int8"\nruntimes = ["onnxruntime"]\nint8 = { observer = "mse" }', "{}")
    text = text.replace("{}", 'precision = "fp16"\nruntimes = ["onnxruntime", "torch"]')
    with pytest.raises(InputError, match=r"torch runs the checkpoint in float32, and the precision is fp16"):
        load_study(write(text))


def test_a_wrong_value_is_one_message_of_the_command(write, capsys):
    path = write(STUDY.replace("conf = 0.001", 'conf = "0.1"'))
    assert main(["study", str(path), "--list"]) == 2
    assert capsys.readouterr().err.startswith(f"slimgate: {path}:10: protocol.conf: is '0.1'")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("title", 3),
        ("[detector]", 4),
        ("data.also", 6),
        ("variant", 13),
        ("search", None),
        ("variant[0]", 13),
        ("variant[0].runtimes", 15),
        ("variant[0].operations", 13),
        ("variant[1].runtimes", 21),
        ("variant[1].int8.observer", 22),
    ],
)
def test_a_key_that_is_missing_is_placed_in_its_table(write, key, line):
    path = write(STUDY)
    file = read_toml(path, shown="s.toml", expected="a study file")
    assert locate(file, key) == ("s.toml" if line is None else f"s.toml:{line}")


def test_variants_written_as_an_array_have_no_line_of_their_own(write):
    text = STUDY.split("[[variant]]")[0].replace("[detector]", 'variant = [{ name = "a b" }]\n[detector]')
    with pytest.raises(InputError, match=r"mine\.toml: variant\[0\]\.runtimes: is None"):
        load_study(write(text))


def test_files_of_operations_lie_beside_the_study(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    texts = [
        "rederive:weights/a.safetensors",
        "finetune:2,teacher=../b.safetensors,data=data/data.yaml",
        "recalibrate:64",
        f"recalibrate:64,data={tmp_path}/data.yaml",
    ]
    first, second, third, fourth = steps_from_texts(texts, tmp_path / "studies")
    assert first.settings["weights"] == str(tmp_path / "studies" / "weights" / "a.safetensors")
    assert second.settings["teacher"] == str(tmp_path / "b.safetensors")
    assert second.settings["data"] == str(tmp_path / "studies" / "data" / "data.yaml")
    assert third.settings["data"] == "codes"
    assert fourth.settings["data"] == str(tmp_path / "data.yaml")


def test_an_operation_finds_its_file_whatever_the_current_folder_is(project, tmp_path, monkeypatch):
    file = project / "tiny.toml"
    operation = "rederive:weights/tiny.safetensors,match=first"
    file.write_text(file.read_text().replace("prune:0.5,scope=layer", operation))
    monkeypatch.chdir(tmp_path)
    study = load_study(file)
    spec = study.variants[2]
    case = next(case for case in study.cases if case.variant == spec.name)
    builder = prepare_study(study, [case], store=Store(tmp_path / "store")).builder
    assert builder.variant(spec).detector.lineage[-1].settings["weights"] == "tiny.safetensors"
    (outside,) = builder._operation_inputs(spec)["outside"]
    assert outside == {"weights": hash_file(project / "weights" / "tiny.safetensors")}


def test_every_setting_that_names_a_file_is_resolved():
    named = {
        name
        for operation in OPERATIONS.values()
        for name, setting in operation.settings.items()
        if setting.fingerprint is not None
    }
    assert named == OUTSIDE
