from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slimgate.errors import InputError
from slimgate.flow import Status
from slimgate.gate import Finding, Judgement, load_run
from slimgate.gate.history import (
    Baseline,
    Entry,
    entry_from_json,
    entry_from_run,
    load_baselines,
    propose_baseline,
    resolve_baseline,
)

from fixtures.histories import MACHINE, judge_green, run_name, write_run

UNTIDY = Finding(kind="orphan record", subjects=("golden/records/a.json",), message="remove the file")

MakeEntry = Callable[..., Entry]

TOML = f"""\
format = "slimgate-baseline/1"

[[baseline]]
study = "codes"
device = "{MACHINE}"
run = "{run_name(1)}"
reason = "first nightly after the release"
date = 2026-11-23
smallest = {{ map50_95 = 0.003 }}
"""


def with_status(**changes: Any) -> Judgement:
    """Return a green judgement, but for its first verdict."""
    first, *others = judge_green().verdicts
    return Judgement(verdicts=(replace(first, **changes), *others))


def write(golden: Path, text: str) -> Path:
    golden.mkdir(exist_ok=True)
    (golden / "baseline.toml").write_text(text)
    return golden


def test_a_baseline_is_a_run_that_a_person_names(tmp_path: Path) -> None:
    assert load_baselines(write(tmp_path / "golden", TOML)) == (
        Baseline(
            study="codes",
            device=MACHINE,
            run=run_name(1),
            reason="first nightly after the release",
            date=dt.date(2026, 11, 23),
            smallest={"map50_95": 0.003},
            where="golden/baseline.toml:6",
        ),
    )
    assert load_baselines(tmp_path) == ()


FAULTS = [
    (
        '"slimgate-baseline/1"',
        '"slimgate-baseline/2"',
        "golden/baseline.toml:1: format: is 'slimgate-baseline/2', newer than this slimgate reads",
    ),
    (
        '"slimgate-baseline/1"',
        '"slimgate-baseline/0"',
        "is 'slimgate-baseline/0', older than this slimgate reads",
    ),
    (
        'format = "slimgate-baseline/1"',
        "",
        "golden/baseline.toml: format: is None\n  expected: 'slimgate-baseline/1'\n"
        "  what to do: write that format line",
    ),
    ("[[baseline]]", "[[baseline]", "golden/baseline.toml: not TOML"),
    ("[[baseline]]", "[baseline]", "golden/baseline.toml: baseline: is no array of tables"),
    (
        "study =",
        "studie =",
        "golden/baseline.toml:4: studie: unknown key; did you mean 'study'?\n"
        "  expected: one of study, device, run, reason, date, allow_dirty, smallest\n",
    ),
    ('study = "codes"', 'study = ""', "golden/baseline.toml:4: study: is ''\n  expected: a text"),
    ('reason = "first nightly after the release"', "", "golden/baseline.toml:3: reason: is None"),
    ("date = 2026-11-23", 'date = "yesterday"', "golden/baseline.toml:8: date: is 'yesterday'"),
    # An end of a line in Unicode is none in TOML, nor in an editor.
    ('release"\ndate = 2026-11-23', '\u2028release"\ndate = 3', "golden/baseline.toml:8: date: is 3"),
    ("date = 2026-11-23", "date = 2026-11-23T10:00:00", "date: is datetime.datetime(2026, 11, 23"),
    (
        "date =",
        "allow_dirty = 1\ndate =",
        "golden/baseline.toml:8: allow_dirty: is 1\n  expected: true or false",
    ),
    (
        "{ map50_95 = 0.003 }",
        "0.003",
        "golden/baseline.toml:9: smallest: is 0.003\n  expected: a table such as",
    ),
    (
        "map50_95 = 0.003",
        "map50 = 0",
        "baseline.toml:3: map50: is 0\n  expected: a change above 0 and below 1, in",
    ),
    ("map50_95 = 0.003", "map7 = 0.1", "map7: unknown metric; did you mean 'map75'?"),
    (f'device = "{MACHINE}"', "", "golden/baseline.toml:3: device: is None\n  expected: a text"),
    ("0.003", "3", "map50_95: is 3 and looks like percent"),
    ("map50_95 = 0.003", "latency_ratio_b1 = 3", "latency_ratio_b1: is 3 and looks like percent"),
    ("0.003", '"a lot"', "map50_95: is 'a lot'"),
    ("0.003", "true", "map50_95: is True"),
]


@pytest.mark.parametrize(("old", "new", "complaint"), FAULTS)
def test_a_file_that_breaks_the_schema_names_file_line_and_key(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    text = TOML.replace(old, new)
    assert text != TOML
    with pytest.raises(InputError, match=re.escape(complaint)):
        load_baselines(write(tmp_path / "golden", text))


def test_percent_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"what to do: write 0\.03"):
        load_baselines(write(tmp_path / "golden", TOML.replace("0.003", "3")))


