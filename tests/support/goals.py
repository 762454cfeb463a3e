"""What benchmarks measured beside its goal: on the screen, as JSON in build/bench, and in docs/benchmarks.md.

`python -m tests.support.goals` prints the table of every result in build/bench, and with --write
puts it into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

FOLDER = Path("build/bench")
PAGE = Path("docs/benchmarks.md")
DISTRIBUTIONS = ("reelmill", "pyspark", "delta-spark", "av", "pyarrow", "numpy")
HEADS = ("measured", "goal", "result", "met")

Bound = Literal["at least", "at most"]


@dataclass(frozen=True)
class Row:
    """One measured value, with its unit and its goal; without a goal it is only reported."""

    what: str
    measured: float
    unit: str  # "x" for a ratio
    goal: float | None = None
    bound: Bound = "at most"
    detail: str = ""  # what the value was made of

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return self.measured <= self.goal if self.bound == "at most" else self.measured >= self.goal

    def cells(self) -> tuple[str, str, str, str]:
        """The cells of a table: what, goal, result, met."""
        goal = "" if self.goal is None else f"{self.bound} {number(self.goal)} {self.unit}"
        met = {None: "", True: "met", False: "not met"}[self.met]
        detail = f" ({self.detail})" if self.detail else ""
        return self.what + detail, goal, f"{number(self.measured)} {self.unit}", met


@dataclass
class Report:
    """The rows of one benchmark, with when, where and with which versions they were measured."""

    name: str
    rows: list[Row] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=lambda: versions(DISTRIBUTIONS))
    machine: str = field(default_factory=lambda: machine())
    date: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")

    def add(self, row: Row) -> None:
        """Add a row; one of the same name is replaced."""
        self.rows = [*(old for old in self.rows if old.what != row.what), row]
        print(f"\n{' | '.join(row.cells())}", flush=True)

    def write(self, folder: Path = FOLDER) -> Path:
        """Write the report as NAME.json, with the rows there that this run did not measure."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        new = {row.what for row in self.rows}
        kept = [row for row in read(path).rows if row.what not in new] if path.exists() else []
        path.write_text(json.dumps(asdict(self) | {"rows": [asdict(row) for row in (*kept, *self.rows)]}, indent=1))
        return path


def read(path: Path) -> Report:
    """A report from its JSON."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return Report(**values | {"rows": [Row(**row) for row in values["rows"]]})


def reports(folder: Path = FOLDER) -> list[Report]:
    """All reports of a folder, by name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def value(what: str, folder: Path = FOLDER) -> float | None:
    """A measured value by its name, from the reports of a folder; None if none has it."""
    return next((row.measured for report in reports(folder) for row in report.rows if row.what == what), None)


def text(rows: Iterable[Row]) -> str:
    """The rows as an aligned table."""
    lines = [HEADS, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def markdown(every: Iterable[Report]) -> str:
    """The reports as tables of Markdown."""
    return "\n\n".join("\n".join(_section(report)) for report in every)


def _section(report: Report) -> Iterator[str]:
    names = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    yield f"`{report.name}`, {report.date}, {report.machine}; {names}."
    yield ""
    yield f"| {' | '.join(HEADS)} |"
    yield "|" + "---|" * len(HEADS)
    for row in report.rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row.cells())} |"


def with_part(page: str, name: str, part: str) -> str:
    """The page with this text between the marks of that name.

    Raises:
        ValueError: the page lacks the marks.
    """
    marks = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (begin and end):
        raise ValueError(f"no lines {' and '.join(marks)}")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def write_part(name: str, part: str) -> None:
    """Put a text between the marks of that name in docs/benchmarks.md."""
    PAGE.write_text(with_part(PAGE.read_text(encoding="utf-8"), name, part), encoding="utf-8")


def number(value: float) -> str:
    """A number with three digits, or all of its whole ones."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> str:
    """The class of this machine: its cores, processor and memory."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory_gb:.0f} GB of memory"


def versions(names: Iterable[str]) -> dict[str, str]:
    """The installed versions of these packages; those that are not installed are left out."""
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(arguments: list[str]) -> None:
    """Print the tables of all results, or write them into the page."""
    tables = markdown(reports())
    if arguments == ["--write"]:
        write_part("measured", tables)
    else:
        print(tables)


if __name__ == "__main__":
    main(sys.argv[1:])
