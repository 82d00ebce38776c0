from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slimgate.errors import InputError
from slimgate.flow import Case, Status, Verdict
from slimgate.gate import Judgement, NotProven, Waiver, apply_waivers, judge, load_waivers

from fixtures.goldens import FP32, INT8, make_floor, make_measurement, make_record

TODAY = dt.date(2026, 11, 23)
HERE, THERE = "cpu:Ada A1 (family 1 model 2), 2 cores", "cpu:Bell B2 (family 3 model 4), 8 cores"
TEXT = """\
format = "slimgate-waivers/1"

[[waiver]]
case = "codes/int8@onnxruntime"
metric = "map50_95"
owner = "Ada"
reason = "the new head is being trained"
expires = 2026-12-31
worst = 0.85

[[waiver]]
case = "codes/int8@openvino"
check = "pays/latency"
owner = "Grace"
reason = "the kernel is coming"
expires = 2026-12-31
"""


def read(folder: Path, text: str = TEXT) -> tuple[Waiver, ...]:
    (folder / "waivers.toml").write_text(text)
    return load_waivers(folder, today=TODAY)


def make_waiver(**changes: Any) -> Waiver:
    settings: dict[str, Any] = {
        "case": INT8,
        "subject": "map50_95",
        "owner": "Ada",
        "reason": "the new head is being trained",
        "expires": dt.date(2026, 12, 31),
        "where": "golden/waivers.toml:4",
    }
    return Waiver(**{**settings, **changes})


def make_verdict(value: float = 0.87, **changes: Any) -> Verdict:
    measurement = make_measurement(value=value)
    verdict = judge(measurement, make_floor(min=0.89, slack=0.02), record=make_record(measurement))
    return replace(verdict, **changes)


def settle(
    verdict: Verdict | None,
    *waivers: Waiver,
    full: bool = True,
    devices: Collection[str] = (HERE,),
    **judgement: Any,
) -> Judgement:
    before = Judgement(verdicts=(verdict,) if verdict else (), **judgement)
    return apply_waivers(before, waivers, cases=(INT8, FP32), full=full, today=TODAY, devices=devices)


def test_waivers_are_read_with_their_place(tmp_path: Path) -> None:
    first, second = read(tmp_path)
    assert first == make_waiver(worst=0.85, where=f"{tmp_path.name}/waivers.toml:4")
    assert (second.subject, second.worst, second.where) == (
        "pays/latency",
        None,
        f"{tmp_path.name}/waivers.toml:12",
    )


def test_no_file_is_no_waiver_and_neither_is_one_without_any(tmp_path: Path) -> None:
    assert load_waivers(tmp_path, today=TODAY) == ()
    assert read(tmp_path, 'format = "slimgate-waivers/1"\n') == ()


