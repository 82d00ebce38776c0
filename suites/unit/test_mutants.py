"""The script of .ci that tries mutants: what it calls wording, and what a fresh process says."""

from __future__ import annotations

import importlib
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from fixtures import fault_table
from fixtures.workflows import ROOT

MADE = """
class _Reader:
    def xǁ_Readerǁerror__mutmut_orig(self, key, found, expected, action, block=None):
        return InputError(key, found=found, expected=expected, action=action)
    def xǁ_Readerǁread__mutmut_orig(self, value):
        raise self.error("worst key", f"is {value!r}", "a finite number", f"write {value}", 1)
    def xǁ_Readerǁread__mutmut_1(self, value):
        raise self.error("worst key", f"is {value!r}", "A FINITE NUMBER", f"write {value}", 1)
    def xǁ_Readerǁread__mutmut_2(self, value):
        raise self.error("worst key", f"is {value!r}", None, f"write {value}", 1)
    def xǁ_Readerǁread__mutmut_3(self, value):
        raise self.error("WORST KEY", f"is {value!r}", "a finite number", f"write {value}", 1)
    def xǁ_Readerǁread__mutmut_4(self, value):
        raise self.error("worst key", f"is {value!r}", "a finite number", f"write {value}", 2)
    def xǁ_Readerǁread__mutmut_5(self, value):
        raise self.error("worst key", f"is {value!r}", f"write {value}", 1)

def x_read__mutmut_orig(path, action="run it again"):
    raise InputError(path, found="cut off here", expected=", ".join(["a b"]), action="run it " + "again, all of it")
def x_read__mutmut_1(path, action="run it again"):
    raise InputError(path, found="cut off here", expected=", ".join(["a b"]), action="run it " + "XXagain, all of itXX")
def x_read__mutmut_2(path, action="run it again"):
    raise InputError(path, found="XXcut off hereXX", expected=", ".join(["a b"]), action="run it " + "again, all of it")
def x_read__mutmut_3(path, action="run it again"):
    raise InputError(path, found="cut off here", expected="XX, XX".join(["a b"]), action="run it " + "again, all of it")
def x_read__mutmut_4(path, action="XXrun it againXX"):
    raise InputError(path, found="cut off here", expected=", ".join(["a b"]), action="run it " + "again, all of it")
def x_read__mutmut_5(path, action="run it again"):
    raise InputError(path, found="cut off here", expected=", ".join(["a b"]), action="run it " - "again, all of it")

def x_tell__mutmut_orig():
    return "a text that people read"
def x_tell__mutmut_1():
    return "A TEXT THAT PEOPLE READ"
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the script's names, with a stage and a result of its own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    names = runpy.run_path(str(ROOT / ".ci" / "mutants.py"))
    there = names["write_result"].__globals__
    there["STAGE"], there["RESULT"] = tmp_path / "stage", tmp_path / "results" / "mutants.json"
    return there


def put_stage(script: dict[str, Any], room: str, outcomes: dict[str, int | None]) -> Path:
    mutants: Path = script["STAGE"] / room / "mutants"
    folder = mutants / "src" / "slimgate" / room
    folder.mkdir(parents=True)
    (folder / "thing.py").write_text(MADE, encoding="utf-8")
    (folder / "thing.py.meta").write_text(json.dumps({"exit_code_by_key": outcomes}), encoding="utf-8")
    return mutants


def test_the_mutants_that_a_run_begins_with_are_of_functions_that_exist(script: dict[str, Any]) -> None:
    assert set(script["FIRST"]) == set(script["ROOMS"])
    for name in script["FIRST"].values():
        module, _, function = name.removesuffix("__mutmut_1").rpartition(".x_")
        assert callable(getattr(importlib.import_module(module), function))
    for paths in script["ROOMS"].values():
        for path in paths:
            file, _, test = path.removeprefix("--deselect=").partition("::")
            assert (ROOT / file).exists()
            assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("own", "wording"),
    [
        ("xǁ_Readerǁread__mutmut_1", True),
        ("xǁ_Readerǁread__mutmut_2", False),
        ("xǁ_Readerǁread__mutmut_3", False),
        ("xǁ_Readerǁread__mutmut_4", False),
        ("xǁ_Readerǁread__mutmut_5", False),
        ("x_read__mutmut_1", True),
        ("x_read__mutmut_2", False),
        ("x_read__mutmut_3", False),
        ("x_read__mutmut_4", False),
        ("x_read__mutmut_5", False),
        ("x_tell__mutmut_1", False),
    ],
)
def test_wording_is_prose_that_a_message_expects_or_advises(
    script: dict[str, Any], own: str, wording: bool
) -> None:
    put_stage(script, "gate", {})
    assert script["Mutant"](f"slimgate.gate.thing.{own}").is_wording() is wording


def test_what_survived_is_counted_by_kind_and_reasons_are_kept(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, read = "slimgate.gate.thing.xǁ_Readerǁread__mutmut_", "slimgate.gate.thing.x_read__mutmut_"
    codes = {
        f"{reader}1": 0,
        f"{reader}2": 0,
        f"{reader}3": 1,
        f"{reader}4": 33,
        f"{read}1": 0,
        f"{read}2": 0,
        f"{read}5": None,
    }
    put_stage(script, "gate", codes)
    monkeypatch.setitem(script, "check_types", lambda _: {f"{read}1", f"{reader}3"})
    script["RESULT"].parent.mkdir()
    known = {"survivors": [{"mutant": f"{read}2", "why": "nobody minds"}]}
    script["RESULT"].write_text(json.dumps(known), encoding="utf-8")
    script["write_result"](script["argparse"].Namespace(seed=7))
    result = json.loads(script["RESULT"].read_text(encoding="utf-8"))
    assert result["rooms"]["gate"] == {
        "mutants": 7,
        "tried": 6,
        "killed": 1,
        "typed": 1,
        "survived": 2,
        "wording": 1,
        "untested": 1,
    }
    assert [(one["function"], one["why"]) for one in result["survivors"]] == [
        ("gate.thing.read", "nobody minds"),
        ("gate.thing._Reader.read", ""),
    ]
    assert (
        result["survivors"][1]["before"].strip().endswith("""!r}", "a finite number", f"write {value}", 1)""")
    )
    assert result["survivors"][1]["after"].strip().endswith("""!r}", None, f"write {value}", 1)""")
    monkeypatch.setattr(fault_table, "RESULTS", script["RESULT"].parent)
    document = fault_table.document_from("<!-- faults:mutants -->\n<!-- /faults -->", [], {})
    assert "\n| gate | 7 | 6 | 1 | 1 | 2 | 1 | 1 |\n" in document
    assert "| gate.thing.read | `" in document


