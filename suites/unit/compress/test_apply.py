"""Operations from text: what is read, what is refused, and what may follow what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slimgate.compress import OPERATIONS, apply_operations, parse_operation
from slimgate.compress.apply import check_order
from slimgate.compress.operation import Operation, Workspace
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Step


@pytest.mark.parametrize(
    ("text", "ratio", "scope"),
    [
        ("prune:0.3", 0.3, "global"),
        ("prune:0", 0.0, "global"),
        ("prune:1", 1.0, "global"),
        (" prune : 0.3 , scope = layer ", 0.3, "layer"),
        ("prune:ratio=0.3,scope=global", 0.3, "global"),
        ("prune:scope=layer,ratio=3e-1", 0.3, "layer"),
    ],
)
def test_texts_that_are_read(text: str, ratio: float, scope: str) -> None:
    step = parse_operation(text)
    assert step == Step(operation="prune", settings={"ratio": ratio, "scope": scope})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "prun:0.3",
            r"operation 'prun': unknown operation; did you mean 'prune'\?\n  expected: one of .*prune, ",
        ),
        ("", r"operation '': unknown operation"),
        ("prune", r"operation 'prune': no ratio\n(.|\n)*write prune:0\.3"),
        ("prune:", r"operation 'prune': no ratio"),
        ("prune:30", r"prune ratio '30': not a ratio from 0 to 1; did you mean 0\.3\?"),
        ("prune:30%", r"prune ratio '30%': not a ratio from 0 to 1; did you mean 0\.3\?"),
        ("prune:-0.1", r"prune ratio '-0\.1': not a ratio from 0 to 1\n"),
        ("prune:300", r"prune ratio '300': not a ratio from 0 to 1\n"),
        ("prune:nan", r"prune ratio 'nan': not a ratio from 0 to 1\n"),
        ("prune:a", r"prune ratio 'a': not a ratio from 0 to 1\n(.|\n)*write a number from 0 to 1"),
        (
            "prune:0.3,layer",
            r"'layer' is not a setting\n  expected: prune:0\.3, then name=value of ratio, scope",
        ),
        ("prune:0.3,scop=layer", r"setting of prune 'scop': unknown setting of prune; did you mean 'scope'"),
        ("prune:0.3,scope=lyer", r"prune scope 'lyer': unknown prune scope; did you mean 'layer'"),
        ("prune:0.3,ratio=0.4", r"operation 'prune:0\.3,ratio=0\.4': ratio is given twice"),
    ],
)
def test_texts_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_operation(text)


@pytest.mark.parametrize("ratio", [30, True, None, [0.3]])
def test_recorded_settings_are_checked_as_well(tiny_detector: Detector, ratio: object) -> None:
    with pytest.raises(UsageError, match="not a ratio from 0 to 1"):
        apply_operations(tiny_detector, [Step(operation="prune", settings={"ratio": ratio})])


def test_nothing_is_applied_when_a_later_step_is_wrong(
    tiny_detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = []
    spy = replace(
        OPERATIONS["prune"], apply=lambda detector, settings, _: applied.append(settings) or detector
    )
    monkeypatch.setattr("slimgate.compress.OPERATIONS", {"prune": spy})
    good, bad = parse_operation("prune:0.1"), Step(operation="slim", settings={})
    with pytest.raises(UsageError, match="operation 'slim': unknown operation"):
        apply_operations(tiny_detector, [good, bad])
    assert applied == []
    apply_operations(tiny_detector, [good])
    assert applied == [{"ratio": 0.1, "scope": "global"}]


def test_no_steps_is_the_same_detector(tiny_detector: Detector) -> None:
    assert apply_operations(tiny_detector, []) is tiny_detector


def test_steps_add_up_in_the_lineage(tiny_detector: Detector) -> None:
    first = apply_operations(tiny_detector, [parse_operation("prune:0.2")])
    both = apply_operations(first, [parse_operation("prune:0.5")])
    assert [step.settings["ratio"] for step in both.lineage] == [0.2, 0.5]
    at_once = apply_operations(tiny_detector, [parse_operation("prune:0.2"), parse_operation("prune:0.5")])
    assert at_once.weights_sha256 == both.weights_sha256
    assert at_once.lineage == both.lineage


def test_a_lineage_from_a_later_version_is_refused(tiny_detector: Detector) -> None:
    later = replace(tiny_detector, lineage=(Step(operation="fold", settings={}),))
    with pytest.raises(
        InputError, match="lineage of tiny-ultralytics: it ends in 'fold', which is not known"
    ):
        apply_operations(later, [parse_operation("prune:0.2")])


def _operations(successors: dict[str, set[str]]) -> dict[str, Operation]:
    prune = OPERATIONS["prune"]
    return {n: replace(prune, name=n, successors=frozenset(after)) for n, after in successors.items()}


def test_the_order_is_checked_by_data() -> None:
    operations = _operations({"slim": {"slim", "prune"}, "prune": {"prune"}, "quantize": set()})
    check_order(["slim", "slim", "prune", "prune"], operations)
    with pytest.raises(
        UsageError, match="operations slim, prune, slim: slim after prune\n  expected: after prune: prune"
    ):
        check_order(["slim", "prune", "slim"], operations)
    with pytest.raises(UsageError, match="prune after quantize\n  expected: after quantize: nothing"):
        check_order(["quantize", "prune"], operations)


def test_what_was_done_before_counts_for_the_order(tiny_detector: Detector) -> None:
    from slimgate.compress.apply import apply_steps

    operations = _operations({"slim": {"prune"}, "prune": {"prune"}})
    pruned = replace(tiny_detector, lineage=(Step(operation="prune", settings={}),))
    with pytest.raises(UsageError, match="slim after prune"):
        apply_steps(pruned, [Step(operation="slim", settings={"ratio": 0.1})], operations, Workspace())


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_describes_itself(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation.name == name
    assert operation.successors <= set(OPERATIONS)
    assert operation.positional in operation.settings
    assert parse_operation(operation.example).operation == name
    assert operation.summary
    assert all(setting.meaning for setting in operation.settings.values())
