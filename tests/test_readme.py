"""README.md: short, in a fixed order, with the jobs, packages and terms of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs import cli
from tests.support import docs
from tests.support.pages import README, read, table

TEXT = read(README)
PICTURES = (Path("docs/images/contact-sheet.jpg"), Path("docs/images/report.webp"))


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 190


def test_its_sections_are_in_order() -> None:
    assert re.findall(r"^## (.*)$", TEXT, flags=re.MULTILINE) == [
        *("Try it", "Your own videos", "The flow", "Terms", "Jobs", "Next to NeMo Curator", "Layout", "Documentation"),
        "License",
    ]


@pytest.mark.parametrize("picture", PICTURES, ids=str)
def test_the_pictures_are_there_and_small(picture: Path) -> None:
    assert f"]({picture})" in TEXT
    assert 20_000 < picture.stat().st_size < 150_000


def test_the_job_list_is_the_command_lines() -> None:
    assert table(README, "## Jobs") == [[name, about] for name, about in cli.JOBS.items()], docs.REWRITE


def test_the_job_list_is_rewritten() -> None:
    assert docs.with_jobs(TEXT) == TEXT
    assert docs.with_jobs(TEXT.replace("| curate |", "| cruate |")) == TEXT


def test_eight_terms_and_six_differences_are_there() -> None:
    terms = [term.strip("*") for term, _ in table(README, "## Terms")]
    assert terms == ["video", "span", "clip", "window", "signal", "proxy", "verdict", "fingerprint"]
    assert len(table(README, "## Next to NeMo Curator")) == 6


def test_the_layout_names_every_package_and_no_other() -> None:
    layout = TEXT.partition("## Layout")[2].partition("```")[2].partition("```")[0]
    named = set(re.findall(r"^(\w+(?:/\w+)?)/ ", layout, flags=re.MULTILINE))
    packages = {str(path.parent) for top in ("jobs", "udfs") for path in Path(top).glob("**/__init__.py")}
    assert named == packages
