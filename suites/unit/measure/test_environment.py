from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from slimgate.measure import device_key, environment
from slimgate.measure import environment as environment_function
from slimgate.measure.environment import cpu_name, git_commit, gpu_name, usable_cpus


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
    monkeypatch.setitem(environment_function.__globals__, "_CPU_FACTS", facts)
    facts.write_text(
        "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel name\t: second\n"
    )
    assert cpu_name() == "AMD EPYC (family 25 model 17)"


def fake_answer(monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    monkeypatch.setitem(environment_function.__globals__, "_answer", lambda command: answer)


def test_gpu_key_has_name_and_driver_major(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_answer(monkeypatch, "NVIDIA H100 80GB HBM3, 570.86.15\nNVIDIA H100 80GB HBM3, 570.86.15")
    assert gpu_name() == "NVIDIA H100 80GB HBM3 driver 570"
    assert device_key("gpu") == "gpu:NVIDIA H100 80GB HBM3 driver 570"


def test_without_a_gpu_the_gpu_key_is_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_answer(monkeypatch, None)
    assert gpu_name() is None
    assert device_key("gpu") == device_key("cpu")


def test_git_commit_and_whether_files_changed(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        settings = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *settings, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert git_commit(tmp_path) is None
    git("init", "-q")
    (tmp_path / "a.txt").write_text("one")
    git("add", ".")
    git("commit", "-qm", "first")
    assert git_commit(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "a.txt").write_text("two")
    assert git_commit(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": True}
