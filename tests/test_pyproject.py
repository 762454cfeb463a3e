"""pyproject.toml: each list of requirements names a package once, and constraints.txt has a version of each."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
INSTALLED = ("dev", "demo", "models", "bench", "release")  # extras, by the Makefile


def test_no_requirement_stands_twice_in_a_list() -> None:
    lists = {"dependencies": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    assert len(lists["dependencies"]) > 5
    for name, requirements in lists.items():
        packages = [re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements]
        assert sorted(set(packages)) == sorted(packages), name


def test_every_requirement_that_make_installs_is_pinned() -> None:
    lines = Path("constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines}
    extras = PROJECT["optional-dependencies"]
    installed = [*PROJECT["dependencies"], *(line for name in INSTALLED for line in extras[name])]
    names = {re.split(r"[\[<>=!~; ]", line)[0].lower() for line in installed} - {"reelmill"}
    assert names - pinned == set()
    assert "pre-commit" in names
    assert lines == sorted(lines, key=str.upper)
