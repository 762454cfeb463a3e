"""The shape of the code: imports point one way, first lines tell the flow, every stage has its four files."""

import ast
import re
from pathlib import Path

import pytest

from jobs.cli import JOBS
from schemas import TABLES

FOLDERS = {"jobs": {"jobs", "udfs", "schemas", "conf"}, "udfs": {"udfs", "schemas"}, "schemas": {"schemas"}}
SOURCES = [path for folder in FOLDERS for path in sorted(Path(folder).glob("*.py"))]
NO_TABLE = ("export", "maintain", "models", "search", "sql")  # jobs that write none
PARTS = {"dedup": ("nights", "copies")}  # which ask for its tables
MEDIA = {"media.py", "encode.py", "rendition.py", "demo.py"}  # rendition.py writes to memory; demo.py makes its reels


def imported(path: Path) -> set[str]:
    """The top-level packages a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def first_line(path: Path) -> str:
    """The first line of a file's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_point_one_way(path: Path) -> None:
    assert imported(path) & set(FOLDERS) <= FOLDERS[path.parts[0]]


@pytest.mark.parametrize("path", sorted(Path("udfs").glob("*.py")), ids=str)
def test_what_runs_on_executors_needs_no_spark(path: Path) -> None:
    assert not imported(path) & {"pyspark", "delta", "py4j"}


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_every_file_opens_with_what_it_does(path: Path) -> None:
    assert first_line(path)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_function_is_over_sixty_lines(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= 60] == []


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_only_media_files_open_a_container(path: Path) -> None:
    opens = "av.open(" in path.read_text(encoding="utf-8")
    assert not opens or path.name in MEDIA


def test_no_table_has_two_writers() -> None:
    writers = [table.strip() for job in JOBS if job not in ("curate", *NO_TABLE) for table in written(job)]
    assert sorted(writers) == sorted(set(writers))


def written(job: str) -> list[str]:
    """The tables that a job's first line says it writes."""
    return first_line(Path(f"jobs/{job}.py")).partition("->")[2].split(",")


@pytest.mark.parametrize("job", [job for job in JOBS if job not in ("curate", "ingest", *NO_TABLE)])
def test_a_job_names_the_tables_that_it_reads_and_writes(job: str) -> None:
    reads, writes = first_line(Path(f"jobs/{job}.py")).removeprefix(f"{job}: ").split(" -> ")
    named = {name.strip() for name in f"{reads}, {writes}".split(",")}
    assert named <= set(TABLES)
    text = "".join(Path(f"jobs/{part}.py").read_text(encoding="utf-8") for part in (job, *PARTS.get(job, ())))
    touched = set(
        re.findall(r'(?:current|made|read|replace|change|append|add|tables\.drop)\((?:run, )?\s*"(\w+)"|table="(\w+)"', text)
    )
    assert {name for pair in touched for name in pair if name} == named


def test_no_job_bears_the_name_of_a_standard_module() -> None:
    import sys

    assert not set(JOBS) & set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("stage", "table"),
    [
        ("split", "spans"),
        ("clip", "clips"),
        ("analyze", "signals"),
        ("copies", "copies"),
        ("aesthetic", "aesthetics"),
        ("embed", "embeddings"),
        ("caption", "captions"),
        ("enhance", "enhanced"),
    ],
)
def test_one_word_names_four_files(stage: str, table: str) -> None:
    for path in (f"schemas/{table}.py", f"udfs/{stage}.py", f"jobs/{stage}.py", f"tests/test_{stage}.py"):
        assert Path(path).exists(), path