FAULTS = [
    (
        "waivers/1",
        "waivers/0",
        "waivers.toml:1: format: is 'slimgate-waivers/0', older than this",
        "what to do: write its waivers as golden/README.md shows them, then the format line",
    ),
    (
        "waivers/1",
        "waivers/2",
        "'slimgate-waivers/2', newer than this slimgate reads",
        "install the slimgate",
    ),
    ("slimgate-waivers/1", "x", "waivers.toml:1: format: is 'x'\n", "write that format line"),
    (
        "[[waiver]]\ncase",
        "[[waivers]]\ncase",
        "waivers.toml: waivers: unknown key; did you mean",
        "expected: one of format, most, waiver\n",
    ),
    ('owner = "Ada"', "", "waivers.toml:3: owner: is None", "expected: a text\n  what to do: write owner"),
    ('owner = "Ada"', 'owner = " "', "waivers.toml:6: owner: is ' '", "write owner"),
    ('owner = "Ada"', 'ownr = "Ada"', "waivers.toml:6: ownr: unknown key; did you mean 'owner'?", "correct"),
    ("expires = 2026-12-31\nworst", "worst", "expires: is None", "a date such as 2026-12-31, unquoted"),
    ("= 2026-12-31\nworst", '= "2026-12-31"\nworst', "expires: is '2026-12-31'", "unquoted"),
    (
        "2026-12-31\nworst",
        "2099-12-31\nworst",
        "expires: 2099-12-31 is 26701 days ahead\n  expected: at most 366 days from 2026-11-23\n",
        "what is tolerated for longer belongs into a floor",
    ),
    ('"map50_95"', '"mAP50-95"', "metric: unknown metric; did you mean 'map50_95'?", "correct the metric"),
    ('metric = "map50_95"\n', "", "case: has neither metric nor check", "name the one verdict"),
    (
        'metric = "map50_95"\n',
        'metric = "map50"\ncheck = "x"\n',
        "case: has metric and check",
        "one of the two",
    ),
    ('"pays/latency"', '"size_bytes"', "check: 'size_bytes' is a metric", "write metric = 'size_bytes'"),
    ('"pays/latency"', '"Pays *"', "check: is 'Pays *'", "write it out"),
    (
        '"codes/int8@openvino"',
        '"codes/*"',
        "case: 'codes/*' is not study/variant@runtime",
        "without patterns",
    ),
    ("worst = 0.85", "worst = 85", "waivers.toml:9: worst: 85 looks like percent", "write worst = 0.85"),
    (
        'check = "pays/latency"',
        'metric = "latency_ratio_b1"\nworst = 120',
        "worst: 120 looks like percent\n  expected: a ratio",
        "write worst = 1.2",
    ),
    ("worst = 0.85", "worst = true", "worst: is True", "a finite number in the metric's unit"),
    ('"pays/latency"', '"pays/latency"\nworst = 1', "worst: stands beside a check", "remove worst"),
    (
        'int8@openvino"\ncheck = "pays/latency"',
        'int8@onnxruntime"\nmetric = "map50_95"',
        "waivers.toml:12: case: a second waiver for map50_95 of codes/int8@onnxruntime",
        "remove one of the two, or name devices in both",
    ),
    ("worst = 0.85", 'devices = "any"', "waivers.toml:9: devices: is 'any'", "or leave devices out"),
    ("worst = 0.85", "devices = []", "devices: is []", "a list of device keys, each in quotes"),
    ("worst = 0.85", "devices = [3]", "devices: is [3]", "a list of device keys, each in quotes"),
    (
        "worst = 0.85",
        'devices = ["AMD EPYC"]',
        "waivers.toml:9: devices: has 'AMD EPYC'",
        "begins with cpu: or gpu:",
    ),
    ('"\n\n[[waiver]]', '"\nmost = 1\n\n[[waiver]]', "waiver: there are 2", "at most 1"),
    ('"\n\n[[waiver]]', '"\nmost = 21\n\n[[waiver]]', "most: is 21", "a whole number from 1 to 20"),
    ("owner", "= owner", "waivers.toml:6: not TOML: Invalid statement: = owner", "correct that line"),
]


@pytest.mark.parametrize(("old", "new", "found", "help_text"), FAULTS)
def test_a_fault_is_named_with_line_and_key(
    tmp_path: Path, old: str, new: str, found: str, help_text: str
) -> None:
    assert old in TEXT
    with pytest.raises(InputError) as raised:
        read(tmp_path, TEXT.replace(old, new, 1))
    assert found in str(raised.value)
    assert help_text in str(raised.value)


def test_a_waiver_may_end_a_year_ahead_and_not_a_day_later(tmp_path: Path) -> None:
    first, _ = read(tmp_path, TEXT.replace("2026-12-31", "2027-11-24", 1))
    assert first.expires == TODAY + dt.timedelta(days=366)
    with pytest.raises(InputError, match="expires: 2027-11-25 is 367 days ahead"):
        read(tmp_path, TEXT.replace("2026-12-31", "2027-11-25", 1))


SECOND = f"""{TEXT}
[[waiver]]
case = "codes/int8@onnxruntime"
metric = "map50_95"
owner = "Ada"
reason = "another kernel there"
expires = 2026-12-31
devices = ["{THERE}"]
"""


def test_one_verdict_may_have_a_waiver_for_each_device(tmp_path: Path) -> None:
    worst = "worst = 0.85"
    first, _, second = read(tmp_path, SECOND.replace(worst, f'{worst}\ndevices = ["{HERE}", "gpu:Ada"]'))
    assert (first.devices, second.devices) == ((HERE, "gpu:Ada"), (THERE,))
    for devices in ("", f'\ndevices = ["{HERE}", "{THERE}"]'):
        with pytest.raises(InputError, match=r"one on each device; the first is at .*:4"):
            read(tmp_path, SECOND.replace(worst, f"{worst}{devices}"))


