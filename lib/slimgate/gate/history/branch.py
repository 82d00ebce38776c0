"""A history on a git branch of its own: no commit of the code, no file in the working tree."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slimgate.errors import InputError, UnavailableError, name_offenders
from slimgate.gate.history.files import SUFFIX
from slimgate.gate.history.merge import Merged, find_lost, merge_history
from slimgate.gate.history.store import ASIDE, BENCHMARKS, History

_ATTEMPTS = 20
_SECONDS = 120
_AUTHOR = {
    "GIT_AUTHOR_NAME": "slimgate",
    "GIT_AUTHOR_EMAIL": "slimgate@localhost",
    "GIT_COMMITTER_NAME": "slimgate",
    "GIT_COMMITTER_EMAIL": "slimgate@localhost",
}


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What synchronising did.

    Attributes:
        fetched: what came from the branch.
        commit: the branch's new commit, or None where it had everything.
        attempts: how often others were faster.
    """

    fetched: Merged
    commit: str | None
    attempts: int


def sync_branch(history: History, branch: str, *, repository: Path, remote: str = "") -> Synced:
    """Unite a folder with an orphan branch: both have every run of both afterwards.

    The branch is only ever moved forward, and only from the commit that was merged: where another writer was faster,
    theirs is merged as well and it is tried again. A tree that lacks something of that commit is never published. The
    working tree and its index are not touched.

    Args:
        history: the folder.
        branch: name of the branch; made when it is not there.
        repository: a folder inside the git repository.
        remote: where the branch is fetched from and pushed to; empty for the repository itself.

    Raises:
        InputError: this is no git repository, the branch holds something else or would lose a run, or it cannot be
            pushed.
        UnavailableError: git is not installed.
    """
    git = _Git(repository)
    git.check(branch)
    merged: Merged | None = None
    for attempt in range(1, _ATTEMPTS + 1):
        tip = git.fetch(branch, remote)
        if tip:
            now = _merge_commit(git, tip, history, branch)
            merged = now if merged is None else _both(merged, now)
        tree = _write_tree(git, history.folder)
        fetched = merged or Merged(added=0, known=0, benchmarks=0, complaints=())
        if tip and git.run("rev-parse", f"{tip}^{{tree}}") == tree:
            return Synced(fetched=fetched, commit=None, attempts=attempt)
        if tip:
            _require_nothing_lost(git, tip, tree, branch)
        parents = ("-p", tip) if tip else ()
        commit = git.run("commit-tree", tree, *parents, "-m", "History of slimgate runs", environment=_AUTHOR)
        if git.publish(branch, commit, tip, remote):
            return Synced(fetched=fetched, commit=commit, attempts=attempt)
    raise InputError(
        f"branch '{branch}'",
        found=f"cannot be moved forward after {_ATTEMPTS} attempts: {git.last_refusal}",
        expected="a branch that this user may push to",
        action="check the permission to push and the branch's protection, then try again",
    )


def _merge_commit(git: _Git, commit: str, history: History, branch: str) -> Merged:
    strange = [
        name
        for name in git.names(commit)
        if not (
            name.endswith((SUFFIX, f"{SUFFIX}{ASIDE}"))
            or (name.startswith(f"{BENCHMARKS}/") and name.endswith(".json"))
        )
    ]
    if strange:
        raise InputError(
            f"branch '{branch}'",
            found=f"holds other files than a history: {name_offenders(strange)}",
            expected="an orphan branch of its own, such as 'slimgate-history'",
            action="name another branch; one that is not there is made",
        )
    with tempfile.TemporaryDirectory(prefix="slimgate-history-") as folder:
        _write_files(git, commit, Path(folder))
        merged = merge_history(history, History(Path(folder)))
        shown = tuple(text.replace(f"{folder}/", f"{branch}:") for text in merged.complaints)
    return dataclasses.replace(merged, complaints=shown)


def _require_nothing_lost(git: _Git, tip: str, tree: str, branch: str) -> None:
    """Refuse a tree that does not hold all that the branch holds, whatever made it so: nobody would miss it."""
    with tempfile.TemporaryDirectory(prefix="slimgate-history-") as folder:
        before, after = Path(folder, "before"), Path(folder, "after")
        _write_files(git, tip, before)
        _write_files(git, tree, after)
        lost = find_lost(before, after)
    if lost:
        raise InputError(
            f"branch '{branch}'",
            found=f"would lose what it holds in {name_offenders(lost)}",
            expected="every run of the branch in what is published; it stays as it is",
            action=f"'git show {branch}:FILE' prints what it holds; merge it with 'slimgate history --merge', or name "
            "another branch",
        )


def _write_files(git: _Git, commit: str, folder: Path) -> None:
    """Write the files of a commit or a tree below a folder."""
    for name in git.names(commit):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(git.read(f"{commit}:{name}"))


