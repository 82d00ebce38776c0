"""Rooms import to the left only, and importing slimgate loads no framework. Both tests are shown to fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import slimgate

ROOMS = (
    "model",
    "data",
    "detect",
    "compress",
    "artifact",
    "runtime",
    "measure",
    "gate",
    "report",
    "study",
    "cli",
)
"""In the order of docs/architecture.md."""

BESIDE_CLI = ("plugin",)
EVERYWHERE = ("flow", "errors", "slimgate")

HEAVY = (
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt_rtx",
    "matplotlib",
    "ultralytics",
    "cv2",
)

PACKAGE = Path(slimgate.__file__).parent


def room_of(path: Path, package: Path) -> str:
    """Return the room a file lies in; a module beside the rooms is named after itself."""
    first = path.relative_to(package).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Yield line and room of every import of slimgate in a file, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                above = path.relative_to(package.parent).parts[: -node.level]
                names = [".".join((*above, node.module or ""))]
            elif node.module == "slimgate":
                names = [f"slimgate.{alias.name}" for alias in node.names]
            else:
                names = [node.module or ""]
        for name in names:
            parts = name.split(".")
            if parts[0] == "slimgate":
                yield node.lineno, parts[1] if len(parts) > 1 and parts[1] else "slimgate"


def find_wrong_imports(package: Path) -> list[str]:
    """Return every import that does not go to the left, and every room that has no place."""
    order = {room: index for index, room in enumerate(ROOMS)} | dict.fromkeys(BESIDE_CLI, len(ROOMS) - 1)
    order |= {"__main__": len(ROOMS)} | dict.fromkeys(EVERYWHERE, -1) | {"__init__": -1, "__version__": -1}
    wrong = []
    for path in sorted(package.rglob("*.py")):
        room = room_of(path, package)
        place = path.relative_to(package)
        if room not in order:
            wrong.append(f"{place}: '{room}' is no room")
            continue
        for line, target in imported_rooms(path, package):
            if target not in order:
                wrong.append(f"{place}:{line}: imports '{target}', which is no room")
            elif target != room and order[target] >= order[room] and order[target] >= 0:
                wrong.append(f"{place}:{line}: {room} imports {target}, which is not on its left")
    return wrong


def find_loaded(module: str, path: Path | None = None) -> list[str]:
    """Return the heavy frameworks that importing a module loads, in a process of its own."""
    code = f"import sys; import {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=path or PACKAGE.parent
    )
    return done.stdout.split()


def test_rooms_import_to_the_left_only() -> None:
    assert find_wrong_imports(PACKAGE) == []


def test_the_order_is_that_of_the_documentation() -> None:
    document = PACKAGE.parents[1] / "docs" / "architecture.md"
    assert f"    {' < '.join(ROOMS)}\n" in document.read_text(encoding="utf-8")


def test_every_room_was_looked_into() -> None:
    for room in (*ROOMS, *BESIDE_CLI):
        assert list((PACKAGE / room).glob("*.py")), f"{room} has no files"


@pytest.mark.parametrize(
    ("place", "text", "complaint"),
    [
        ("model/a.py", "from slimgate.gate import judge", "model/a.py:1: model imports gate"),
        ("gate/a.py", "import slimgate.report.html", "gate/a.py:1: gate imports report"),
        ("gate/a.py", "def f():\n    from slimgate.cli import main", "gate/a.py:2: gate imports cli"),
        ("data/a.py", "from slimgate import runtime", "data/a.py:1: data imports runtime"),
        ("data/deep/a.py", "from ...gate import judge", "data/deep/a.py:1: data imports gate"),
        ("study/a.py", "import slimgate.plugin", "study/a.py:1: study imports plugin"),
        ("errors.py", "from slimgate.model import load_detector", "errors.py:1: errors imports model"),
        ("helpers/a.py", "", "helpers/a.py: 'helpers' is no room"),
        ("model/a.py", "from slimgate.helpers import x", "model/a.py:1: imports 'helpers', which is no room"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, place: str, text: str, complaint: str) -> None:
    path = tmp_path / "slimgate" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (found,) = find_wrong_imports(tmp_path / "slimgate")
    assert found.startswith(complaint)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("gate/a.py", "from slimgate.measure import metric_for\nfrom slimgate.gate.floors import Floor"),
        ("cli/a.py", "from slimgate import __version__\nfrom slimgate.study import load_study"),
        ("data/deep/a.py", "from ..boxes import x\nimport numpy"),
    ],
)
def test_a_right_import_is_not_found(tmp_path: Path, place: str, text: str) -> None:
    path = tmp_path / "slimgate" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert find_wrong_imports(tmp_path / "slimgate") == []


@pytest.mark.parametrize(
    "module",
    [
        "slimgate",
        "slimgate.cli",
        "slimgate.flow",
        "slimgate.gate",
        "slimgate.plugin",
        "slimgate.plugin.summary",
        "slimgate.study",
    ],
)
def test_importing_loads_no_framework(module: str) -> None:
    assert find_loaded(module) == []


@pytest.mark.parametrize("framework", ["torch", "matplotlib"])
def test_a_framework_that_is_loaded_is_found(tmp_path: Path, framework: str) -> None:
    (tmp_path / framework).mkdir()
    (tmp_path / framework / "__init__.py").write_text("")
    (tmp_path / "planted.py").write_text(f"def f():\n    pass\nimport {framework}")
    assert find_loaded("planted", tmp_path) == [framework]
