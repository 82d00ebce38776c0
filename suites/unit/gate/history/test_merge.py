from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from slimgate.errors import InputError
from slimgate.gate.history import Entry, History, merge_history

from fixtures.histories import FILE, run_name, started_at

MakeEntry = Callable[..., Entry]


@pytest.fixture
def other(tmp_path: Path) -> History:
    return History(tmp_path / "other")


def fill(history: History, entries: list[Entry]) -> None:
    for entry in entries:
        history.append(entry)


def ids(history: History) -> list[str]:
    return [entry.run_id for entry in history.load().entries]


def test_merging_is_a_union_by_run_id_in_the_order_of_the_starts(
    history: History, other: History, make_entry: MakeEntry
) -> None:
    """Two jobs took the same artifact and each added runs of its own."""
    runs = [make_entry(number) for number in range(7)]
    fill(history, [runs[0], runs[1], runs[2], runs[5]])
    fill(other, [runs[0], runs[1], runs[3], runs[4], runs[6]])
    before = (other.folder / FILE).read_bytes()
    merged = merge_history(history, other)
    assert (merged.added, merged.known, merged.complaints) == (3, 2, ())
    assert ids(history) == [run_name(number) for number in range(7)]
    assert (other.folder / FILE).read_bytes() == before
    again = merge_history(history, other)
    assert (again.added, again.known) == (0, 5)
    merge_history(other, history)
    assert (other.folder / FILE).read_bytes() == (history.folder / FILE).read_bytes()


def test_a_clock_that_was_set_back_turns_no_order_round(
    history: History, other: History, make_entry: MakeEntry
) -> None:
    jumped = make_entry(2, started=started_at(-300))
    fill(history, [make_entry(0), make_entry(1), jumped, make_entry(4)])
    fill(other, [make_entry(3), make_entry(5)])
    merge_history(history, other)
    assert ids(history) == [run_name(number) for number in (0, 1, 2, 3, 4, 5)]


def test_histories_that_disagree_about_an_order_keep_the_first_ones(
    history: History, other: History, make_entry: MakeEntry
) -> None:
    runs = [make_entry(number) for number in range(3)]
    fill(history, [runs[1], runs[0]])
    fill(other, [runs[0], runs[1], runs[2]])
    merge_history(history, other)
    assert sorted(ids(history)) == [run_name(number) for number in range(3)]
    assert ids(history).index(run_name(1)) < ids(history).index(run_name(0))


@pytest.mark.parametrize("doubled", ["ours", "theirs"])
def test_a_run_that_stands_twice_in_a_file_is_merged_once_as_it_was_first(
    history: History, other: History, make_entry: MakeEntry, doubled: str
) -> None:
    """Somebody put two histories together by hand."""
    runs = [make_entry(number) for number in range(3)]
    fill(history, [runs[0], runs[1]])
    fill(other, runs)
    whole = (other.folder / FILE).read_bytes()
    path = (history if doubled == "ours" else other).folder / FILE
    data = path.read_bytes()
    path.write_bytes(data + data.replace(b'"complete":true', b'"complete":false'))
    assert merge_history(history, other).added == 1
    assert (history.folder / FILE).read_bytes() == whole


def test_lines_that_were_cut_alike_do_not_stop_a_merge(
    history: History, other: History, make_entry: MakeEntry
) -> None:
    fill(history, [make_entry(0)])
    with (history.folder / FILE).open("ab") as file:
        file.write(b'{"cut\n{"cut\n')
    merge_history(other, history)
    fill(other, [make_entry(1)])
    assert merge_history(history, other).added == 1
    assert ids(history) == [run_name(0), run_name(1)]
    assert b'\n{"cut\n' in (history.folder / FILE).read_bytes()


def test_runs_of_another_machine_get_their_own_file(
    history: History, other: History, make_entry: MakeEntry
) -> None:
    fill(history, [make_entry(0)])
    fill(other, [make_entry(1, device="cpu:B")])
    merge_history(history, other)
    assert [path.name for path in history.files()] == ["cpu-amd-epyc-9r14.jsonl", "cpu-b.jsonl"]


