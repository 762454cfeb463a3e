"""docs/nemo-curator.md: it has every name of NeMo Curator's documents, and what it says is here is here."""

from __future__ import annotations

import importlib
import re
import tomllib
from dataclasses import fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

import reelmill
from jobs import cli
from jobs.config.arguments import argument_fields
from jobs.config.described import described
from jobs.config.errors import SettingsError
from jobs.config.sections import presets
from jobs.config.settings import Settings, load, names
from jobs.lake import views
from schemas import TABLES
from tests.support import nemo_documents as documents
from tests.support.pages import anchors, read
from udfs.exports import nemo_paths
from udfs.models import registry

PAGE = Path("docs/nemo-curator.md")
UNLIKE = "## Where it differs on purpose"  # that table says what ours does, and maps no name
NOT_HERE = re.compile(r"none\b|None\b|empty\b|the same\b|does nothing|1 and 0\b|bytes of\b|the default\b")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
SHOWN = re.compile(r"`(\w+)=([^`]+)`")  # a parameter with its default
FOLDERS_OF_MODELS = {"<model>_embd/", "<model>_embd_parquet/"}
FIELDS = {"span_uuid", "qwen_lm", "filtered=True"}  # of exported documents, and an argument of a helper


class Row(NamedTuple):
    """A row of one of the page's tables."""

    heading: str
    there: str  # the first cell; where there are names beside a class or stage, both
    here: str  # the others


def rows() -> list[Row]:
    """The rows of all tables that map names."""
    found, heading, first, columns = [], "", "", 0
    for line, following in pairwise([*read(PAGE).partition(UNLIKE)[0].splitlines(), ""]):
        heading = line.strip("# ") if line.startswith("#") else heading
        if not line.startswith("|") or line.startswith("|---"):
            continue
        cells = [cell.strip() for cell in line[1:].removesuffix("|").split("|")]
        if following.startswith("|---"):
            columns = 2 if cells[0] in ("class", "stage") else 1
            continue
        first = cells[0] or first
        found.append(Row(heading, " ".join([first, *cells[1:columns]]), " ".join(cells[columns:])))
    return found


ROWS = rows()


def has_row(heading: str, name: str, of: str = "") -> bool:
    """Whether a table below a heading has a name in its first cells, perhaps in the row of a class or stage."""
    word = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
    return any(
        word.search(row.there) and re.search(rf"(?<!\w){of}\b", row.there) for row in ROWS if heading in row.heading
    )


@pytest.mark.parametrize("topic", documents.TOPICS)
def test_every_topic_has_its_place(topic: str) -> None:
    assert any(topic in row.there for row in ROWS)


@pytest.mark.parametrize("stage", documents.STAGES)
def test_every_stage_has_its_place(stage: str) -> None:
    assert has_row("Stage by stage", stage)


@pytest.mark.parametrize(("stage", "name"), [(s, name) for s, every in documents.PARAMETERS.items() for name in every])
def test_every_parameter_has_its_place(stage: str, name: str) -> None:
    assert has_row("Parameter by parameter", name, stage)


@pytest.mark.parametrize("argument", documents.ARGUMENTS)
def test_every_argument_has_its_place(argument: str) -> None:
    assert any(re.search(rf"`{argument}[ `]", row.there) for row in ROWS)


@pytest.mark.parametrize("folder", documents.FOLDERS)
def test_every_folder_has_its_place(folder: str) -> None:
    assert any(f"`{folder}/" in row.there for row in ROWS if row.heading == "Output by output")


@pytest.mark.parametrize(
    ("of", "name"),
    [(of, name) for of, every in {**documents.DATA_MODEL, "VideoTask": documents.TASK}.items() for name in every],
)
def test_every_member_of_a_class_has_its_place(of: str, name: str) -> None:
    assert has_row("Class by class", name, of)


@pytest.mark.parametrize("folder", documents.FOLDERS)
def test_every_path_helper_has_its_place(folder: str) -> None:
    helper = "clips" if folder == "filtered_clips" else folder.removesuffix("/v0")
    assert any(f"`get_output_path_{helper}`" in row.there for row in ROWS)


@pytest.mark.parametrize("helper", [name for name in reelmill.__all__ if name.startswith("get_output_path_")])
def test_every_path_helper_gives_the_folder_that_the_page_says(helper: str) -> None:
    [row] = [row for row in ROWS if f"`reelmill.{helper}`" in row.here]
    assert f"`{getattr(reelmill, helper)('out').removeprefix('out/')}/`" in row.here


