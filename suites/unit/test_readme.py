"""The README's commands exist, and CI runs the ones it promises."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from slimgate.cli import build_parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = [
    line
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]


def test_ci_runs_the_test_command_of_the_readme():
    command = next(line for line in CONSOLE if "-e cpu" in line)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("line", [line for line in CONSOLE if line.startswith("slimgate ")])
def test_every_command_of_the_readme_is_one(line):
    arguments = build_parser().parse_args(shlex.split(line)[1:])
    assert callable(arguments.run)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_of_the_readme_leads_somewhere(link):
    assert (ROOT / link).exists()


def test_every_environment_of_the_readme_is_in_tox():
    text = (ROOT / "tox.ini").read_text(encoding="utf-8")
    named = set(re.findall(r"tox run -e (\w+)", README))
    assert named
    assert {name for name in named if f"[testenv:{name}]" not in text} == set()
