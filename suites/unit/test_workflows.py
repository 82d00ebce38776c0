"""The workflows of GitHub and GitLab: every command in them exists, and what decides about red is run here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from slimgate.cli import COMMANDS, build_parser
from slimgate.study import load_study
from slimgate.study.spec import BF16_RUNTIMES

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GITLAB = ROOT / ".gitlab-ci.yml"
SCRIPTS = sorted(path for path in (ROOT / ".ci").iterdir() if path.suffix != ".py")
TOX = (ROOT / "tox.ini").read_text(encoding="utf-8")

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed here")


def parse(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def shell_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the job and the text of every piece of shell in a workflow."""
    document = parse(path)
    for name, job in document.get("jobs", document).items():
        if path == GITLAB and isinstance(job, dict):
            yield from ((name, line) for key in ("script", "after_script") for line in job.get(key, []))
        elif isinstance(job, dict):
            yield from ((name, step["run"]) for step in job.get("steps", []) if "run" in step)


SHELL = [(path.name, job, text) for path in (*WORKFLOWS, GITLAB) for job, text in shell_of(path)]
SHELL += [(path.name, "", path.read_text(encoding="utf-8")) for path in SCRIPTS]


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
        if arguments[0] == "history" and "history" not in COMMANDS:
            pytest.skip("slimgate history is not part of this slimgate yet")
        assert arguments[0] in COMMANDS, f"{file} {job}: slimgate {arguments[0]}"
        assert callable(build_parser().parse_args(arguments).run)


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
    assert [re.search(r"cpu=(\d+)", text)[1] for text in texts] == [str(on_cpu)] * 2  # type: ignore[index]
    assert parse(ROOT / ".github/workflows/nightly.yml")["env"]["GPU_CASES"] == str(len(gpu.gpu_cases))
    assert parse(GITLAB)["variables"]["GPU_CASES"] == str(len(gpu.gpu_cases))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_required_job_waits_for_every_other_and_always_runs(path: Path) -> None:
    jobs = parse(path)["jobs"]
    required = jobs.pop(path.stem)
    assert required["if"] == "always()"
    assert set(required["needs"]) == set(jobs)


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


def run_shell(
    command: str, environment: Mapping[str, str], cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def put_in_place(folder: Path, name: str, script: str) -> dict[str, str]:
    """Put a program before the real one of that name on the path."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


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
@pytest.mark.parametrize(("job", "called"), [("latency", "--red-job latency"), ("", "")])
def test_causes_are_asked_of_slimgate_and_its_absence_is_one(tmp_path: Path, job: str, called: str) -> None:
    put_in_place(tmp_path, "slimgate", 'echo "$*"')
    done = run_shell(f"bash .ci/causes runs/night '{job}'", {"SLIMGATE": str(tmp_path / "slimgate")})
    assert done.stdout.strip() == f"causes runs/night --format json {called}".strip()
    done = run_shell(f"bash .ci/causes runs/night '{job}'", {"SLIMGATE": str(tmp_path / "absent")})
    (cause,) = json.loads(done.stdout)["causes"]
    assert cause["title"] == "night: slimgate could not be installed"


def test_the_history_gets_the_runs_that_there_are(tmp_path: Path) -> None:
    put_in_place(tmp_path, "slimgate", f'echo "$*" >> {tmp_path}/calls')
    (tmp_path / "run").mkdir()
    environment = {"SLIMGATE": str(tmp_path / "slimgate"), "GIT_CONFIG_COUNT": "2"}
    for index, key in enumerate(("user.name", "user.email")):
        environment |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": "tester"}
    done = run_shell(f"bash .ci/history {tmp_path}/run {tmp_path}/gone", environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"history --add {tmp_path}/run",
        "history --sync slimgate-history --remote origin",
    ]


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
