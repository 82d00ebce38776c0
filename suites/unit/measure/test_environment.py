from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from slimgate.errors import InputError
from slimgate.measure import device_key, environment, require_gpu_key
from slimgate.measure.environment import cpu_name, git_commit, gpu_name, usable_cpus

# Under its name in the package is the function.
MODULE = sys.modules["slimgate.measure.environment"]


def test_environment_is_json_and_names_no_user_host_or_path() -> None:
    facts = environment()
    text = json.dumps(facts)
    assert json.loads(text) == facts
    assert platform.node() not in text
    assert str(Path.home()) not in text
    assert facts["device"] == device_key()
    assert facts["versions"]["numpy"] == metadata.version("numpy")
    assert facts["python"] == platform.python_version()


def test_cpu_key_is_exact_and_stable() -> None:
    assert device_key() == device_key("cpu") == f"cpu:{cpu_name()}, {usable_cpus()} cores"
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


def test_generic_cpu_names_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tmp_path / "cpuinfo"
    monkeypatch.setattr(MODULE, "_CPU_FACTS", facts)
    facts.write_text(
        "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel name\t: second\n"
    )
    assert cpu_name() == "AMD EPYC (family 25 model 17)"
    facts.write_text("model name\t: Neoverse: N1\n")
    assert cpu_name() == "Neoverse: N1", "half a name is one for many"


def fake_answer(monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    monkeypatch.setattr(MODULE, "_answer", lambda command: answer)


H100 = "GPU-5a1c0f3e-6a0d-4a53-8f3c-0e1f2a3b4c5d, 570.86.15, NVIDIA H100 80GB HBM3"
H100_TOO = "GPU-5b77d2aa-91c4-47be-b1f0-c3d4e5f60718, 570.86.15, NVIDIA H100 80GB HBM3"
T4 = "GPU-9e8d7c6b-0a1b-42c3-9d4e-5f60718293a4, 570.86.15, Tesla T4"


@pytest.fixture(autouse=True)
def no_gpu_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)


