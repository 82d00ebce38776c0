"""The scripts of .ci, run as the workflows run them: issues, causes, history, summary."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.workflows import ROOT, put_in_place, run_shell

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed here")


def write_causes(path: Path, *fingerprints: str) -> Path:
    causes = [
        {
            "fingerprint": one,
            "title": f"title of {one}",
            "cases": [],
            "body": f"<!-- slimgate-cause: {one} -->\nbody\n",
        }
        for one in fingerprints
    ]
    path.write_text(json.dumps({"format": "slimgate-causes/1", "causes": causes}))
    return path


@needs_jq
def test_one_issue_per_cause_that_has_none_open(tmp_path: Path) -> None:
    known = json.dumps([{"number": 7, "body": "<!-- slimgate-cause: aaa -->\nfrom last week"}])
    environment = put_in_place(
        tmp_path / "bin",
        "gh",
        f'echo "$*" >> {tmp_path}/calls\n'
        f"""case "$1 $2" in "issue list") echo '{known}';; "issue create") cat >> {tmp_path}/bodies;; esac""",
    )
    one, two = write_causes(tmp_path / "one.json", "aaa", "bbb"), write_causes(tmp_path / "two.json", "bbb")
    command = f"bash .ci/issues-github {one} {two} {tmp_path}/gone.json"
    done = run_shell(command, {**environment, "RUN_URL": "the run's page"})
    assert done.returncode == 0, done.stderr
    assert "open already as #7: [nightly] title of aaa" in done.stdout
    created = [
        line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith("issue create")
    ]
    assert [line.partition("--label")[0] for line in created] == [
        "issue create --title [nightly] gone.json was not written ",
        "issue create --title [nightly] title of bbb ",
    ]
    assert "<!-- slimgate-cause: bbb -->\nbody\n\nthe run's page" in (tmp_path / "bodies").read_text()


@needs_jq
def test_gitlab_gets_one_issue_per_cause_that_has_none_open(tmp_path: Path) -> None:
    known = json.dumps(
        [{"iid": 7, "description": "<!-- slimgate-cause: aaa -->"}, {"iid": 8, "description": None}]
    )
    environment = put_in_place(
        tmp_path / "bin",
        "curl",
        f'echo "$*" >> {tmp_path}/calls\n'
        'case "$*" in\n'
        f"""*"--data @-"*) cat >> {tmp_path}/bodies; echo '{{"iid": 9, "title": "t"}}';;\n"""
        f"*) echo '{known}';;\nesac",
    )
    api = {
        "CI_API_V4_URL": "api",
        "CI_PROJECT_ID": "3",
        "SLIMGATE_TOKEN": "hidden",
        "CI_PIPELINE_URL": "page",
    }
    causes = write_causes(tmp_path / "one.json", "aaa", "bbb")
    done = run_shell(f"bash .ci/issues-gitlab {causes}", {**environment, **api})
    assert done.returncode == 0, done.stderr
    assert "open already as #7: [nightly] title of aaa" in done.stdout
    assert "opened #9" in done.stdout
    (opened,) = [json.loads((tmp_path / "bodies").read_text())]
    assert opened["title"] == "[nightly] title of bbb"
    assert "slimgate-cause: bbb" in opened["description"]
    assert "hidden" not in (tmp_path / "calls").read_text(), "a token is not for the command line"


@needs_jq
def test_a_night_without_red_opens_nothing(tmp_path: Path) -> None:
    environment = put_in_place(tmp_path / "bin", "gh", "exit 9")
    done = run_shell(f"bash .ci/issues-github {write_causes(tmp_path / 'one.json')}", environment)
    assert (done.returncode, done.stdout) == (0, "Nothing is red.\n")


@needs_jq
def test_a_tracker_that_does_not_answer_makes_the_job_red(tmp_path: Path) -> None:
    environment = put_in_place(tmp_path / "bin", "gh", "exit 9")
    done = run_shell(f"bash .ci/issues-github {write_causes(tmp_path / 'one.json', 'aaa')}", environment)
    assert done.returncode != 0


@needs_jq
@pytest.mark.parametrize(
    ("job", "strict", "called"),
    [("latency", "", " --red-job latency"), ("", "", ""), ("slow", "1", " --red-job slow --strict-floors")],
)
def test_causes_are_asked_of_slimgate_and_its_absence_is_one(
    tmp_path: Path, job: str, strict: str, called: str
) -> None:
    put_in_place(tmp_path, "slimgate", 'echo "$*"')
    command = f"bash .ci/causes runs/night runs/junit.xml '{job}'"
    done = run_shell(command, {"SLIMGATE": str(tmp_path / "slimgate"), "SLIMGATE_STRICT": strict})
    assert done.stdout == f"causes runs/night --format json --junit runs/junit.xml{called}\n"
    done = run_shell(command, {"SLIMGATE": str(tmp_path / "absent")})
    (cause,) = json.loads(done.stdout)["causes"]
    assert cause["title"] == "night: slimgate could not be installed"
    assert cause["body"].startswith("<!-- slimgate-cause: install-night -->\nThe job ended before")


@needs_jq
def test_a_slimgate_that_cannot_say_why_is_a_cause(tmp_path: Path) -> None:
    put_in_place(tmp_path, "slimgate", 'echo "half a list"; echo "verdicts.json: cut off" >&2; exit 2')
    command = "bash .ci/causes runs/night runs/junit.xml accuracy"
    done = run_shell(command, {"SLIMGATE": str(tmp_path / "slimgate")})
    (cause,) = json.loads(done.stdout)["causes"]
    assert (done.returncode, cause["title"]) == (0, "night: nobody could say why it is red")
    assert cause["body"] == "<!-- slimgate-cause: causes-night -->\nverdicts.json: cut off\n"
    assert "verdicts.json: cut off" in done.stderr


@needs_jq
@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"causes": null}', '{"causes": []}{"causes": []}'])
def test_a_list_of_causes_that_is_none_is_a_cause(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "causes-latency.json"
    if text is not None:
        path.write_text(text)
    other = write_causes(tmp_path / "other.json", "aaa")
    done = run_shell(f"bash .ci/collect-causes {path} {other}", {})
    assert [one["fingerprint"] for one in json.loads(done.stdout)] == ["aaa", "absent-causes-latency.json"]


def keep_history(tmp_path: Path, drift: int, *, baseline: bool) -> tuple[int, list[str], str]:
    """Run the script on one run and one that is not there; return code, calls and output."""
    fake = f"""echo "$*" >> {tmp_path}/calls