TYPED = """
class Reader:
    def xǁReaderǁ__init____mutmut_orig(self, path: str) -> None:
        self.path = path
    def xǁReaderǁ__init____mutmut_1(self, path: str) -> None:
        self.path = path.upper()
    def xǁReaderǁ__init____mutmut_2(self, path: str) -> None:
        self.path = path + 1

def x_read__mutmut_orig(path: str) -> str:
    unknown(path)
    return path.strip()
def x_read__mutmut_1(path: str) -> str:
    unknown(path)
    return None
def x_read__mutmut_2(path: str) -> str:
    unknown(path)
    return path.lstrip()
"""


def test_a_mutant_that_the_type_checker_refuses_is_told_from_what_it_always_says(
    script: dict[str, Any],
) -> None:
    pytest.importorskip("mypy")
    mutants = put_stage(script, "detect", {})
    (mutants / "src" / "slimgate" / "detect" / "thing.py").write_text(TYPED, encoding="utf-8")
    assert script["check_types"]("detect") == {
        "slimgate.detect.thing.xǁReaderǁ__init____mutmut_2",
        "slimgate.detect.thing.x_read__mutmut_1",
    }


def test_a_type_checker_that_cannot_check_is_no_kill(script: dict[str, Any]) -> None:
    pytest.importorskip("mypy")
    mutants = put_stage(script, "detect", {})
    (mutants / "src" / "slimgate" / "detect" / "thing.py").write_text("def cut(:", encoding="utf-8")
    with pytest.raises(SystemExit, match="mypy could not check detect"):
        script["check_types"]("detect")


@pytest.mark.parametrize(
    ("test", "code"),
    [
        ("assert os.environ['MUTANT_UNDER_TEST'] == 'slimgate.measure.thing.x_read__mutmut_1'", 0),
        ("assert os.environ['PYTHONPATH'].split(os.pathsep)[0] != str(pathlib.Path('src').resolve())", 1),
        ("time.sleep(60)", 36),
    ],
)
def test_a_mutant_is_tried_in_a_fresh_process(script: dict[str, Any], test: str, code: int) -> None:
    name = "slimgate.measure.thing.x_read__mutmut_1"
    mutants = put_stage(script, "measure", {name: None})
    (mutants / "test_thing.py").write_text(
        f"import os, pathlib, time\ndef test_it():\n    {test}\n", encoding="utf-8"
    )
    assert script["try_fresh"](mutants, name, [], 9.0) == 33
    assert script["try_fresh"](mutants, name, ["test_thing.py"], 1.0 if code == 36 else 60.0) == code
    script["record_outcome"]("measure", name, code)
    assert script["read_outcomes"]("measure") == {name: code}


@pytest.mark.parametrize("asked", ["test_thing.py", "test_thing.py::test_it"])
def test_tests_that_cannot_be_imported_any_more_are_a_kill(script: dict[str, Any], asked: str) -> None:
    mutants = put_stage(script, "measure", {})
    (mutants / "test_thing.py").write_text("raise TypeError\ndef test_it():\n    pass\n", encoding="utf-8")
    assert script["try_fresh"](mutants, "slimgate.measure.thing.x_read__mutmut_1", [asked], 60.0) == 1


def test_tests_that_are_not_there_are_no_kill(script: dict[str, Any]) -> None:
    mutants = put_stage(script, "measure", {})
    with pytest.raises(SystemExit, match="pytest could not run its tests"):
        script["try_fresh"](mutants, "slimgate.measure.thing.x_read__mutmut_1", ["test_gone.py"], 60.0)
