"""The machine's Java: one that Spark cannot run on is named in a line that says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.spark import java


@pytest.mark.parametrize("java", ["", "/nowhere"])
def test_a_missing_java_is_one_line_that_says_what_to_install(java: str, tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path)} | ({"JAVA_HOME": java} if java else {})
    told = subprocess.run(
        [sys.executable, "-m", "jobs.spark.java"], env=env, capture_output=True, text=True, check=False
    )
    assert told.returncode == 1
    assert "install one (Debian: apt-get install openjdk-17-jdk-headless)" in told.stderr
    assert told.stderr.count("\n") == 1


def installed(folder: Path, answer: str) -> Path:
    """A folder for JAVA_HOME, whose program says this about its version."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "java"
    program.write_text(f"#!/bin/sh\necho '{answer}' >&2\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("answer", "number"),
    [('openjdk version "11.0.2"', 11), ('java version "1.8.0_392"', 8), ('openjdk version "25" 2025-09-16', 25)],
)
def test_a_java_that_spark_cannot_run_on_is_named(
    answer: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(installed(tmp_path, answer)))
    line = f"{tmp_path}/bin/java is Java {number}. {java.ADVICE}"
    assert java.problem() == line


@pytest.mark.parametrize("answer", ['openjdk version "17.0.19" 2026-04-21', 'openjdk version "21" 2023-09-19 LTS'])
def test_a_java_that_spark_runs_on_is_no_problem(answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(installed(tmp_path, answer)))
    assert java.problem() is None


def test_a_program_that_names_no_version_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(installed(tmp_path, "no Java here")))
    assert java.problem() == f"{tmp_path}/bin/java -version names no version. {java.ADVICE}"


def test_the_java_on_path_counts_where_java_home_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    folder = installed(tmp_path, 'openjdk version "11.0.2"')
    monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
    assert (java.problem() or "").startswith(f"{tmp_path}/bin/java is Java 11.")
