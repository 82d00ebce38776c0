"""docs/tutorial.md, done as it says: its commands are run, its outputs are compared, its faults go red."""

from __future__ import annotations

import copy
import fnmatch
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from slimgate.cli import main
from slimgate.data.codes import materialise_split
from slimgate.model import load_detector

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
WEIGHTS = ROOT / "fixtures" / "weights" / "codes-slim18.safetensors"
IMAGES = 8

_STEP = re.compile(
    r"(?:<!-- exit (?P<exit>\d) -->\n)?```(?P<kind>console|text)\n(?P<body>.*?)```|<!-- paste (?P<paste>\S+) -->",
    re.DOTALL,
)


@dataclass(frozen=True)
class Step:
    """A block of the tutorial: commands to run, output to be found, or floors to be pasted.

    Attributes:
        kind: ``console``, ``text`` or ``paste``.
        body: commands, expected lines, or the floors file.
        code: the exit code that the commands end with.
    """

    kind: str
    body: str
    code: int = 0


def read_steps(markdown: str) -> Iterator[Step]:
    for match in _STEP.finditer(markdown):
        if match["paste"]:
            yield Step("paste", match["paste"])
        else:
            yield Step(match["kind"], match["body"], int(match["exit"] or 0))


class Reader:
    """Somebody who does what the tutorial says, in an empty folder."""

    def __init__(self, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
        self.pytester, self.capsys = pytester, capsys
        self.output = ""

    def follow(self, step: Step) -> None:
        if step.kind == "text":
            self.compare(step.body)
        elif step.kind == "paste":
            self.paste(Path(step.body))
        else:
            for line in step.body.splitlines():
                code, self.output = self.run(line)
                assert code == step.code, f"{line}\nexit code {code}, not {step.code}\n{self.output}"

    def run(self, line: str) -> tuple[int, str]:
        program, *arguments = shlex.split(line)
        if program == "slimgate":
            self.capsys.readouterr()
            code = main(arguments)
            written = self.capsys.readouterr()
            assert code != 2, f"{line}\n{written.err}"
            return code, written.out
        if program == "pytest":
            result = self.pytester.runpytest_inprocess(*arguments)
            self.capsys.readouterr()
            return int(result.ret), str(result.stdout)
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def compare(self, expected: str) -> None:
        """Find the lines in this order; ``…`` stands for anything."""
        lines = iter(self.output.splitlines())
        for wanted in expected.splitlines():
            pattern = re.sub(r"([*?[])", r"[\1]", wanted.strip()).replace("…", "*")
            found = any(fnmatch.fnmatchcase(line.strip(), pattern) for line in lines)
            assert found, f"not in the output, or not in this order: {wanted}\n{self.output}"

    def paste(self, floors: Path) -> None:
        blocks = dict(
            re.findall(r"^# ---- (\S+): [^\n]*\n(.*?)(?=^# ----|\Z)", self.output, re.DOTALL | re.MULTILINE)
        )
        text = blocks[str(floors)].replace("WRITE WHY THIS IS GOOD ENOUGH", "what the first run measured")
        with floors.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")


@pytest.fixture
def frameworks() -> Iterator[dict[str, ModuleType]]:
    """Keep what is loaded meanwhile: pytester forgets it, and torch cannot be loaded twice in one process."""
    loaded: dict[str, ModuleType] = {}
    yield loaded
    for name, module in loaded.items():
        sys.modules.setdefault(name, module)


@pytest.fixture
def reader(
    frameworks: dict[str, ModuleType],
    pytester: pytest.Pytester,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Reader]:
    """Yield a reader in a folder with ``best.pt``, as ultralytics writes one, and ``data/``."""
    for split in ("train", "val"):
        drawn = materialise_split(split, count=IMAGES)
        for kind in ("images", "labels"):
            shutil.copytree(drawn / kind, pytester.path / "data" / kind / split)
    names = "[datamatrix, qrcode, barcode]"
    (pytester.path / "data" / "data.yaml").write_text(
        f"path: .\ntrain: images/train\nval: images/val\nnames: {names}\n"
    )
    write_ultralytics_checkpoint(WEIGHTS, pytester.path / "best.pt")
    monkeypatch.setenv("SLIMGATE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "reader")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "reader@example.org")
    yield Reader(pytester, capsys)
    frameworks.update(sys.modules)


def write_ultralytics_checkpoint(weights: Path, path: Path) -> None:
    detector = load_detector(weights)
    module = copy.deepcopy(detector.module)
    module.names = dict(enumerate(detector.class_names))
    content = {"epoch": 1, "best_fitness": 0.5, "model": None, "ema": module.half(), "version": "8.4.190"}
    torch.save(content | {"train_args": {"imgsz": detector.image_size}}, path)


@pytest.mark.timing
def test_the_tutorial_leads_from_an_empty_folder_to_a_gate_that_goes_red(reader: Reader) -> None:
    steps = list(read_steps(TUTORIAL))
    assert {step.kind for step in steps} == {"console", "text", "paste"}
    for step in steps:
        reader.follow(step)


@pytest.mark.parametrize("kind", ["console", "text"])
def test_no_block_of_the_tutorial_is_overlooked(kind: str) -> None:
    blocks = [step for step in read_steps(TUTORIAL) if step.kind == kind]
    assert len(blocks) == TUTORIAL.count(f"```{kind}\n")
    assert TUTORIAL.count("```") == 2 * sum(step.kind != "paste" for step in read_steps(TUTORIAL))


def test_output_that_differs_from_the_tutorial_is_found(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = Reader(pytester, capsys)
    reader.follow(Step("console", "echo 'one [a]'; echo two\n"))
    reader.follow(Step("text", "one [a]\n…o\n"))
    with pytest.raises(AssertionError, match="not in this order: one"):
        reader.follow(Step("text", "two\none [a]\n"))
    with pytest.raises(AssertionError, match="exit code 3, not 0"):
        reader.follow(Step("console", "exit 3\n"))