def test_the_number_of_waivers_is_capped_unless_the_file_says_so(tmp_path: Path) -> None:
    head, _, block = TEXT.partition("\n\n[[waiver]]")
    block = block.partition("\n\n")[0]
    six = "".join(f"\n\n[[waiver]]{block}".replace("int8@", f"int8-{number}@") for number in range(6))
    with pytest.raises(InputError, match=r"waiver: there are 6\n  expected: at most 5\n.*set most, up to 20"):
        read(tmp_path, head + six)
    assert len(read(tmp_path, f"{head}\nmost = 6{six}")) == 6


def test_waivers_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"waiver: is no array of tables\n  expected: \[\[waiver\]\] tables"):
        read(tmp_path, 'format = "slimgate-waivers/1"\nwaiver = 3\n')


def test_a_waived_verdict_keeps_its_status_and_is_counted_apart() -> None:
    judgement = settle(make_verdict(), make_waiver())
    (verdict,) = judgement.verdicts
    assert (verdict.status, verdict.label) == (Status.FAIL, "WAIVED (FAIL)")
    assert verdict.message.splitlines()[0] == "codes/int8@onnxruntime map50_95: WAIVED (FAIL)"
    assert (
        "  waiver     until 2026-12-31 by Ada, golden/waivers.toml:4: the new head is being trained\n"
        "  reproduce  slimgate study -k"
    ) in verdict.message
    assert not judgement.is_red(strict_floors=True)
    assert judgement.summary() == "1 WAIVED, 0 not proven"
    assert judgement.findings == ()


def test_a_verdict_without_a_command_has_its_waiver_at_the_end() -> None:
    bare = make_verdict(message="codes/int8@onnxruntime map50_95: FAIL\n  measured   0.8700")
    (verdict,) = settle(bare, make_waiver()).verdicts
    assert verdict.message.splitlines() == [
        "codes/int8@onnxruntime map50_95: WAIVED (FAIL)",
        "  measured   0.8700",
        "  waiver     until 2026-12-31 by Ada, golden/waivers.toml:4: the new head is being trained",
    ]


def test_its_last_day_counts_and_the_next_one_does_not() -> None:
    assert not settle(make_verdict(), make_waiver(expires=TODAY)).is_red()
    judgement = settle(make_verdict(), make_waiver(expires=TODAY - dt.timedelta(days=1)))
    assert judgement.is_red()
    assert judgement.verdicts[0].label == "FAIL"
    assert "waiver     its waiver expired on 2026-11-22 (Ada, golden/waivers.toml:4: the new" in (
        judgement.verdicts[0].message
    )


def test_an_expired_waiver_is_red_even_when_nothing_else_is() -> None:
    judgement = settle(make_verdict(0.9), make_waiver(expires=TODAY - dt.timedelta(days=1)))
    (red,) = judgement.red()
    assert (red.case, red.metric, red.status) == (INT8, "map50_95", Status.INVALID)
    assert "nothing is red that it could waive: remove it" in red.message
    assert red.golden == "golden/waivers.toml:4"


@pytest.mark.parametrize("order", [1, -1])
def test_an_expired_waiver_is_nothing_for_another_of_the_same_verdict_to_cover(order: int) -> None:
    gpu = "gpu:Ada G1 driver 570"
    expired = make_waiver(devices=(gpu,), expires=TODAY - dt.timedelta(days=1))
    other = make_waiver(devices=(HERE,), where="golden/waivers.toml:12")
    judgement = settle(make_verdict(0.9), *[expired, other][::order], devices=(HERE, gpu))
    (red,) = judgement.red()
    assert red.golden == expired.where
    assert other.where not in red.message
    (finding,) = judgement.findings
    assert str(finding).startswith("unused waiver: golden/waivers.toml:12 (codes/")


@pytest.mark.parametrize("changes", [{"case": FP32}, {"subject": "map50"}, {"subject": "map50_9"}])
def test_only_the_exact_case_and_metric_are_covered(changes: dict[str, Any]) -> None:
    judgement = settle(make_verdict(), make_waiver(**changes))
    assert judgement.is_red()
    (finding,) = judgement.findings
    assert str(finding).startswith("unused waiver: golden/waivers.toml:4 (codes/")
    assert str(finding).endswith("): what it waives is not red: remove it")


