from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slimgate.errors import InputError, UnavailableError
from slimgate.gate.history import Entry, History, branch, sync_branch

from fixtures.histories import FILE, run_name
from fixtures.workflows import put_in_place

MakeEntry = Callable[..., Entry]
BRANCH = "slimgate-history"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    return subprocess.run(
        ("git", "-C", str(folder), *identity, *arguments), capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "README.md").write_text("code")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "code")
    return folder


@pytest.fixture
def remote(tmp_path: Path, repository: Path) -> Path:
    git(tmp_path, "init", "-q", "--bare", "remote")
    git(repository, "remote", "add", "origin", str(tmp_path / "remote"))
    return tmp_path / "remote"


def ids(history: History) -> set[str]:
    return {entry.run_id for entry in history.load().entries}


def test_a_branch_of_its_own_is_made_and_the_code_is_not_touched(
    history: History, make_entry: MakeEntry, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    history.append(make_entry(0))
    (repository / "README.md").write_text("being edited")
    git(repository, "add", ".")
    synced = sync_branch(history, BRANCH, repository=repository)
    assert git(repository, "rev-parse", BRANCH).strip() == synced.commit
    assert (synced.fetched.added, synced.fetched.known) == (0, 0), "there was nothing to fetch"
    assert git(repository, "ls-tree", "-r", "--name-only", BRANCH) == f"{FILE}\n"
    assert git(repository, "log", "--format=%an %s", BRANCH) == "slimgate History of slimgate runs\n"
    assert sync_branch(history, BRANCH, repository=repository).commit is None
    history.append(make_entry(1))
    assert sync_branch(history, BRANCH, repository=repository).commit
    assert git(repository, "status", "--short") == "M  README.md\n"
    assert git(repository, "branch", "--show-current") == "main\n"


def test_two_machines_have_the_same_history_after_each_has_synchronised(
    history: History, make_entry: MakeEntry, repository: Path, remote: Path, tmp_path: Path
) -> None:
    other = History(tmp_path / "other")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(remote), str(clone))
    history.append(make_entry(0))
    other.append(make_entry(1))
    sync_branch(history, BRANCH, repository=repository, remote="origin")
    synced = sync_branch(other, BRANCH, repository=clone, remote="origin")
    assert (synced.fetched.added, synced.attempts) == (1, 1)
    assert ids(other) == {run_name(0), run_name(1)}
    assert sync_branch(history, BRANCH, repository=repository, remote="origin").fetched.added == 1
    assert (history.folder / FILE).read_bytes() == (other.folder / FILE).read_bytes()
    assert git(remote, "rev-list", "--count", BRANCH) == "2\n"


