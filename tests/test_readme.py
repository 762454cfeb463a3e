"""README.md: its commands, tables and tree are those of the repository."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from jobs import cli
from jobs.config.settings import load
from jobs.lake import views
from schemas import TABLES
from udfs.core.errors import CODES

README = Path("README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix(".venv/bin/").removeprefix("reelmill ")
    for line in re.findall(r"^\.venv/bin/reelmill .*$", README, flags=re.MULTILINE)
]


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table behind a heading."""
    text = README.partition(heading)[2]
    lines = re.search(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert lines is not None
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in lines[0].splitlines()[2:]]


def test_the_table_list_is_the_schemas() -> None:
    declared = [[t.name, ", ".join(t.key), t.about] for t in TABLES.values()]
    assert rows("## Tables") == declared


def test_the_job_list_is_the_command_lines() -> None:
    assert rows("Every step of the chain") == [[name, about] for name, about in cli.JOBS.items()]


def test_the_failure_codes_are_the_codes() -> None:
    assert [code for code, _ in rows("### Failure codes")] == list(CODES)


def test_every_view_is_named() -> None:
    assert all(f"`{view.name}`" in README for view in views.VIEWS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_reelmill_command_parses(command: str) -> None:
    assert cli.parse(shlex.split(command, comments=True)).job in cli.JOBS


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", Path("Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", README, flags=re.MULTILINE)) <= targets


def test_the_settings_shown_are_settings(tmp_path: Path) -> None:
    shown = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "shown.toml").write_text("\n".join(shown), encoding="utf-8")
    settings = load([str(tmp_path / "shown.toml")], [])
    assert settings.filter.motion
    assert settings.embed.resources.gpus == 0.25


def test_the_tree_names_every_package_and_no_other() -> None:
    tree = README.partition("## The tree")[2].partition("```")[2].partition("```")[0]
    named = set(re.findall(r"^(\w+(?:/\w+)?)/ ", tree, flags=re.MULTILINE))
    packages = {str(path.parent) for top in ("jobs", "udfs") for path in Path(top).glob("**/__init__.py")}
    assert {name for name in named if name.startswith(("jobs", "udfs"))} == packages
    assert all(Path(name).is_dir() for name in named)
