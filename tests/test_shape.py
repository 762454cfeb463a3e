"""The shape of the code: directions of imports, first lines, lengths, and the files of a stage."""

import ast
import re
from pathlib import Path

import pytest

from jobs.cli import JOBS
from schemas import TABLES

FOLDERS = {"jobs": {"jobs", "udfs", "schemas", "conf"}, "udfs": {"udfs", "schemas"}, "schemas": {"schemas"}}
# The packages of a folder, lowest first: a module imports from its own package and from those before it.
PACKAGES = {
    "udfs": (
        *("core", "storage", "demux", "audio", "video", "frames", "models", "captioning"),
        *("runtime", "similarity", "shots", "signals", "exports", ""),
    ),
    "jobs": ("config", "spark", "lake", "queries", "flow", "similarity", "exports", "reports", "", "api"),
    "schemas": ("",),
}
SOURCES = [path for folder in FOLDERS for path in sorted(Path(folder).rglob("*.py"))]
FILES = [Path("reelmill.py"), *SOURCES]
# Jobs that write no table, or tables that users name.
NO_TABLE = (
    *("compare", "custom", "export", "failures", "maintain", "models", "report", "scores", "search", "settings"),
    *("sql", "status", "ui", "why"),
)
# Modules that read tables for a job.
PARTS = {
    "aesthetic": ("flow/gates",),
    "copies": ("similarity/copy_groups", "similarity/copy_keys", "flow/conditions", "flow/score_gates"),
    "dedup": ("similarity/dedup_run", "similarity/copy_groups", "flow/conditions"),
    "embed": ("flow/gates",),
    "filter": ("lake/scores", "flow/conditions"),
    "takedown": ("similarity/broken_links",),
}
MEDIA = {
    "container.py",
    "mp4_writer.py",
    "memory_writer.py",
    "lost_tracks.py",
    "demo.py",
    "prepare.py",
}  # the last two make videos


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


def module_name(path: Path) -> str:
    """The name by which a file is imported."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in SOURCES}


def module_imports(tree: ast.Module) -> set[str]:
    """The modules of the project that a file imports anywhere but under its __main__ guard, or names in a string."""
    guarded = [node for node in tree.body if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)]
    skipped = {id(inner) for node in guarded for inner in ast.walk(node)}
    found = set[str]()
    for node in (node for node in ast.walk(tree) if id(node) not in skipped):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= submodules or {node.module}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)  # import_module and `python -m` take names of modules as strings
    return found & set(MODULES) - {"jobs", "udfs", "schemas"}


def rank(module: str) -> int:
    """The place of a module's package among those of its folder."""
    folder, *rooms = MODULES[module].parts[:-1]
    return PACKAGES[folder].index("/".join(rooms))


def upward_imports(imports: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Imports of a module from a package that stands above its own."""
    return sorted(
        (module, target)
        for module, targets in imports.items()
        for target in targets
        if target.partition(".")[0] == module.partition(".")[0] and rank(target) > rank(module)
    )


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Circles of modules that import each other."""
    found, done = list[list[str]](), set[str]()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append([*way[way.index(module) :], module])
        elif module not in done:
            for target in sorted(imports[module]):
                visit(target, [*way, module])
            done.add(module)

    for module in sorted(imports):
        visit(module, [])
    return found


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """What each module imports of the project."""
    return {name: module_imports(ast.parse(path.read_text(encoding="utf-8"))) for name, path in MODULES.items()}


def test_packages_import_only_those_below(imports: dict[str, set[str]]) -> None:
    assert upward_imports(imports) == []


def test_no_modules_import_each_other(imports: dict[str, set[str]]) -> None:
    assert circles(imports) == []


def test_the_order_of_packages_is_seen_in_every_package(imports: dict[str, set[str]]) -> None:
    """A wrong import that is planted in any package is found."""
    for name, path in MODULES.items():
        folder = path.parts[0]
        above = next((m for m in MODULES if m.startswith(f"{folder}.") and rank(m) > rank(name)), None)
        if above is not None:
            assert (name, above) in upward_imports(imports | {name: imports[name] | {above}}), name


@pytest.mark.parametrize("path", sorted(Path("udfs").rglob("*.py")), ids=str)
def test_what_runs_on_executors_needs_no_spark(path: Path) -> None:
    assert not imported(path) & {"pyspark", "delta", "py4j"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_file_opens_with_what_it_does(path: Path) -> None:
    assert first_line(path)


@pytest.mark.parametrize("path", FILES, ids=str)
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
    methods = r"current|made|rows|read|replace|change|append|insert|upsert|add|tables\.drop"
    touched = re.findall(rf'(?:{methods})\((?:run, )?\s*"(\w+)"|table="(\w+)"', text)
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
