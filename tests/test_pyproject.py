"""pyproject.toml: every list of requirements names each package once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_no_requirement_stands_twice_in_a_list() -> None:
    lists = {"dependencies": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    assert len(lists["dependencies"]) > 5
    for name, requirements in lists.items():
        packages = [re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements]
        assert sorted(set(packages)) == sorted(packages), name