def test_a_second_baseline_for_the_same_machine_is_refused(tmp_path: Path) -> None:
    twice = TOML + TOML[TOML.index("[[") :]
    with pytest.raises(InputError) as raised:
        load_baselines(write(tmp_path / "golden", twice))
    assert str(raised.value) == (
        f"golden/baseline.toml:12: device: a second baseline of 'codes' on '{MACHINE}'\n"
        "  expected: one; the first is at golden/baseline.toml:6\n"
        "  what to do: remove one of the two"
    )


@pytest.fixture
def pinned(tmp_path: Path) -> Baseline:
    (baseline,) = load_baselines(write(tmp_path / "golden", TOML))
    return baseline


def test_the_named_run_is_found(pinned: Baseline, make_entry: MakeEntry) -> None:
    entries = [make_entry(number) for number in range(3)]
    assert resolve_baseline(pinned, entries) is entries[1]


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        ({"red": "map50_95"}, "is red (codes/int8@onnxruntime map50_95 FAIL)"),
        ({"complete": False, "filter": "int8"}, "is partial (-k 'int8')"),
        ({"complete": False}, "is partial"),
        (
            {"git": {"commit": "12", "dirty": True}},
            "ran code that no commit holds (allow_dirty = true takes it",
        ),
        ({"git": {}}, "ran code that no commit holds"),
        (
            {"judgement": with_status(waived="until 2026-12-31 by Ada: r", status=Status.FAIL)},
            "is green only for its waivers (1 waived)",
        ),
        (
            {"judgement": with_status(status=Status.STALE)},
            "is red under --strict-floors (1 STALE: tighten those floors)",
        ),
        (
            {"judgement": replace(judge_green(), findings=(UNTIDY,))},
            "is red under --strict-floors (untidy golden files: see its findings)",
        ),
    ],
)
def test_a_run_that_is_no_evidence_never_becomes_a_baseline(
    pinned: Baseline, make_entry: MakeEntry, run: dict[str, object], complaint: str
) -> None:
    entry = make_entry(1, **run)
    with pytest.raises(InputError) as raised:
        resolve_baseline(pinned, [entry])
    assert str(raised.value).startswith(f"golden/baseline.toml:6: run: '{run_name(1)}' {complaint}")
    assert "a red run never becomes a baseline" in str(raised.value)
    assert propose_baseline([entry], "codes", MACHINE, today="2026-11-23") == ""


def test_a_run_of_a_session_in_which_too_little_ran_never_becomes_a_baseline(
    pinned: Baseline, tmp_path: Path
) -> None:
    files = load_run(write_run(tmp_path / "run", 1))
    assert resolve_baseline(pinned, [entry_from_run(files)]).failed_by == ()
    short = entry_from_run(files, failed_by=["3 cases ran on gpu, --slimgate-min-cases asks for 9"])
    with pytest.raises(
        InputError, match=r"failed its session \(3 cases ran on gpu, --slimgate-min-cases asks for 9\)"
    ):
        resolve_baseline(pinned, [short])
    assert not short.red


def test_a_line_of_before_says_by_its_counts_that_it_was_stale_or_waived(make_entry: MakeEntry) -> None:
    raw = make_entry(1, judgement=with_status(status=Status.STALE)).raw
    verdict = {key: raw["verdict"][key] for key in ("red", "counts", "red_verdicts")}
    old = entry_from_json({**raw, "verdict": verdict})
    assert (old.red, old.strict_red, old.waived, old.failed_by) == (False, True, 0, ())


def test_uncommitted_code_can_be_allowed(tmp_path: Path, make_entry: MakeEntry) -> None:
    text = TOML.replace("date =", "allow_dirty = true\ndate =")
    (baseline,) = load_baselines(write(tmp_path / "golden", text))
    entry = make_entry(1, git={"commit": "12", "dirty": True})
    assert resolve_baseline(baseline, [entry]) is entry


def test_a_run_that_is_not_there_or_of_another_machine_is_refused(
    pinned: Baseline, make_entry: MakeEntry
) -> None:
    with pytest.raises(
        InputError,
        match=f"the history has no run '{run_name(1)}'; did you mean '{run_name(2)}'.*\n"
        "  expected: the id of a run of the history\n  what to do: merge the history that has it",
    ):
        resolve_baseline(pinned, [make_entry(2)])
    with pytest.raises(
        InputError, match=f"is a run of 'codes' on 'cpu:B'\n  expected: a run of 'codes' on '{MACHINE}'"
    ):
        resolve_baseline(pinned, [make_entry(1, device="cpu:B")])


def test_the_newest_fit_run_is_proposed_as_toml(tmp_path: Path, make_entry: MakeEntry) -> None:
    fit = [make_entry(number) for number in range(3)]
    entries = [*fit, make_entry(3, red="map50_95"), make_entry(4, device="cpu:B")]
    text = propose_baseline(entries, "codes", MACHINE, today="2026-11-23")
    filled = text.replace('reason = ""', 'reason = "it is"')
    (baseline,) = load_baselines(write(tmp_path / "golden", f'format = "slimgate-baseline/1"\n{filled}'))
    assert resolve_baseline(baseline, entries) is fit[-1]