def _write_tree(git: _Git, folder: Path) -> str:
    """Write the folder's files as a git tree, through an index of its own."""
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.suffix in (SUFFIX, ".json", ASIDE)
    ]
    lines = [
        f"100644 {git.run('hash-object', '-w', str(path.resolve()))}\t{path.relative_to(folder).as_posix()}\n"
        for path in paths
    ]
    with tempfile.TemporaryDirectory(prefix="slimgate-index-") as index:
        environment = {"GIT_INDEX_FILE": str(Path(index) / "index")}
        git.run("update-index", "--add", "--index-info", given="".join(lines), environment=environment)
        return git.run("write-tree", environment=environment)


def _both(first: Merged, second: Merged) -> Merged:
    return Merged(
        added=first.added + second.added,
        known=second.known,
        benchmarks=first.benchmarks + second.benchmarks,
        complaints=second.complaints,
    )


class _Git:
    """The git of one repository."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.last_refusal = ""

    def check(self, branch: str) -> None:
        if self._call("rev-parse", "--git-dir").returncode != 0:
            raise InputError(
                str(self.repository.resolve()),
                found="is in no git repository",
                expected="the repository that the history's branch is in",
                action="change into it, or keep the history in a folder and use --merge",
            )
        if self._call("check-ref-format", "--branch", branch).returncode != 0:
            raise InputError(
                f"branch '{branch}'",
                found="is no name for a branch",
                expected="a name such as slimgate-history",
                action="choose another name",
            )

    def fetch(self, branch: str, remote: str) -> str:
        """Return the commit that the branch is at, fetched where there is a remote; empty where there is none."""
        if remote:
            listed = self._call("ls-remote", "--exit-code", remote, f"refs/heads/{branch}")
            if listed.returncode == 2:
                return ""
            if listed.returncode != 0:
                raise InputError(
                    f"remote '{remote}'",
                    found=f"cannot be reached: {_said(listed)}",
                    expected="a remote of this repository",
                    action="'git remote -v' lists them; check its address and your access",
                )
            self.run("fetch", "--quiet", "--no-tags", remote, f"refs/heads/{branch}")
            return listed.stdout.decode().split()[0]
        found = self._call("rev-parse", "--verify", f"refs/heads/{branch}")
        return found.stdout.decode().strip() if found.returncode == 0 else ""

    def publish(self, branch: str, commit: str, tip: str, remote: str) -> bool:
        """Move the branch from ``tip`` to ``commit``, and return whether nobody else had moved it."""
        if remote:
            # Not forced: the remote refuses what does not contain its own commit.
            done = self._call("push", "--quiet", remote, f"{commit}:refs/heads/{branch}")
        else:
            done = self._call("update-ref", f"refs/heads/{branch}", commit, tip or "0" * 40)
        self.last_refusal = "" if done.returncode == 0 else _said(done)
        return done.returncode == 0

    def run(self, *arguments: str, given: str = "", environment: Mapping[str, str] | None = None) -> str:
        return self._run(*arguments, given=given, environment=environment).decode("utf-8").strip("\n")

    def _run(self, *arguments: str, given: str = "", environment: Mapping[str, str] | None = None) -> bytes:
        done = self._call(*arguments, given=given, environment=environment)
        if done.returncode != 0:
            raise InputError(
                f"git {arguments[0]}",
                found=f"failed: {_said(done)}",
                expected="a whole git repository that can be written to",
                action="mend what git complains about, then try again",
            )
        return done.stdout

    def names(self, commit: str) -> list[str]:
        """Return the path of every file of a commit or a tree."""
        # Without --full-tree, git lists only what lies below the folder that it is called in.
        listed = self.run("ls-tree", "-r", "-z", "--full-tree", "--name-only", commit)
        return [name for name in listed.split("\0") if name]

    def read(self, name: str) -> bytes:
        return self._run("cat-file", "blob", name)

    def _call(
        self, *arguments: str, given: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                ("git", "-C", str(self.repository), *arguments),
                input=given.encode("utf-8"),
                capture_output=True,
                timeout=_SECONDS,
                check=False,
                env={**os.environ, **(environment or {}), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise UnavailableError(
                "git",
                found="is not installed",
                expected="git on the PATH, for a history on a branch",
                action="install git, or keep the history in a folder",
            ) from None
        except subprocess.TimeoutExpired:
            raise InputError(
                f"git {arguments[0]}",
                found=f"did not end within {_SECONDS} s",
                expected="a repository and a remote that answer",
                action="check the network, then try again",
            ) from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
    telling = [line for line in lines if line.lstrip().startswith(("fatal:", "error:", "!"))]
    return next(iter(telling or lines), f"exit code {done.returncode}").strip()
