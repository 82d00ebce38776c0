"""Mutation testing of the rooms that find, measure and judge: mutmut on a sample, and its outcome as JSON.

    python .ci/mutants.py [--sample N] [--seed S] [--only GLOB ...] [--jobs N]

mutmut wants the package below ``src``, so it runs in a stage of links (``.mutants``), one for each room: a mutant is
tried on those tests of its room that reach it. mutmut tries mutants in forks of a process in which the tests have run.
The evaluator's threads do not live on in a fork, which then waits for them for ever, so each mutant of ``measure`` is
tried in a fresh process. That takes many times as long, so its sample is a tenth of the one of the other rooms.

A survivor of the tests goes before the type checker, which CI asks as well: ``None`` where a text belongs is no mutant
that could be committed.

What is counted and who survived goes to ``suites/selfcheck/results/mutants.json``, from which ``docs/faults.md`` is
made. A survivor that only changes the wording of what a message expects or advises is counted apart, and not listed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import fnmatch
import functools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAGE = ROOT / ".mutants"
RESULT = ROOT / "suites" / "selfcheck" / "results" / "mutants.json"
ROOMS = {
    # What accepts a run is in the gate, and is tested by the command that calls it.
    "gate": (
        "suites/unit/gate",
        "suites/unit/cli/test_accept.py",
        "suites/unit/cli/test_accept_refusals.py",
        "suites/unit/cli/test_causes.py",
    ),
    "detect": ("suites/unit/detect",),
    "measure": (
        "suites/unit/measure",
        # Its limit is for code in which no call goes through mutmut.
        "--deselect=suites/unit/measure/test_bootstrap.py::"
        "test_a_thousand_resamples_of_five_hundred_images_take_less_than_ten_seconds",
    ),
}
"""Each with the tests that count as its own."""

FRESH = ("measure",)
"""Rooms whose mutants are tried in a process of their own each."""

FRESH_PART = 10

LINKED = (
    ".ci",
    ".github",
    ".gitlab-ci.yml",
    "conftest.py",
    "docs",
    "fixtures",
    "golden",
    "README.md",
    "suites",
    "tox.ini",
)
KILLED = (1, 3, -11, -9, -24, 24, 36, 152)
"""A test failed, pytest broke, or the mutant crashed or ran for ever."""

OF_THE_STAGE = ("has-type", "no-redef")
"""What mypy finds because every method is there many times."""

SEVERAL_WORDS = re.compile(r"[A-Za-z]+\W+[A-Za-z]+")

UNTESTED = 33
TOLD = (0, 1, 3, UNTESTED)
"""What a mutant did in a fork that needs no second try."""
TIMED_OUT = 36

FIRST = {
    "gate": "slimgate.gate.pays.x__bound__mutmut_1",
    "detect": "slimgate.detect.boxes.x_box_iou__mutmut_1",
    "measure": "slimgate.measure.metrics.x_metric_for__mutmut_1",
}


def main() -> int:
    """Run mutmut on a sample of the mutants and write the outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sample", type=int, default=0, help="mutants to try (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", action="append", default=[], metavar="GLOB", help="only mutants so called")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at a time (default: 1)")
    parser.add_argument("--report", action="store_true", help="try nothing, only write the outcome again")
    arguments = parser.parse_args()
    for room in ROOMS:
        make_stage(room)
    if not arguments.report:
        for room in ROOMS:
            # A run of one mutant makes all of them, and learns which test reaches which function.
            run_mutmut(room, [FIRST[room]], arguments.jobs)
        forked = [room for room in ROOMS if room not in FRESH]
        for rooms, sample in ((forked, arguments.sample), (FRESH, arguments.sample // FRESH_PART)):
            names = [name for room in rooms for name in sorted(read_outcomes(room))]
            chosen = choose(names, sample, arguments)
            for room in rooms:
                of_room = [name for name in chosen if name.startswith(f"slimgate.{room}.")]
                if room not in FRESH and of_room:
                    run_mutmut(room, of_room, arguments.jobs)
                    outcomes = read_outcomes(room)
                    of_room = [name for name in of_room if outcomes[name] not in TOLD]
                # Threads do not live on in a fork: what hung or crashed there may not where it is alone.
                if of_room:
                    run_fresh(room, of_room, arguments.jobs)
    write_result(arguments)
    return 0


def make_stage(room: str) -> None:
    """Make a folder in which the package lies where mutmut looks for it, set to a room and its tests."""
    stage = STAGE / room
    stage.mkdir(parents=True, exist_ok=True)
    for name, target in (("src", ROOT / "lib"), *((name, ROOT / name) for name in LINKED)):
        link = stage / name
        if not link.is_symlink():
            link.symlink_to(target)
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8").rstrip()
    settings += f"""
only_mutate = ["src/slimgate/{room}/*"]
pytest_add_cli_args_test_selection = {json.dumps(ROOMS[room])}
"""
    (stage / "pyproject.toml").write_text(settings, encoding="utf-8")


def run_mutmut(room: str, names: list[str], jobs: int) -> None:
    """Run mutmut on these mutants of a room, so many at a time."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *names]
    subprocess.run(command, cwd=STAGE / room, check=True)


def run_fresh(room: str, names: list[str], jobs: int) -> None:
    """Try these mutants of a room in a process of its own each, so many at a time."""
    stage = STAGE / room / "mutants"
    stats = json.loads((stage / "mutmut-stats.json").read_text(encoding="utf-8"))
    durations = stats["duration_by_test"]
    reached = stats["tests_by_mangled_function_name"]
    tests = {
        name: sorted(reached.get(name.partition("__mutmut_")[0], ()), key=lambda test: durations[test])
        for name in names
    }
    every = sorted({test for of_name in tests.values() for test in of_name})
    if try_fresh(stage, "", every, limit_s=600) != 0:
        sys.exit(f"the tests of {room} do not pass where nothing is changed")
    with ThreadPoolExecutor(jobs) as pool:
        limits = [60 + 15 * sum(durations[test] for test in tests[name]) for name in names]
        codes = pool.map(lambda name, limit: try_fresh(stage, name, tests[name], limit), names, limits)
        for count, (name, code) in enumerate(zip(names, codes, strict=True), start=1):
            record_outcome(room, name, code)
            sys.stdout.write(f"{count}/{len(names)} {name}: exit code {code}\n")


def try_fresh(stage: Path, name: str, tests: Sequence[str], limit_s: float) -> int:
    """Return the exit code of the tests with a mutant in place; with no name, with none."""
    if not tests:
        return UNTESTED
    command = [sys.executable, "-m", "pytest", "--rootdir=.", "-x", "-q", "-p", "no:cacheprovider"]
    paths = [str(stage / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "MUTANT_UNDER_TEST": name, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = subprocess.run(
            [*command, *tests], cwd=stage, env=environment, timeout=limit_s, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        return TIMED_OUT
    # A file of tests could not even be imported: 2, or 4 where single tests of it are asked for.
    if done.returncode == 2 or (done.returncode == 4 and "found no collectors" in done.stderr):
        return 1
    if done.returncode in (4, 5):
        sys.exit(f"{name}: pytest could not run its tests:\n{done.stdout}{done.stderr}")
    return done.returncode


def record_outcome(room: str, name: str, code: int) -> None:
    """Write an exit code to where mutmut keeps those of its own."""
    for path in list_metas(room):
        meta = json.loads(path.read_text(encoding="utf-8"))
        if name in meta["exit_code_by_key"]:
            meta["exit_code_by_key"][name] = code
            path.write_text(json.dumps(meta, indent=4), encoding="utf-8")


def list_metas(room: str) -> list[Path]:
    """Return the files in which mutmut keeps what became of a room's mutants."""
    return sorted((STAGE / room / "mutants" / "src" / "slimgate" / room).rglob("*.meta"))


def read_outcomes(room: str) -> dict[str, int | None]:
    """Return the exit code of every mutant of a room by its name; None where it was not tried."""
    found: dict[str, int | None] = {}
    for path in list_metas(room):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def choose(names: list[str], sample: int, arguments: argparse.Namespace) -> list[str]:
    """Return the mutants that are tried: those asked for, or a seeded sample of them."""
    if arguments.only:
        names = [name for name in names if any(fnmatch.fnmatch(name, glob) for glob in arguments.only)]
    if arguments.sample and sample < len(names):
        names = sorted(random.Random(arguments.seed).sample(names, sample))
    return names


def write_result(arguments: argparse.Namespace) -> None:
    """Write what became of the mutants, and the lines of those that survived."""
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    reasons = {one["mutant"]: one["why"] for one in known.get("survivors", ()) if one.get("why")}
    rooms: dict[str, dict[str, int]] = {}
    survivors = []
    for room in ROOMS:
        outcomes = read_outcomes(room)
        lived = [name for name, code in sorted(outcomes.items()) if code == 0]
        typed = check_types(room) if lived else frozenset()
        alive = [Mutant(name) for name in lived if name not in typed]
        listed = [mutant for mutant in alive if not mutant.is_wording()]
        survivors += [mutant.describe(reasons.get(mutant.name, "")) for mutant in listed]
        rooms[room] = {
            "mutants": len(outcomes),
            "tried": sum(code is not None for code in outcomes.values()),
            "killed": sum(code in KILLED for code in outcomes.values()),
            "typed": len(lived) - len(alive),
            "survived": len(listed),
            "wording": len(alive) - len(listed),
            "untested": sum(code == UNTESTED for code in outcomes.values()),
        }
    result = {"tool": "mutmut", "seed": arguments.seed, "rooms": rooms, "survivors": survivors}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check_types(room: str) -> frozenset[str]:
    """Return the mutants of a room, tried or not, in which mypy finds more than in the function as it is."""
    stage = STAGE / room / "mutants"
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--output",
        "json",
        "--config-file",
        str(ROOT / "pyproject.toml"),
    ]
    command += ["--explicit-package-bases", "--no-warn-unused-ignores", f"src/slimgate/{room}"]
    environment = {**os.environ, "MYPYPATH": "src"}
    done = subprocess.run(command, cwd=stage, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"mypy could not check {room}:\n{done.stdout}{done.stderr}")
    said: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        error = json.loads(line)
        if error["severity"] != "error" or error["code"] in OF_THE_STAGE:
            continue
        of_file = stage / error["file"]
        module = ".".join(Path(error["file"]).relative_to("src").with_suffix("").parts)
        for name, node in parse_functions(of_file).items():
            if "__mutmut_" in name and node.lineno <= error["line"] <= node.end_lineno:
                said.setdefault(f"{module}.{name}", set()).add(error["message"])
    return frozenset(
        name
        for name, told in said.items()
        if told - said.get(f"{name.partition('__mutmut_')[0]}__mutmut_orig", set())
    )


class Mutant:
    """A mutated function beside the one that it is made from."""

    def __init__(self, name: str) -> None:
        self.name = name
        module, _, own = name.rpartition(".")
        path = STAGE / module.split(".")[1] / "mutants" / "src" / Path(*module.split("."))
        functions = read_functions(path.with_suffix(".py"))
        origin = f"{own.partition('__mutmut_')[0]}__mutmut_orig"
        self.owner = own.split("ǁ")[1] if "ǁ" in own else ""
        self.before, self.after = functions[origin], functions[own].replace(own, origin)
        error = functions.get(f"xǁ{self.owner}ǁerror__mutmut_orig", "def error(): ...")
        self.error_arguments = [one.arg for one in ast.parse(error).body[0].args.args[1:]]

    def describe(self, why: str) -> dict[str, str]:
        """Return the function and the lines that are changed."""
        lines = list(difflib.ndiff(self.before.splitlines(), self.after.splitlines()))
        function = self.name.partition("__mutmut_")[0].removeprefix("slimgate.").replace("x_", "", 1)
        return {
            "mutant": self.name,
            "function": function.replace("xǁ", "").replace("ǁ", "."),
            "before": "\n".join(line[2:] for line in lines if line.startswith("- ")),
            "after": "\n".join(line[2:] for line in lines if line.startswith("+ ")),
            "why": why,
        }

    def is_wording(self) -> bool:
        """Return whether all that is changed is prose: what a message expects, or says to do."""
        trees = [ast.parse(text) for text in (self.before, self.after)]
        for tree in trees:
            for text in [text for call in ast.walk(tree) for text in self.list_prose(call)]:
                text.value = ""
        return ast.dump(trees[0]) == ast.dump(trees[1])

    def list_prose(self, call: ast.AST) -> Iterator[ast.Constant]:
        """Return the texts of several words in what a call of an error passes as ``expected`` or ``action``."""
        if not isinstance(call, ast.Call):
            return
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if not (name == "error" or name == "Fault" or name.endswith("Error")):
            return
        named = {one.arg: one.value for one in call.keywords}
        if name == "error":
            named |= dict(zip(self.error_arguments, call.args, strict=False))
        for argument in ("expected", "action"):
            for node in ast.walk(named[argument]) if argument in named else ():
                if isinstance(node, ast.Constant) and SEVERAL_WORDS.search(str(node.value)):
                    yield node


@functools.cache
def read_functions(path: Path) -> dict[str, str]:
    """Return the text of every function of a file that mutmut has made, by its name there."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {
        name: textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
        for name, node in parse_functions(path).items()
    }


@functools.cache
def parse_functions(path: Path) -> dict[str, ast.FunctionDef]:
    """Return every function of a file that mutmut has made, by its name there."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


if __name__ == "__main__":
    if shutil.which(str(Path(sys.executable).with_name("mutmut"))) is None:
        sys.exit("mutmut is not installed here: pip install 'mutmut>=3.8'")
    sys.exit(main())
