"""The command that last lines and hints name starts this program again from the same folder."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from udfs.core.program import command_of

ROOT = Path(__file__).resolve().parents[2]
ASK = "from udfs.core import program; print(program.command())"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """.venv/bin/reelmill below the current folder, which is not on PATH."""
    path = tmp_path / "here/.venv/bin/reelmill"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!{sys.executable}\nimport sys\nsys.path[0] = {str(ROOT)!r}\n{ASK}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return path


def asked(command: str, **env: str) -> str:
    """What a process started by this shell line says that its command is."""
    done = subprocess.run(["bash", "-c", command], env=os.environ | env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_script_is_named_as_it_was_typed(script: Path) -> None:
    assert asked(".venv/bin/reelmill") == ".venv/bin/reelmill"


def test_a_long_path_is_shortened_to_the_one_from_here(script: Path) -> None:
    assert asked(str(script)) == ".venv/bin/reelmill"
    assert asked(f"cd {script.parent} && {script}") == "./reelmill"
    assert asked(f"cd / && {script}") == str(script)[1:]


def test_a_script_on_the_path_needs_no_folder(script: Path) -> None:
    assert asked("reelmill", PATH=f"{script.parent}:{os.environ['PATH']}") == "reelmill"


def test_another_script_of_that_name_on_the_path_is_not_meant(script: Path, tmp_path: Path) -> None:
    other = tmp_path / "bin/reelmill"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n", encoding="utf-8")
    other.chmod(0o755)
    assert asked(".venv/bin/reelmill", PATH=f"{other.parent}:{os.environ['PATH']}") == ".venv/bin/reelmill"


def test_a_path_with_a_blank_is_quoted(script: Path, tmp_path: Path) -> None:
    moved = script.parents[2].rename(tmp_path / "my folder")
    command = asked(f"cd / && '{moved}/.venv/bin/reelmill'")
    assert shlex.split(command) == [f"{str(moved)[1:]}/.venv/bin/reelmill"]


def test_a_module_is_named_with_the_python_as_it_was_typed() -> None:
    started = str(ROOT / "jobs/__main__.py")
    assert command_of(started, "jobs.__main__", "python3", "/none/bin/python") == "python3 -m jobs"
    assert command_of(started, "jobs.__main__", ".venv/bin/python", "/none/bin/python") == ".venv/bin/python -m jobs"


def test_another_module_names_the_script_beside_its_python(script: Path) -> None:
    python = str(script.with_name("python"))
    assert command_of("/x/jobs/demo.py", "jobs.demo", ".venv/bin/python", python) == ".venv/bin/reelmill"
    script.unlink()
    assert command_of("/x/jobs/demo.py", "jobs.demo", ".venv/bin/python", python) == ".venv/bin/python -m jobs"


def test_without_any_script_the_plain_name_is_left(script: Path) -> None:
    assert command_of("/x/jobs/curate.py", None, "python", "/none/bin/python") == "reelmill"


def test_python_m_jobs_says_so_in_a_hint(tmp_path: Path) -> None:
    model = ["--set", "embed.model=clip", "--set", f"models.dir={tmp_path}"]
    command = [sys.executable, "-m", "jobs", "embed", "-o", str(tmp_path / "out"), *model]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f" -m jobs models --fetch clip --dir {tmp_path}`" in done.stderr