def test_lines_that_cannot_be_read_are_kept_on_both_sides(
    history: History, other: History, make_entry: MakeEntry
) -> None:
    fill(history, [make_entry(0)])
    fill(other, [make_entry(1), make_entry(2, device="cpu:B")])
    for one, text in ((history, b'{"cut'), (other, b'{"format":"slimgate-history/9"}\n')):
        with (one.folder / FILE).open("ab") as file:
            file.write(text)
    merged = merge_history(history, other)
    (complaint,) = merged.complaints
    assert complaint.startswith(f"{other.folder / FILE}: line 2 format 'slimgate-history/9'")
    data = (history.folder / FILE).read_bytes().splitlines()
    assert (data[1], data[3]) == (b'{"cut', b'{"format":"slimgate-history/9"}')
    merge_history(history, other)
    assert (history.folder / FILE).read_bytes().splitlines() == data


def test_what_one_history_set_aside_stays_aside(
    history: History, other: History, make_entry: MakeEntry
) -> None:
    for one in (history, other):
        fill(one, [make_entry(0)])
        with (one.folder / FILE).open("ab") as file:
            file.write(b'{"cut')
    other.set_aside()
    merge_history(history, other)
    assert history.load().complaints == ()
    assert (history.folder / f"{FILE}.damaged").read_bytes() == b'{"cut\n'
    merge_history(other, history)
    assert other.load().complaints == ()


def test_lines_that_both_set_aside_are_kept_each_once(
    history: History, other: History, make_entry: MakeEntry
) -> None:
    for one, cut in ((history, b'{"here'), (other, b'{"there')):
        fill(one, [make_entry(0)])
        with (one.folder / FILE).open("ab") as file:
            file.write(cut)
        one.set_aside()
    for _ in range(2):
        merge_history(history, other)
        assert (history.folder / f"{FILE}.damaged").read_bytes() == b'{"here\n{"there\n'


def test_a_folder_that_is_not_there_is_refused(history: History, other: History) -> None:
    with pytest.raises(InputError, match="other: no such folder"):
        merge_history(history, other)
    assert not history.folder.exists()


def test_saved_benchmarks_are_united_and_none_is_overwritten(history: History, other: History) -> None:
    for one, names in ((history, {"0001_a.json": "1"}), (other, {"0001_a.json": "2", "0002_b.json": "3"})):
        folder = one.folder / "benchmarks" / "Linux-CPython-3.11-64bit"
        folder.mkdir(parents=True)
        for name, text in names.items():
            (folder / name).write_text(text)
    assert merge_history(history, other).benchmarks == 2
    assert merge_history(history, other).benchmarks == 0
    (folder / "0003_c.json").write_text("4")
    assert merge_history(history, other).benchmarks == 1
    folder = history.folder / "benchmarks" / "Linux-CPython-3.11-64bit"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "0001_a.json": "1",
        "0002_a.json": "2",
        "0003_b.json": "3",
        "0004_c.json": "4",
    }


def test_a_benchmark_whose_name_has_no_number_gets_one(history: History, other: History) -> None:
    for one, name in ((history, "0004_a.json"), (other, "own.json")):
        folder = one.folder / "benchmarks" / "Linux"
        folder.mkdir(parents=True)
        (folder / name).write_text(name)
    (other.folder / "benchmarks" / "Darwin").mkdir()
    (other.folder / "benchmarks" / "Darwin" / "own.json").write_text("first of its kind")
    assert merge_history(history, other).benchmarks == 2
    assert merge_history(history, other).benchmarks == 0
    saved = (history.folder / "benchmarks").rglob("*.json")
    assert sorted(f"{path.parent.name}/{path.name}" for path in saved) == [
        "Darwin/0001_own.json",
        "Linux/0004_a.json",
        "Linux/0005_own.json",
    ]