def test_gpu_key_has_name_and_driver_major(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_answer(monkeypatch, f"{H100}\n{H100_TOO}")
    assert gpu_name() == "NVIDIA H100 80GB HBM3 driver 570"
    assert device_key("gpu") == "gpu:NVIDIA H100 80GB HBM3 driver 570"
    require_gpu_key(device_key("gpu"))


NVIDIA_SMI = """\
#!{python}
import sys
known = dict(uuid="GPU-5a1c0f3e", name="NVIDIA H100 80GB HBM3", driver_version="570.86.15")
asked = dict(one.lstrip("-").partition("=")[::2] for one in sys.argv[1:])
if asked.keys() != {{"query-gpu", "format"}} or asked["format"] != "csv,noheader":
    sys.exit("Invalid combination of input arguments")
print(", ".join(known[field] for field in asked["query-gpu"].split(",")))
"""


def test_gpu_key_is_what_nvidia_smi_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(NVIDIA_SMI.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_name() == "NVIDIA H100 80GB HBM3 driver 570"


@pytest.mark.parametrize(
    ("visible", "order", "name"),
    [
        ("1", "PCI_BUS_ID", "Tesla T4"),
        ("1,0", "PCI_BUS_ID", "Tesla T4"),
        ("0", "PCI_BUS_ID", "NVIDIA H100 80GB HBM3"),
        (None, "PCI_BUS_ID", "NVIDIA H100 80GB HBM3"),
        ("GPU-9e8d7c6b-0a1b-42c3-9d4e-5f60718293a4", None, "Tesla T4"),
        ("GPU-9e8d", None, "Tesla T4"),
        ("GPU-5", None, "NVIDIA H100 80GB HBM3"),
        # CUDA's own order of GPUs of two kinds is nowhere to be read.
        ("1", None, None),
        (None, "FASTEST_FIRST", None),
        ("GPU-", None, None),
        ("GPU-1234", None, None),
        ("2", "PCI_BUS_ID", None),
        ("", "PCI_BUS_ID", None),
        ("-1", "PCI_BUS_ID", None),
        ("MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "PCI_BUS_ID", None),
    ],
)
def test_gpu_key_is_that_of_the_gpu_that_cuda_gives(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, order: str | None, name: str | None
) -> None:
    fake_answer(monkeypatch, f"{H100}\n{T4}")
    for variable, value in (("CUDA_VISIBLE_DEVICES", visible), ("CUDA_DEVICE_ORDER", order)):
        if value is not None:
            monkeypatch.setenv(variable, value)
    assert gpu_name() == (f"{name} driver 570" if name else None)


@pytest.mark.parametrize("answer", [None, "", "NVIDIA-SMI has failed because it could not communicate"])
def test_without_a_gpu_the_gpu_key_is_the_cpus_and_no_gpu_case_is_measured_under_it(
    monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    fake_answer(monkeypatch, answer)
    assert gpu_name() is None
    assert device_key("gpu") == device_key("cpu")
    with pytest.raises(InputError, match="nvidia-smi does not tell which GPU this is\n  expected: one whole"):
        require_gpu_key(device_key("gpu"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-c6d4")
    with pytest.raises(InputError, match=r"which GPU this is \(CUDA_VISIBLE_DEVICES is 'MIG-c6d4'\)"):
        require_gpu_key(device_key("gpu"))


def git_in(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *settings, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_git_commit_and_whether_files_changed(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git_in(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("one")
    git_in(tmp_path, "add", ".")
    git_in(tmp_path, "commit", "-qm", "first")
    commit = git_in(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "a.txt").write_text("two")
    assert git_commit(tmp_path) == {"commit": commit, "dirty": True, "changes": ["a.txt"]}
    git_in(tmp_path, "add", ".")
    assert git_commit(tmp_path) == {"commit": commit, "dirty": True, "changes": ["a.txt"]}


def test_files_that_git_does_not_know_make_a_tree_dirty_where_numbers_come_from_them(tmp_path: Path) -> None:
    git_in(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("ignored/\n")
    git_in(tmp_path, "add", ".")
    git_in(tmp_path, "commit", "-qm", "first")
    below = tmp_path / "runs" / "first"
    below.mkdir(parents=True)
    (tmp_path / "ignored").mkdir()
    (tmp_path / "ignored" / "tool.py").write_text("")
    weights = tmp_path / "weights [new]" / "best.pt"
    weights.parent.mkdir()
    weights.write_text("")
    (below / "report.md").write_text("")
    assert git_commit(below) == {"commit": git_in(tmp_path, "rev-parse", "HEAD"), "dirty": False}

    def changes() -> list[str]:
        found = git_commit(below, inputs=[weights])
        assert found is not None
        assert found["dirty"] is True
        return list(found["changes"])

    assert changes() == ["weights [new]/best.pt"]
    (tmp_path / "study.toml").write_text("")
    (tmp_path / "conftest.py").write_text("")
    assert changes() == ["conftest.py", "study.toml", "weights [new]/best.pt"]


def test_an_input_outside_the_repository_makes_its_tree_dirty(tmp_path: Path) -> None:
    root = tmp_path / "code"
    root.mkdir()
    git_in(root, "init", "-q")
    (root / "study.toml").write_text("")
    git_in(root, "add", ".")
    git_in(root, "commit", "-qm", "first")
    assert git_commit(root, inputs=[root / "study.toml"]) == {
        "commit": git_in(root, "rev-parse", "HEAD"),
        "dirty": False,
    }
    outside = tmp_path / "models" / "best.pt"
    found = git_commit(root, inputs=[root / "study.toml", outside])
    assert found is not None
    assert (found["dirty"], found["changes"]) == (True, ["best.pt (outside the repository)"])


def test_the_commit_is_that_of_the_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "study"):
        (tmp_path / name).mkdir()
    git_in(tmp_path / "here", "init", "-q")
    git_in(tmp_path / "here", "commit", "-qm", "of another project", "--allow-empty")
    monkeypatch.chdir(tmp_path / "here")
    assert environment()["git"] == {"commit": git_in(Path.cwd(), "rev-parse", "HEAD"), "dirty": False}
    assert "git" not in environment(folder=tmp_path / "study")


def test_a_tree_that_git_says_nothing_about_is_not_called_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"rev-parse": str(tmp_path)}
    planted = lambda command: next((answers[one] for one in command if one in answers), None)  # noqa: E731
    monkeypatch.setattr(MODULE, "_answer", planted)
    assert git_commit(tmp_path) == {"commit": str(tmp_path), "dirty": True, "changes": []}