case "$*" in
"history --drift") exit {drift};;
"causes --drift --format json") echo '{{"causes": [1]}}';;
esac"""
    put_in_place(tmp_path, "slimgate", fake)
    (tmp_path / "run").mkdir()
    pinned = tmp_path / "baseline.toml"
    if baseline:
        pinned.touch()
    environment = {"SLIMGATE": str(tmp_path / "slimgate"), "SLIMGATE_BASELINE": str(pinned)}
    done = run_shell(f"bash .ci/history {tmp_path}/causes.json {tmp_path}/run {tmp_path}/gone", environment)
    return done.returncode, (tmp_path / "calls").read_text().splitlines(), done.stdout


@pytest.mark.parametrize("drift", [0, 1])
def test_the_history_gets_the_runs_that_there_are_and_is_looked_at_for_drift(
    tmp_path: Path, drift: int
) -> None:
    code, calls, _ = keep_history(tmp_path, drift, baseline=True)
    assert calls == [
        f"history --add {tmp_path}/run",
        "history --sync slimgate-history --remote origin",
        "causes --drift --format json",
        "history --drift",
    ]
    assert code == drift
    assert json.loads((tmp_path / "causes.json").read_text()) == {"causes": [1]}


def test_without_a_baseline_there_is_a_plain_line_and_no_red(tmp_path: Path) -> None:
    code, calls, said = keep_history(tmp_path, 2, baseline=False)
    assert (code, calls[-1]) == (0, "causes --drift --format json")
    assert said == (
        f"No baseline is pinned yet ({tmp_path}/baseline.toml): nothing is looked at for drift.\n"
    )


def test_a_baseline_that_cannot_be_held_against_anything_is_red_and_a_cause(tmp_path: Path) -> None:
    code, _, _ = keep_history(tmp_path, 2, baseline=True)
    assert code == 2
    assert not (tmp_path / "causes.json").exists()  # which collect-causes takes for a cause


def test_the_summary_is_the_report_or_says_that_there_is_none(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.md").write_text("# all green\n")
    for run in ("run", "gone"):
        done = run_shell(f"bash .ci/summary {tmp_path}/{run}", {"GITHUB_STEP_SUMMARY": str(page)})
        assert done.returncode == 0, done.stderr
    assert (
        page.read_text()
        == f"# all green\nNo run at {tmp_path}/gone: the job ended before anything was judged.\n"
    )


def run_suites(
    monkeypatch: pytest.MonkeyPatch, codes: list[int], *arguments: str
) -> tuple[int, list[list[str]]]:
    """Run .ci/suites.py with sessions that end so; return its own exit code and what pytest was called with."""
    called: list[list[str]] = []

    def end(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", "pytest"]
        called.append(command[3:])
        return subprocess.CompletedProcess(command, codes[len(called) - 1])

    monkeypatch.setattr(subprocess, "run", end)
    script = runpy.run_path(str(ROOT / ".ci" / "suites.py"))
    return script["main"](list(arguments)), called


@pytest.mark.parametrize(("codes", "code"), [([0, 0], 0), ([1, 0], 1), ([0, 1], 1), ([3, 1], 3), ([0, 5], 5)])
def test_both_sessions_are_run_and_each_must_pass(
    monkeypatch: pytest.MonkeyPatch, codes: list[int], code: int
) -> None:
    said, called = run_suites(monkeypatch, codes)
    selections = [arguments[arguments.index("-m") + 1] for arguments in called]
    assert (said, selections) == (code, ["not (gate or timing)", "gate or timing"])
    assert ["-n" in arguments for arguments in called] == [True, False]


def test_arguments_make_it_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_suites(monkeypatch, [4], "-k", "codes", "--lf") == (4, [["-k", "codes", "--lf"]])
