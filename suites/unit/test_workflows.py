"""The workflows of GitHub and GitLab: every command in them exists, and what decides about red is run here."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from slimgate.cli import COMMANDS, build_parser
from slimgate.study import load_study
from slimgate.study.spec import BF16_RUNTIMES

from fixtures.workflows import GITLAB, ROOT, SHELL, TOX, WORKFLOWS, gitlab_jobs, parse, run_shell

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed here")


def commands_of(text: str, program: str) -> Iterator[list[str]]:
    """Yield the arguments of every call of a program; variables stand as they are."""
    for line in re.split(r"\n|&&", text.replace("\\\n", " ")):
        words = shlex.split(line, comments=True) if line.count('"') % 2 == 0 and "'" not in line else []
        for index, word in enumerate(words):
            if word == program or (program == "slimgate" and word == "$slimgate"):
                ends = [i for i, one in enumerate(words[index:], index) if one in (">", "|", "||", ";")]
                arguments = words[index + 1 : ends[0] if ends else None]
                if arguments:
                    yield arguments


def test_there_is_something_to_check() -> None:
    assert [path.name for path in WORKFLOWS] == ["gate.yml", "nightly.yml"]
    assert len(SHELL) > 20
    assert sum(len(list(commands_of(text, "tox"))) for _, _, text in SHELL) >= 8
    assert sum(len(list(commands_of(text, "slimgate"))) for _, _, text in SHELL) >= 4


@pytest.mark.parametrize(("file", "job", "text"), SHELL)
def test_every_piece_of_shell_parses(file: str, job: str, text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{file} {job}: {done.stderr}"


def unknown_in(text: str, config: pytest.Config) -> list[str]:
    """Return every environment of tox and every option of pytest that a piece of shell uses and that is not there."""
    unknown = []
    for arguments in commands_of(text, "tox"):
        if "-e" not in arguments:
            continue
        environment = arguments[arguments.index("-e") + 1]
        if f"[testenv:{environment}]" not in TOX:
            unknown.append(f"tox environment {environment}")
        passed = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
        for option in (word.partition("=")[0] for word in passed if word.startswith("-")):
            if config.getoption(option, default=unknown) is unknown:
                unknown.append(f"pytest option {option}")
    return unknown


@pytest.mark.parametrize(
    ("file", "job", "text"), [*SHELL, ("tox.ini", "", TOX.replace("pytest", "tox run -e cpu --"))]
)
def test_every_environment_and_option_exists(
    file: str, job: str, text: str, pytestconfig: pytest.Config
) -> None:
    assert unknown_in(text, pytestconfig) == [], f"{file} {job}"


def test_an_option_that_does_not_exist_is_found(pytestconfig: pytest.Config) -> None:
    text = "python -m pip install tox &&\ntox run -e cpu -- --slimgate-out x --slimgate-min-case=3 -n 2\ntox run -e gqu"
    assert unknown_in(text, pytestconfig) == ["pytest option --slimgate-min-case", "tox environment gqu"]


@pytest.mark.parametrize(("file", "job", "text"), SHELL)
def test_every_slimgate_command_exists(file: str, job: str, text: str) -> None:
    for arguments in commands_of(text, "slimgate"):
        assert arguments[0] in COMMANDS, f"{file} {job}: slimgate {arguments[0]}"
        words = [word for word in arguments if not word.startswith("${options")]
        assert callable(build_parser().parse_args(words).run)


@pytest.mark.parametrize(("file", "job", "text"), SHELL)
def test_every_script_that_is_called_is_there(file: str, job: str, text: str) -> None:
    for name in re.findall(r"bash \.ci/([\w-]+)", text):
        assert (ROOT / ".ci" / name).is_file(), f"{file} {job}"


def test_the_minima_are_the_cases_that_there_are() -> None:
    """A case that vanishes from the study must not leave the nightly green with one case fewer."""
    codes, gpu = load_study("codes"), load_study("codes-gpu")
    # Not every CPU has bfloat16, so those cases are not asked for.
    on_cpu = len({case for case in codes.cases if case.runtime not in BF16_RUNTIMES} - codes.gpu_cases)
    texts = [text for _, _, text in SHELL if "--slimgate-min-cases cpu=" in text]
    assert [re.search(r"cpu=(\d+)", text)[1] for text in texts] == [str(on_cpu)] * 4  # type: ignore[index]
    assert parse(ROOT / ".github/workflows/nightly.yml")["env"]["GPU_CASES"] == str(len(gpu.gpu_cases))
    assert parse(GITLAB)["variables"]["GPU_CASES"] == str(len(gpu.gpu_cases))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_required_job_waits_for_every_other_and_always_runs(path: Path) -> None:
    jobs = parse(path)["jobs"]
    required = jobs.pop(path.stem)
    assert required["if"] == "always()"
    assert set(required["needs"]) == set(jobs)


@pytest.mark.parametrize(("required", "extends"), [("gate", ".day"), ("nightly", ".night")])
def test_gitlab_has_a_required_job_that_waits_for_every_other(
    required: str, extends: str, tmp_path: Path
) -> None:
    """Each job leaves a mark as its very last step; skipped and cancelled ones leave none."""
    others = gitlab_jobs(extends=extends)
    job = others.pop(required)
    assert job["when"] == "always"
    assert job["stage"] == parse(GITLAB)["stages"][-1]
    assert sorted(job["needs"]) == sorted(others)
    marks = []
    for name, other in others.items():
        assert "runs/" in {**parse(GITLAB)[extends], **other}["artifacts"]["paths"]
        mark = other["script"][-1]
        assert run_shell(mark, {"CI_JOB_NAME": name}, tmp_path).returncode == 0
        marks.append(tmp_path / "runs" / "green" / name)
    (step,) = job["script"]
    assert run_shell(step, {}, tmp_path).returncode == 0
    for mark in marks:
        mark.unlink()
        done = run_shell(step, {}, tmp_path)
        assert (done.returncode, done.stdout) == (1, f"{mark.name} was not green\n")
        mark.touch()


@needs_jq
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("results", "green"),
    [
        (("success", "success"), True),
        (("success", "skipped"), False),
        (("cancelled", "success"), False),
        (("success", "failure"), False),
    ],
)
def test_skipped_is_not_green(path: Path, results: tuple[str, str], green: bool) -> None:
    (step,) = parse(path)["jobs"][path.stem]["steps"]
    needs = json.dumps({str(index): {"result": result} for index, result in enumerate(results)})
    done = run_shell(step["run"], {"NEEDS": needs})
    assert (done.returncode == 0) is green


def test_a_token_reaches_git_and_not_its_files(tmp_path: Path) -> None:
    """GitLab's runner keeps its folder, so what stands in .git/config outlives the job."""
    script = gitlab_jobs()["nightly-report"]["script"]
    exports = [line for line in script if line.startswith("export ")]
    run_shell("git init --quiet && git remote add origin https://nowhere/x.git", {}, tmp_path)
    before = (tmp_path / ".git" / "config").read_text()
    ci = {"CI_SERVER_URL": "https://git.example", "CI_PROJECT_PATH": "a/b", "SLIMGATE_TOKEN": "hidden"}
    asked = (
        'git ls-remote --get-url "$SLIMGATE_REMOTE"\n'
        "git config --get-urlmatch http.extraHeader https://git.example/a/b.git"
    )
    done = run_shell("\n".join([*exports, asked]), ci, tmp_path)
    header = base64.b64encode(b"oauth2:hidden").decode()
    assert done.stdout.splitlines() == ["https://git.example/a/b.git", f"Authorization: Basic {header}"]
    assert (tmp_path / ".git" / "config").read_text() == before
    assert "set-url" not in "\n".join(script)