def test_worse_than_its_worst_is_red_again() -> None:
    assert not settle(make_verdict(0.851), make_waiver(worst=0.85)).is_red()
    judgement = settle(make_verdict(0.849), make_waiver(worst=0.85))
    assert judgement.is_red()
    assert "golden/waivers.toml:4 does not cover it: worse than worst = 0.85" in judgement.verdicts[0].message
    larger = make_verdict(metric="size_bytes", measured=5.0)
    assert not settle(larger, make_waiver(subject="size_bytes", worst=6)).is_red()
    assert settle(larger, make_waiver(subject="size_bytes", worst=4)).is_red()
    assert settle(make_verdict(measured=None), make_waiver(worst=0.85)).is_red()


def test_what_cannot_be_judged_cannot_be_waived() -> None:
    judgement = settle(make_verdict(float("nan")), make_waiver())
    assert judgement.is_red()
    assert "golden/waivers.toml:4 does not cover it: what cannot be judged cannot be waived" in (
        judgement.verdicts[0].message
    )
    assert judgement.findings == ()


def test_a_check_is_waived_by_its_name() -> None:
    check = make_verdict(metric="pays/latency")
    assert not settle(check, make_waiver(subject="pays/latency")).is_red()
    assert settle(check, make_waiver(subject="pays/size")).is_red()


def test_a_waiver_of_another_device_covers_nothing_and_says_so() -> None:
    assert not settle(make_verdict(), make_waiver(devices=(THERE, HERE))).is_red()
    judgement = settle(make_verdict(), make_waiver(devices=(THERE,)))
    assert judgement.verdicts[0].label == "FAIL"
    assert (
        f"waiver     golden/waivers.toml:4 does not cover it: it is of {THERE}, and this is {HERE}\n"
        in judgement.verdicts[0].message
    )
    assert judgement.findings == ()
    judgement = settle(make_verdict(), make_waiver(devices=(THERE,)), devices=("gpu:Ada G1 driver 570", HERE))
    assert f", and this is {HERE} with gpu:Ada G1 driver 570\n" in judgement.verdicts[0].message


def test_a_waiver_of_another_device_is_not_unused_before_it_has_expired() -> None:
    green = make_verdict(0.9)
    judgement = settle(green, make_waiver(devices=(THERE,), expires=TODAY))
    assert (judgement.verdicts, judgement.findings) == ((green,), ())
    judgement = settle(green, make_waiver(devices=(THERE,), expires=TODAY - dt.timedelta(days=1)))
    assert judgement.verdicts == (green,)
    (finding,) = judgement.findings
    assert str(finding).endswith("): it expired on 2026-11-22, on another device: remove it")


def test_an_unused_waiver_is_a_finding_and_red_when_floors_are_strict() -> None:
    judgement = settle(make_verdict(0.9), make_waiver())
    assert judgement.verdicts[0].label == "PASS"
    assert not judgement.is_red()
    assert judgement.is_red(strict_floors=True)


ELSEWHERE = Case(study="codes", variant="gone", runtime="onnxruntime")


def test_a_partial_run_says_nothing_about_waivers_of_what_it_left_out() -> None:
    gone = make_waiver(case=ELSEWHERE, expires=TODAY - dt.timedelta(days=1))
    assert not settle(make_verdict(0.9), gone, full=False).is_red()
    assert settle(make_verdict(0.9), gone).is_red()
    (finding,) = settle(make_verdict(0.9), make_waiver(case=ELSEWHERE)).findings
    assert "the study has no such case: remove it" in str(finding)
    other = make_waiver(case=Case(study="other", variant="int8", runtime="onnxruntime"))
    assert settle(make_verdict(0.9), other).findings == ()


def test_a_waiver_of_what_was_not_measured_here_is_not_called_unused() -> None:
    gap = NotProven(case=INT8, metric="latency_ratio_b1", reason="no floors for this device")
    waiver = make_waiver(subject="latency_ratio_b1")
    assert settle(make_verdict(0.9), waiver, not_proven=(gap,)).findings == ()
    whole = make_verdict(metric="case", status=Status.INVALID)
    assert settle(whole, waiver).findings == ()