def test_writers_at_the_same_time_lose_nothing(
    make_entry: MakeEntry, repository: Path, remote: Path, tmp_path: Path
) -> None:
    folders = [History(tmp_path / f"h{number}") for number in range(3)]
    for number, one in enumerate(folders):
        one.append(make_entry(number))
    threads = [
        threading.Thread(
            target=sync_branch, args=(one, BRANCH), kwargs={"repository": repository, "remote": "origin"}
        )
        for one in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    final = History(tmp_path / "final")
    sync_branch(final, BRANCH, repository=repository, remote="origin")
    assert ids(final) == {run_name(number) for number in range(3)}


def test_who_comes_second_merges_the_first_and_tries_again(
    history: History, make_entry: MakeEntry, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster = History(tmp_path / "faster")
    faster.append(make_entry(1))
    history.append(make_entry(0))
    write_tree = branch._write_tree

    def let_another_pass(*arguments: object) -> str:
        monkeypatch.setattr(branch, "_write_tree", write_tree)
        sync_branch(faster, BRANCH, repository=repository)
        return write_tree(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(branch, "_write_tree", let_another_pass)
    assert sync_branch(history, BRANCH, repository=repository).attempts == 2
    assert ids(history) == {run_name(0), run_name(1)}


def test_from_a_folder_below_the_repository_nothing_of_the_branch_is_lost(
    history: History, make_entry: MakeEntry, repository: Path, tmp_path: Path
) -> None:
    below = repository / "docs"
    below.mkdir()
    other = History(tmp_path / "other")
    history.append(make_entry(0))
    other.append(make_entry(1))
    sync_branch(history, BRANCH, repository=below)
    assert git(repository, "ls-tree", "-r", "--name-only", BRANCH) == f"{FILE}\n"
    assert sync_branch(other, BRANCH, repository=below).fetched.added == 1
    fresh = History(tmp_path / "fresh")
    sync_branch(fresh, BRANCH, repository=repository)
    assert ids(fresh) == {run_name(0), run_name(1)}


def test_a_tree_that_lacks_something_of_the_branch_is_not_published(
    history: History, make_entry: MakeEntry, repository: Path, tmp_path: Path
) -> None:
    history.append(make_entry(0))
    sync_branch(history, BRANCH, repository=repository)
    (tmp_path / "strange").write_text("{cut")
    blob = git(repository, "hash-object", "-w", str(tmp_path / "strange")).strip()
    folder = git(repository, "rev-parse", f"{BRANCH}:codes").strip()
    planted = subprocess.run(
        ("git", "-C", str(repository), "mktree"),
        input=f"040000 tree {folder}\tcodes\n100644 blob {blob}\t.hidden.jsonl\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    commit = git(repository, "commit-tree", planted, "-p", BRANCH, "-m", "by hand").strip()
    git(repository, "update-ref", f"refs/heads/{BRANCH}", commit)
    # Files whose name begins with a dot are nobody's history, so this one would not be written back.
    with pytest.raises(InputError, match=r"branch '.*': would lose what it holds in \.hidden\.jsonl\n"):
        sync_branch(history, BRANCH, repository=repository)
    assert git(repository, "rev-parse", BRANCH).strip() == commit


def test_a_benchmark_that_gets_another_number_and_lines_set_aside_are_not_lost(
    history: History, make_entry: MakeEntry, repository: Path, tmp_path: Path
) -> None:
    other = History(tmp_path / "other")
    for one, name in ((history, "0001_a.json"), (other, "0001_b.json")):
        one.append(make_entry(0))
        saved = one.folder / "benchmarks" / "Linux" / name
        saved.parent.mkdir(parents=True)
        saved.write_text(name)
    with (history.folder / FILE).open("ab") as file:
        file.write(b'{"cut\n')
    sync_branch(history, BRANCH, repository=repository)
    assert sync_branch(other, BRANCH, repository=repository).fetched.benchmarks == 1
    assert "benchmarks/Linux/0002_a.json" in git(repository, "ls-tree", "-r", "--name-only", BRANCH)
    assert other.set_aside()
    assert sync_branch(other, BRANCH, repository=repository).commit


def test_damaged_lines_of_the_branch_are_told_with_its_name_and_kept(
    history: History, make_entry: MakeEntry, repository: Path, tmp_path: Path
) -> None:
    history.append(make_entry(0))
    with (history.folder / FILE).open("ab") as file:
        file.write(b'{"cut')
    sync_branch(history, BRANCH, repository=repository)
    fresh = History(tmp_path / "fresh")
    (complaint,) = sync_branch(fresh, BRANCH, repository=repository).fetched.complaints
    assert complaint.startswith(f"{BRANCH}:{FILE}: line 2 is cut off, or not JSON")
    assert git(repository, "show", f"{BRANCH}:{FILE}").endswith('\n{"cut\n')


def test_saved_benchmarks_travel_with_the_runs(
    history: History, make_entry: MakeEntry, repository: Path, tmp_path: Path
) -> None:
    history.append(make_entry(0))
    folder = history.folder / "benchmarks" / "Linux-CPython-3.11-64bit"
    folder.mkdir(parents=True)
    for number in (1, 2):
        (folder / f"000{number}_a.json").write_text(str(number))
    sync_branch(history, BRANCH, repository=repository)
    fresh = History(tmp_path / "fresh")
    assert sync_branch(fresh, BRANCH, repository=repository).fetched.benchmarks == 2
    saved = sorted((fresh.folder / "benchmarks").rglob("*.json"))
    assert [path.read_text() for path in saved] == ["1", "2"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("fatal: unable to read 1f8c2a9d40\n", "fatal: unable to read 1f8c2a9d40"),
        ("warning: a pack is old\nfatal: unable to read 1f8c2a9d40\n", "fatal: unable to read 1f8c2a9d40"),
        ("hint: a pack is old\nerror: sha1 mismatch 1f8c2a9d40\n", "error: sha1 mismatch 1f8c2a9d40"),
        ("Segmentation fault\n", "Segmentation fault"),
        ("", "exit code 128"),
    ],
)
def test_a_file_that_git_cannot_give_stops_it_and_moves_nothing(
    history: History,
    make_entry: MakeEntry,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    told: str,
) -> None:
    history.append(make_entry(0))
    sync_branch(history, BRANCH, repository=repository)
    before = git(repository, "rev-parse", BRANCH)
    call = branch._Git._call

    def planted(self: branch._Git, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        done = call(self, *arguments, **options)
        if arguments[0] != "cat-file":
            return done
        return subprocess.CompletedProcess(done.args, 128, b"", said.encode())

    monkeypatch.setattr(branch._Git, "_call", planted)
    history.append(make_entry(1))
    # Else the branch would seem to hold no run, and its runs would be dropped from it.
    with pytest.raises(InputError, match=f"git cat-file: failed: {told}\n"):
        sync_branch(history, BRANCH, repository=repository)
    assert git(repository, "rev-parse", BRANCH) == before


def test_a_branch_of_code_is_refused(history: History, make_entry: MakeEntry, repository: Path) -> None:
    history.append(make_entry(0))
    before = git(repository, "rev-parse", "main")
    with pytest.raises(InputError, match=r"branch 'main': holds other files than a history: README\.md"):
        sync_branch(history, "main", repository=repository)
    assert git(repository, "rev-parse", "main") == before


def test_what_git_cannot_do_is_one_message(
    history: History, make_entry: MakeEntry, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.append(make_entry(0))
    with pytest.raises(InputError, match=r"branch 'a\.\.b': is no name for a branch"):
        sync_branch(history, "a..b", repository=repository)
    with pytest.raises(InputError, match="remote 'nowhere': cannot be reached: fatal: 'nowhere' does not"):
        sync_branch(history, BRANCH, repository=repository, remote="nowhere")
    (tmp_path / "plain").mkdir()
    with pytest.raises(InputError, match="plain: is in no git repository\n  expected: the repository that"):
        sync_branch(history, BRANCH, repository=tmp_path / "plain")
    monkeypatch.setattr(branch, "_ATTEMPTS", 2)
    (repository / ".git" / "refs" / "heads" / f"{BRANCH}.lock").touch()
    with pytest.raises(
        InputError, match=f"branch '{BRANCH}': cannot be moved forward after 2 attempts: .*lock"
    ):
        sync_branch(history, BRANCH, repository=repository)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="git: is not installed"):
        sync_branch(history, BRANCH, repository=repository)


def test_a_git_that_does_not_end_is_one_message(
    history: History, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", put_in_place(tmp_path / "bin", "git", "exec sleep 9")["PATH"])
    monkeypatch.setattr(branch, "_SECONDS", 0.05)
    with pytest.raises(
        InputError, match=r"git rev-parse: did not end within 0\.05 s\n  expected: a repository"
    ):
        sync_branch(history, BRANCH, repository=repository)
