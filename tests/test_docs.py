"""Documentation: links resolve, commands parse, settings load, queries and snippets run."""

from __future__ import annotations

import ast
import contextlib
import importlib
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from jobs import cli
from jobs.config import arguments
from jobs.config.settings import SECTIONS, Settings, _names, load, names, with_inner
from jobs.lake import views
from schemas import TABLES
from tests.support import docs
from tests.support.contact_sheet import CELL_WIDTH, COLUMNS, cells, draw
from tests.support.outputs import table as rows_of
from tests.support.pages import DOCS, PAGES, README, TUTORIALS, anchors, blocks, commands, links, prose, read, table
from udfs import custom
from udfs.core.errors import CODES
from udfs.core.failure_codes import ADVICE

SQL = Path("docs/sql.md")
COMMANDS = [(str(page), command) for page in PAGES for command in commands(page)]
SETTINGS_BLOCKS = [(str(page), block) for page in PAGES for block in blocks(page, "toml")]
SNIPPETS = [snippet for page in PAGES if page not in TUTORIALS for snippet in blocks(page, "python")]
TARGETS = set(re.findall(r"^([a-z0-9-]+):", Path("Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
# Sections of settings that are not tables, so that `section.key` in a page can only mean a setting.
UNAMBIGUOUS = set(SECTIONS) - set(TABLES)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(target), f"{page}: {link}"


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page, or two\n[here](#a-page-or-two) [there](none.md#x) [web](https://a.org)\n", encoding="utf-8"
    )
    assert links(page) == ["#a-page-or-two", "none.md#x"]
    assert anchors(page) == {"a-page-or-two"}


def test_commands_are_read_from_shell_blocks_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "reelmill no\n```sh\n.venv/bin/reelmill sql \\\n  -o out 'select 1'  # one\nls\n```\n", encoding="utf-8"
    )
    assert commands(page) == [["sql", "-o", "out", "select 1"]]


def test_a_table_is_read_below_its_heading(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("## A\n| x |\n|---|\n| 1 |\n\n## B\n\n| y | z |\n|---|---|\n| 2 | 3 |\n", encoding="utf-8")
    assert table(page, "## B") == [["2", "3"]]


@pytest.mark.parametrize("page", DOCS, ids=str)
def test_a_page_opens_with_its_readers(page: Path) -> None:
    title, reader = read(page).split("\n\n")[:2]
    assert title.startswith("# ")
    assert reader.startswith("For who")


@pytest.mark.parametrize("page", DOCS, ids=str)
def test_every_page_is_linked_from_readme_and_listed_for_models(page: Path) -> None:
    assert f"({page})" in read(README)
    assert f"({page})" in Path("llms.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=str)
def test_every_command_parses(page: str, command: list[str]) -> None:
    assert cli.parse(command).job in cli.JOBS


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_job_and_make_target_that_prose_names_exists(page: Path) -> None:
    assert set(re.findall(r"`reelmill ([a-z]+)", prose(page))) <= {*cli.JOBS, "help"}
    named = re.findall(r"`make ([a-z0-9-]+)", prose(page))
    shell = re.findall(r"^make ([a-z0-9-]+)", "\n".join(blocks(page, "sh")), flags=re.MULTILINE)
    assert {*named, *shell} <= TARGETS


@pytest.mark.parametrize(("page", "block"), SETTINGS_BLOCKS, ids=str)
def test_every_settings_block_loads(page: str, block: str, tmp_path: Path) -> None:
    (tmp_path / "shown.toml").write_text(block, encoding="utf-8")
    assert load([str(tmp_path / "shown.toml")], []) != Settings()


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=str)
def test_every_setting_that_prose_names_exists(page: Path) -> None:
    known = {*names(), *(name.rpartition(".")[0] for name in names())}
    text = re.sub(r"^\|[^|]*\|", "", prose(page), flags=re.MULTILINE)  # first cells name what other programs have
    named = re.findall(r"`([a-z]+\.[a-z_0-9.]+)`", text) + re.findall(r"--set ([a-z]+\.[a-z_0-9.]+)=", read(page))
    assert {name for name in named if name.partition(".")[0] in UNAMBIGUOUS} <= known


def test_the_generated_pages_are_as_generated() -> None:
    assert read(Path("docs/settings.md")) == docs.settings_page(), docs.REWRITE
    assert read(Path("docs/tables.md")) == docs.tables_page(), docs.REWRITE


def test_the_settings_page_names_every_setting() -> None:
    sections = re.split(r"^## \[(.*)\]$", docs.settings_page(), flags=re.MULTILINE)[1:]
    shown = {
        f"{section}.{key}"
        for section, text in zip(sections[::2], sections[1::2], strict=True)
        for key in re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    }
    own = with_inner("custom.NAME", custom.Params)
    assert shown == {*names(), *_names(own)}


def test_bounds_and_choices_are_in_words() -> None:
    page = docs.settings_page()
    assert '| `method` | `"fixed_stride"` | `fixed_stride`, `content`, `transnetv2` |' in page
    assert "| `max_corrupt_share` | `0.05` | a number, at least 0, at most 1 |" in page
    assert "| `clip_stride_s` |  | a number, at least 0.1, at most 86400 |" in page


def test_the_tables_page_has_every_table_column_and_view() -> None:
    page = docs.tables_page()
    for declared in TABLES.values():
        below = page.partition(f"\n### {declared.name}\n")[2].partition("\n### ")[0]
        assert set(re.findall(r"^\| `(\w+)` \|", below, flags=re.MULTILINE)) == set(declared.schema.names)
    assert all(f"\n### {view.name}\n\n{view.about}\n" in page for view in views.VIEWS)


def test_the_options_of_several_jobs_are_theirs() -> None:
    """The second column of the table says which jobs take the option of the first."""
    table_lines = table(Path("docs/operations.md"), "Options that several jobs have:")
    jobs_of = {re.findall(r"`(--[a-z-]+)", option)[0]: jobs for option, jobs, _ in table_lines}
    reading = ("search", "sql", "why", "failures", "scores", "status", "compare", "report", "ui")
    others = ("models", "settings", *reading, "maintain", "takedown", "export")
    steps = [job for job in cli.JOBS if job not in others]
    named = {
        "all": set(cli.JOBS),
        "all but `models` and `settings`": set(cli.JOBS) - {"models", "settings"},
        "`curate` and its steps, `export`": {*steps, "export"},
    }
    takers = {
        option: {job for job in cli.JOBS if option.strip("-").replace("-", "_") in names_of_options(job)}
        for option in jobs_of
    }
    takers["--schema"].remove("settings")  # has another option of this name
    assert {option: named[jobs] for option, jobs in jobs_of.items()} == takers
    of_sql = {"query", "engine", "format"}
    shared = set.union(*({job: names_of_options(job) for job in ("sql", "clip")}.values())) - of_sql
    assert {option.strip("-").replace("-", "_") for option in takers} == shared


def names_of_options(job: str) -> set[str]:
    """The arguments that a job takes, as its Options name them."""
    options = importlib.import_module(f"jobs.{job}").Options
    return {field.name for field in arguments.argument_fields(options)}


def test_the_failure_codes_are_the_codes() -> None:
    rows = table(Path("docs/operations.md"), "## Failure codes")[: len(CODES)]
    assert {code: (meaning, advice) for code, meaning, advice in rows} == ADVICE
    assert [code for code, *_ in rows] == list(CODES)


def test_the_messages_of_troubleshooting_are_those_of_the_code() -> None:
    code = "".join(
        path.read_text(encoding="utf-8") for folder in ("jobs", "udfs") for path in Path(folder).rglob("*.py")
    )
    cells = [
        row[0] for row in table(Path("docs/troubleshooting.md"), "# Troubleshooting: from what you see to what to do")
    ]
    messages = [text for cell in cells for text in re.findall(r"`([^`]* [^`]*)`", cell)]
    assert len(messages) >= 6
    assert [text for text in messages if text not in code + Path("Makefile").read_text(encoding="utf-8")] == []


def test_there_are_twenty_questions() -> None:
    assert re.findall(r"^### (\d+)\. .*\?$", read(SQL), flags=re.MULTILINE) == [str(n) for n in range(1, 21)]
    answers_there = [match["answer"] for page in (README, SQL) for match in docs.ANSWERED.finditer(read(page))]
    assert len(answers_there) == 21
    assert all(len(answer.splitlines()) >= 2 for answer in answers_there)


def test_the_demo_installs_what_the_snippets_import() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    [others] = [re.findall(r"\w+", extra)[1:] for extra in extras["demo"] if extra.startswith("reelmill[")]
    wanted = [*project["dependencies"], *extras["demo"], *(name for other in others for name in extras[other])]
    installed = {re.split(r"[^\w-]", requirement)[0] for requirement in wanted}
    imported = set(re.findall(r"^(?:import|from) (\w+)", "\n".join(SNIPPETS), flags=re.MULTILINE))
    assert imported == {"duckdb", "polars", "deltalake", "numpy", "reelmill"}
    assert (imported - {"reelmill"}) | {"pandas", "pyarrow"} <= installed


def test_the_wheel_says_that_its_packages_are_typed() -> None:
    data = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    for package in ("jobs", "udfs", "schemas", "conf"):
        assert (Path(package) / "py.typed").exists()
        assert "py.typed" in data[package]


def test_commits_are_checked_by_the_projects_own_programs() -> None:
    [repo] = yaml.safe_load(Path(".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    programs = {hook["entry"].split()[0] for hook in repo["hooks"]}
    assert repo["repo"] == "local"
    assert programs == {".venv/bin/ruff", ".venv/bin/mypy"}


@pytest.mark.spark
def test_answers_replace_those_that_were_there(spark: SparkSession) -> None:
    page = "# Page\n\n```sql\nSELECT 1 AS one\n```\n\n```text\nold\n```\n"
    assert docs.answered(page, spark) == page.replace("old\n", "one\n  1\n")


@pytest.mark.spark
@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_python_snippet_runs(snippet: str, curated: Path, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(curated)
    with contextlib.chdir(tmp_path):
        exec(snippet, {"__name__": "snippet"})


@pytest.mark.spark
@pytest.mark.parametrize("snippet", [snippet for snippet in SNIPPETS if "out/tables" in snippet])
def test_python_snippets_leave_out_the_rows_of_earlier_settings(snippet: str, curated: Path, tmp_path: Path) -> None:
    for name in ("once", "twice"):
        shutil.copytree(curated / "tables", tmp_path / name / "out/tables")
    clips = DeltaTable(tmp_path / "twice/out/tables/clips")
    rows = clips.to_pyarrow_table()
    column = rows.schema.get_field_index("fingerprint")
    earlier = pa.array(["of earlier settings"] * len(rows))
    write_deltalake(clips, rows.set_column(column, rows.schema.field(column), earlier), mode="append")
    assert last_value(snippet, tmp_path / "once") == last_value(snippet, tmp_path / "twice") != []


def last_value(snippet: str, folder: Path) -> list[str]:
    """The rows of what a snippet that runs in a folder names last."""
    last = ast.parse(snippet).body[-1]
    assert isinstance(last, ast.Assign)
    names: dict[str, Any] = {"__name__": "snippet"}
    with contextlib.chdir(folder):
        exec(snippet, names)
    value = names[ast.unparse(last.targets[0])]
    to_rows = next(way for way in ("to_pylist", "to_dicts", "iterrows", "items") if hasattr(value, way))
    return sorted(map(str, getattr(value, to_rows)()))


@pytest.mark.spark
def test_a_contact_sheet_has_every_clip_with_a_preview(curated: Path) -> None:
    found = cells(curated)
    assert len(found) == len([row for row in rows_of(curated, "signals") if row["previews"]]) == 3
    assert [cell.label for cell in found] == ["long.mp4  0.0-2.0 s", "long.mp4  2.0-4.0 s", "other.mkv  0.0-2.0 s"]
    assert draw(found).width == COLUMNS * (CELL_WIDTH + 4) + 4
    assert draw([found[0]]).tobytes() != draw([found[0]._replace(kept=False)]).tobytes()
