"""The parts of the jail: numbers of system calls, the filter's verdicts, variables, and folders of code."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import numpy
import pytest

import reelmill
from udfs.core import jail


def test_variables_that_may_hold_secrets_are_left_out() -> None:
    known = {"PATH": "/bin", "LC_ALL": "C", "OMP_NUM_THREADS": "2", "TZ": "UTC"}
    secret = {"AWS_SESSION_TOKEN": "x", "HF_TOKEN": "x", "OPENAI_API_KEY": "x", "HOME": "/root", "SPARK_HOME": "/opt"}
    assert jail.variables((known | secret).items()) == known


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "/usr/include/asm-generic/unistd.h")],
)
def test_system_calls_have_the_kernels_numbers(machine: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"no {header}")
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text()))
    column = jail.MACHINES[machine][0]
    numbers = {name: each[column] for name, each in (jail.REFUSED | jail.PROGRAMS | jail.OTHERS).items()}
    known = {name: number for name, number in numbers.items() if number is not None}
    assert {name: int(found[name]) for name in known} == known


@pytest.mark.parametrize("machine", [*jail.MACHINES])
def test_the_filter_refuses_and_allows_by_number(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    column, audit = jail.MACHINES[machine]
    steps, pid = jail._filter(starts_program=False), os.getpid()
    refused = {name: each[column] for name, each in (jail.REFUSED | jail.PROGRAMS).items() if each[column] is not None}
    assert {name for name, number in refused.items() if verdict(steps, audit, number) != jail.ERRNO | 1} == set()
    mmap = jail.OTHERS["mmap"]
    assert verdict(steps, audit, mmap[column], 0, 0, 3, 0x22) == jail.ALLOW
    assert verdict(steps, audit, mmap[column], 0, 0, 3, 0x21) == jail.ERRNO | 12
    assert verdict(steps, audit, jail.OTHERS["kill"][column], pid) == jail.ALLOW
    assert verdict(steps, audit, jail.OTHERS["kill"][column], pid + 1) == jail.ERRNO | 1
    assert verdict(steps, audit, jail.OTHERS["prlimit64"][column], 0) == jail.ALLOW
    assert verdict(steps, audit, jail.OTHERS["prlimit64"][column], 1) == jail.ERRNO | 1
    prctl = jail.OTHERS["prctl"][column]
    assert verdict(steps, audit, prctl, jail.PR_SET_PDEATHSIG, 9) == jail.ALLOW
    assert verdict(steps, audit, prctl, jail.PR_SET_PDEATHSIG, 0) == jail.ERRNO | 1
    assert verdict(steps, audit, prctl, 15, 0) == jail.ALLOW  # of another thing
    assert verdict(steps, audit, jail.OTHERS["clone"][column], 0x3D0F00) == jail.ALLOW
    assert verdict(steps, audit, jail.OTHERS["clone"][column], 17) == jail.ERRNO | 1
    assert verdict(steps, audit, (76, 45)[column]) == jail.ERRNO | 1  # truncate, which Linux 5.13 allows everywhere
    assert verdict(steps, audit, jail.OTHERS["clone3"][column]) == jail.ERRNO | 38
    assert verdict(steps, audit, 0x40000000 | 41) == jail.ERRNO | 38  # of the x32 kind
    assert verdict(steps, audit ^ 1, 0) == jail.KILL
    assert verdict(steps, audit, (0, 63)[column]) == jail.ALLOW  # read
    with_program = jail._filter(starts_program=True)
    assert verdict(with_program, audit, jail.PROGRAMS["execve"][column]) == jail.ALLOW
    assert verdict(with_program, audit, jail.REFUSED["socket"][column]) == jail.ERRNO | 1


def verdict(steps: list[tuple[int, int, int, int]], machine: int, number: int | None, *arguments: int) -> int:
    """What the kernel does with a system call, by the rules of its filter language."""
    assert number is not None
    data = {jail.NUMBER: number, jail.MACHINE_AT: machine}
    data |= {jail.ARGUMENTS + 8 * index: argument for index, argument in enumerate(arguments)}
    at = value = 0
    while True:
        operation, if_true, if_false, operand = steps[at]
        at += 1
        if operation == jail.LOAD:
            value = data.get(operand, 0)
        elif operation == jail.AND:
            value &= operand
        elif operation in (jail.EQUAL, jail.GREATER):
            at += if_true if (value == operand if operation == jail.EQUAL else value > operand) else if_false
        else:
            assert operation == jail.RETURN
            return operand


def test_of_a_folder_that_is_not_pythons_own_only_what_is_installed_there_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("package", "videos", ".aws", "numpy.libs"):
        (tmp_path / name).mkdir()
    for name in ("package/__init__.py", "package/.env", "module.py", ".aws/hidden.py", "keys.json"):
        (tmp_path / name).touch()
    assert code_in(tmp_path) == set()  # as in a working directory
    (tmp_path / "package-1.0.dist-info").mkdir()
    assert code_in(tmp_path) == {"package", "module.py", "numpy.libs"}
    monkeypatch.setattr(os, "listdir", not_allowed)
    assert code_in(tmp_path) == set()


def code_in(folder: Path) -> set[str]:
    """What is code in a folder that Python imports from."""
    jail.code_paths.cache_clear()
    paths = jail.code_paths((str(folder),))
    needed = (*(Path(module.__file__ or "") for module in (numpy, jail, reelmill)), Path(__file__))
    assert all(any(file.is_relative_to(path) for path in paths) for file in needed)
    return {str(Path(path).relative_to(folder)) for path in paths if Path(path).is_relative_to(folder)}


def not_allowed(folder: object) -> list[str]:
    """List a folder of others."""
    raise PermissionError(folder)
