"""The -k expression."""

from __future__ import annotations

import pytest
from slimgate.errors import UsageError
from slimgate.flow import Case
from slimgate.study.select import select_cases

CASES = tuple(
    Case(study="codes", variant=variant, runtime=runtime)
    for variant in ("fp32", "int8", "prune30-global")
    for runtime in ("onnxruntime", "openvino")
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", [str(case) for case in CASES]),
        ("INT8", ["codes/int8@onnxruntime", "codes/int8@openvino"]),
        ("int8 and not openvino", ["codes/int8@onnxruntime"]),
        ("not (int8 or prune30) and openvino", ["codes/fp32@openvino"]),
        ("codes/fp32@openvino", ["codes/fp32@openvino"]),
        (
            "int8 or fp32 and openvino",
            ["codes/fp32@openvino", "codes/int8@onnxruntime", "codes/int8@openvino"],
        ),
    ],
)
def test_selects(expression, expected):
    assert [str(case) for case in select_cases(CASES, expression)] == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("int9", "selects none of 6 cases"),
        ("(int8", r"a '\)' is missing"),
        ("int8 openvino", "'openvino' was not expected"),
        ("int8 and", "a name is missing before 'the end'"),
        ("or int8", "a name is missing before 'or'"),
    ],
)
def test_refuses(expression, message):
    with pytest.raises(UsageError, match=message):
        select_cases(CASES, expression)


def test_a_whole_id_selects_that_case_alone():
    longer = Case(study="codes", variant="int8", runtime="onnxruntime-cuda")
    known = (*CASES, longer)
    assert select_cases(known, "codes/int8@onnxruntime") == (CASES[2],)
    assert select_cases(known, "Codes/INT8@onnxruntime or codes/fp32@openvino") == (CASES[1], CASES[2])
    assert select_cases(known, "int8@onnxruntime") == (CASES[2], longer)