@pytest.mark.parametrize(("stage", "name"), [(s, name) for s, every in documents.DEFAULTS.items() for name in every])
def test_a_default_is_the_same_here_or_the_page_says_the_other(stage: str, name: str) -> None:
    [row] = [row for row in ROWS if row.there.startswith(stage) and f"`{name}=" in row.there]
    [(_, shown)] = SHOWN.findall(row.there)
    there = documents.DEFAULTS[stage][name]
    assert shown == ("None" if there is None else f'"{there}"' if isinstance(there, str) else str(there))
    ours = DEFAULTS.get(CODE.findall(row.here)[0], False)  # of `--verbose`, which is no setting
    said = re.search(r"; here `?(\w+)", row.here)
    assert said[1] == str(ours) if said else (ours or None) == (there or None)


DEFAULTS = {setting.name: setting.default for setting in described()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.there)
def test_what_a_row_says_is_here_is_here(row: Row) -> None:
    codes, links = CODE.findall(row.here), LINK.findall(row.here)
    assert codes or links or NOT_HERE.match(row.here), "neither a name nor a reason"
    assert [code for code in codes if not is_here(code)] == []
    for link in links:
        path, _, anchor = link.partition("#")
        target = PAGE.parent / path if path else PAGE
        assert target.exists()
        assert not anchor or anchor in anchors(target)


def test_a_wrong_row_is_seen() -> None:
    for wrong in ("caption.promt_text", 'split.method = "scenes"', "export --formt nemo", "export --format nemoo"):
        assert not is_here(wrong)
    for wrong in ("curat", "clips.urr", "reelmill.Clips2", "--outputt", "preset:film", "clips2/"):
        assert not is_here(wrong)


def is_here(code: str) -> bool:
    """Whether a piece of code is a setting, perhaps with a value, a job, an argument, a table, a column or Python's."""
    return code in words() or is_assignment(code) or is_command(code) or is_of_module(code)


@cache
def words() -> frozenset[str]:
    """Settings, sections, choices, defaults, jobs, tables, views, columns, models, folders and fields."""
    tables = {name: [*table.schema.names] for name, table in TABLES.items()} | {
        view.name: [*view.columns] for view in views.VIEWS
    }
    folders = {f"{getattr(reelmill, name)('out').removeprefix('out/')}/" for name in dir(nemo_paths) if "path_" in name}
    return frozenset(
        {*names(), *(name.rpartition(".")[0] for name in names()), *cli.JOBS, *tables, *registry.KNOWN}
        | {f"{table}.{column}" for table, columns in tables.items() for column in columns}
        | {str(choice) for setting in described() for choice in (*setting.choices, setting.default)}
        | {f"[{field.name}]" for field in fields(Settings)}
        | {"[custom.NAME]", *folders, "filtered_clips/", *FOLDERS_OF_MODELS, *FIELDS}
    )


def is_assignment(code: str) -> bool:
    """Whether this is a line of a conf file that sets a setting to a value that it takes."""
    name, equals, value = code.partition(" = ")
    try:
        tomllib.loads(code)
        return bool(equals) and load([], [f"{name}={value}"]) is not None
    except (SettingsError, ValueError):
        return False


def is_command(code: str) -> bool:
    """Whether this is a job with arguments of its own, or arguments of any job, with values that they take."""
    job, *given = code.split()
    jobs = [job] if job in cli.JOBS else [*cli.JOBS]
    given = given if job in cli.JOBS else [job, *given]
    return given[:1] == ["--help"] or any(takes(each, given) for each in jobs)


def takes(job: str, given: list[str]) -> bool:
    """Whether a job takes these arguments."""
    options = {
        f"--{field.name.replace('_', '-')}": field.metadata["argument"].more
        for field in argument_fields(importlib.import_module(f"jobs.{job}").Options)
    }
    for name, value in pairwise([*given, ""]):
        if name.startswith("--") and name not in options:
            return False
        if name.startswith("--") and value and value not in options[name].get("choices", (value,)):
            return False
        if name == "--conf" and value.startswith("preset:") and value.removeprefix("preset:") not in presets():
            return False
    return any(name.startswith("--") for name in given)


def is_of_module(code: str) -> bool:
    """Whether this is a name of the module reelmill."""
    module, _, name = code.partition(".")
    return module == "reelmill" and name in dir(reelmill)
