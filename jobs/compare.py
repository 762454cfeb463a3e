"""compare: what differs between two runs of an output, or between two outputs, and why"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from jobs.config.arguments import OutputOptions, argument
from jobs.config.errors import UsageError
from jobs.queries.ask import needs_spark
from udfs.core import terminal

if TYPE_CHECKING:
    import duckdb

    from jobs.queries.compare import RunEnd, Side
    from jobs.queries.reader import Reader


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `compare` takes."""

    READS_ONLY: ClassVar[bool] = True

    runs: tuple[str, ...] = argument(
        "two run ids, or beginnings of ids; by default the last two, of two outputs the last of each",
        default=(),
        named=False,
        positional=True,
        nargs="*",
        metavar="RUN",
    )
    other: str | None = argument("another output, to compare this one with", default=None, metavar="OUT")
    format: str = argument("text, or JSON for programs", default="text", choices=("text", "json"))


def quick(options: Options) -> int:
    """Print what differs and return the exit status.

    Raises:
        UsageError: only Spark reads the tables, which keeps no two versions of them apart, or the
            runs are not there.
    """
    from jobs.lake.formats import json_text
    from jobs.queries import compare, duckdb_engine

    if reason := needs_spark(options.output, options.schema):
        raise UsageError(f"compare: {reason}, and compare needs DuckDB")
    if len(options.runs) not in (0, 2) or (options.other and options.runs):
        raise UsageError("compare: give two runs, or --other, or neither for the last two runs")
    db = duckdb_engine.connected()
    found = compare.compared(db, *(_two_outputs(options, db) if options.other else _two_runs(options, db)))
    terminal.write([json_text(found)] if options.format == "json" else compare.lines(found, terminal.columns()))
    return 0


def _two_outputs(options: Options, db: duckdb.DuckDBPyConnection) -> list[Side]:
    from jobs.queries import compare, reader

    sides = []
    for place, name in zip(compare.PLACES, (options.output, str(options.other)), strict=True):
        with reader.opened(replace(options, output=name)) as output:
            sides.append(_side(output, None, name, db, place))
    return sides


def _two_runs(options: Options, db: duckdb.DuckDBPyConnection) -> list[Side]:
    from jobs.queries import compare, reader

    with reader.opened(options) as output:
        runs = compare.chosen(compare.ends(output.rows), options.runs)
        return [_side(output, run, "", db, place) for run, place in zip(runs, compare.PLACES, strict=True)]


def _side(output: Reader, run: RunEnd | None, name: str, db: duckdb.DuckDBPyConnection, place: str) -> Side:
    """The state of an output after a run, or as it is now."""
    from jobs.queries import compare, delta_source, reader

    versions = None
    if run is not None and run.until is not None:
        versions = dict(run.tables or delta_source.versions_before(run.until, output.output, output.sources))
        versions["runs"] = delta_source.versions(output.output, output.sources, ("runs",))["runs"]
    snapshot = reader.snapshot(output, versions, db, place)
    label = f"run {run.run_id} of {run.started_at[:16].replace('T', ' ')} UTC" if run else name
    return compare.side(label, snapshot, run.run_id if run else "~")


if __name__ == "__main__":
    from jobs.cli import script

    script("compare")