def test_the_history_is_kept_before_the_tracker_is_asked() -> None:
    script = gitlab_jobs()["nightly-report"]["script"]
    kept, asked = (
        next(index for index, line in enumerate(script) if name in line)
        for name in (".ci/history", ".ci/issues-gitlab")
    )
    assert kept < asked
    assert script[kept].endswith("|| kept=$?"), "a drift must have its issue too"
    assert ".slimgate/history/" in gitlab_jobs()["nightly-report"]["artifacts"]["paths"]
    issues = parse(ROOT / ".github/workflows/nightly.yml")["jobs"]["issues"]
    assert set(issues["needs"]) >= {"history"}


def test_every_list_of_causes_that_is_written_is_read_by_both_trackers() -> None:
    for name, tracker in (("nightly.yml", "issues-github"), (GITLAB.name, "issues-gitlab")):
        texts = [text for file, _, text in SHELL if file == name]
        written = set(re.findall(r"> (runs/causes-\w+\.json)", "\n".join(texts)))
        written |= set(re.findall(r"\.ci/history (\S+)", "\n".join(texts)))
        (read,) = [set(text.split()) for text in texts if tracker in text]
        assert len(written) == 4, name
        assert written <= read, name


def test_every_night_runs_what_a_pull_request_cannot_wait_for() -> None:
    """Slow tests, a thousand examples of each invariant and strict floors had no job at all."""
    section = TOX.partition("[testenv:slow]")[2].partition("\n[testenv")[0]
    assert re.search(r"pytest suites --slimgate-slow --strict-floors \{posargs\}", section)
    assert "set_env = HYPOTHESIS_PROFILE = nightly" in section
    for name in ("nightly.yml", GITLAB.name):
        assert sum("tox run -e slow -- " in text for file, _, text in SHELL if file == name) == 1


def test_what_pytest_benchmark_saves_goes_into_the_history(tmp_path: Path) -> None:
    folder = re.escape("--benchmark-storage=file://./runs/history/benchmarks")
    for name in ("nightly.yml", GITLAB.name):
        (lane,) = [text for file, _, text in SHELL if file == name and "gpu-latency" in text]
        assert re.search(rf"--benchmark-save=\w+ {folder}", lane), name
    script = (ROOT / ".ci" / "history").read_text()
    assert '"$slimgate" history --merge runs/history' in script
    assert script.index("--merge runs/history") < script.index("--sync")
