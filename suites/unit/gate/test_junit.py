from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.errors import InputError
from slimgate.gate.junit import OF_GATE, FailedTest, causes_of_tests, read_failed_tests
from slimgate.plugin import study

XML = """\
<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="1" failures="2" tests="4">
<testcase classname="suites.parity.test_torch" name="test_scores[fp32]"><failure message="assert 3 == 4">at line 5
assert 3 == 4</failure></testcase>
<testcase classname="suites.size.test_size" name="test_size"><properties>
<property name="slimgate_of_gate" value="True" />
</properties><failure message="short">codes/int8@onnxruntime size_bytes: FAIL
  measured   9 bytes</failure></testcase>
<testcase classname="suites.size.test_size" name="test_green" />
<testcase classname="suites.size.test_size" name="test_skipped"><skipped message="no GPU" /></testcase>
<testcase classname="suites.nms.test_nms" name="test_broken"><error message="no fixture" /></testcase>
</testsuite></testsuites>
"""
HEAD = "codes/int8@onnxruntime size_bytes: FAIL"


def test_failed_and_broken_tests_are_read_with_all_that_they_said(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(XML)
    assert read_failed_tests(path) == [
        FailedTest(name="suites.nms.test_nms::test_broken", message="no fixture", of_gate=False),
        FailedTest(
            name="suites.parity.test_torch::test_scores[fp32]",
            message="at line 5\nassert 3 == 4",
            of_gate=False,
        ),
        FailedTest(
            name="suites.size.test_size::test_size", message=f"{HEAD}\n  measured   9 bytes", of_gate=True
        ),
    ]
    assert study.OF_GATE == OF_GATE, "what the plugin writes is what is read"


@pytest.mark.parametrize(
    ("attributes", "name"),
    [('classname="suites.size"', "suites.size::"), ('name="test_size"', "::test_size"), ("", "::")],
)
def test_a_test_goes_by_what_is_told_of_its_name(tmp_path: Path, attributes: str, name: str) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(f'<testsuite><testcase {attributes}><failure message="short" /></testcase></testsuite>')
    assert read_failed_tests(path) == [FailedTest(name=name, message="short", of_gate=False)]


@pytest.mark.parametrize(("text", "found"), [(None, "no such file"), (XML[:300], "cannot be read: ")])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, text: str | None, found: str) -> None:
    path = tmp_path / "junit.xml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=found) as raised:
        read_failed_tests(path)
    assert "pytest writes the file last" in str(raised.value)


def failed(name: str, message: str, *, of_gate: bool = True) -> FailedTest:
    return FailedTest(name=f"suites.test::{name}", message=message, of_gate=of_gate)


def titles(*tests: FailedTest) -> list[str]:
    return [cause.title for cause in causes_of_tests(tests, lane="latency", heads=[HEAD])]


def test_a_red_verdict_is_a_cause_already_and_another_test_is_one_of_its_own() -> None:
    known = failed("test_size", f"{HEAD}\n  measured   9 bytes")
    parity = failed("test_parity", "assert 0.3 < 0.1", of_gate=False)
    assert titles(known) == []
    assert titles(known, parity) == ["suites.test::test_parity: failed"]


def fingerprints(*tests: FailedTest) -> set[str]:
    return {cause.fingerprint for cause in causes_of_tests(tests, lane="latency", heads=())}


def test_the_same_test_has_the_same_fingerprint_whatever_it_says() -> None:
    one, other = (failed("test_parity", text, of_gate=False) for text in ("assert 1", "assert 2"))
    assert fingerprints(one) == fingerprints(other)
    assert fingerprints(one).isdisjoint(fingerprints(failed("test_other", "assert 1", of_gate=False)))


def test_a_gap_that_was_required_is_one_cause_per_reason() -> None:
    gaps = [
        failed(
            f"test_{number}",
            f"codes/a{number}@trt latency_ratio_b1: --require timing: no floors for gpu:{number}",
        )
        for number in range(3)
    ]
    idle = failed(
        "test_idle",
        "codes/a@trt: --require gpu: built, not run\n\ncodes/b@trt: --require gpu: built, not run",
    )
    own = failed("test_engine", "--require gpu: the driver is not installed", of_gate=False)
    assert titles(*gaps, idle, own) == [
        "latency: --require timing: no floors for gpu:#",
        "latency: --require gpu: built, not run",
        "latency: --require gpu: the driver is not installed",
    ]


def test_a_test_of_the_gate_that_broke_before_any_verdict_is_one_cause_per_message() -> None:
    broken = [failed(f"test_{number}", f"weights.pt: cut off after {number} bytes") for number in range(40)]
    (cause,) = causes_of_tests(broken, lane="accuracy", heads=[HEAD])
    assert cause.title == "accuracy: weights.pt: cut off after 0 bytes"
    assert "and 30 more, in the JUnit XML" in cause.to_markdown()


def test_many_failed_tests_are_one_cause() -> None:
    """What breaks so much is one thing, and nobody reads a hundred issues."""
    many = [failed(f"test_{number}", "ImportError", of_gate=False) for number in range(11)]
    assert len(causes_of_tests(many[:10], lane="slow", heads=())) == 10
    (cause,) = causes_of_tests(many, lane="slow", heads=())
    assert cause.title == "slow: 11 tests failed"
    assert "suites.test::test_10" in cause.to_markdown()
    (more,) = causes_of_tests([*many, failed("test_more", "x", of_gate=False)], lane="slow", heads=())
    assert more.fingerprint == cause.fingerprint


def test_fingerprints_do_not_change_with_the_release() -> None:
    """Issues are found by them: with others, every issue that is open would be opened a second time."""
    gap = failed("test_a", "codes/a@trt latency_ratio_b1: --require timing: no floors for gpu:1")
    broke = failed("test_b", "weights.pt: cut off")
    other = failed("test_c", "assert 1", of_gate=False)
    found = causes_of_tests([gap, broke, other], lane="latency", heads=())
    many = causes_of_tests([other] * 11, lane="latency", heads=())
    assert [cause.fingerprint for cause in (*found, *many)] == [
        "0ec9ad773bed",
        "72e8818c5973",
        "ec07bde58e3b",
        "13ec51affc4b",
    ]
