"""status: what an output holds, what a run at work is doing, and what the next run would do"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jobs.config.arguments import OutputOptions, argument
from jobs.queries import reader
from jobs.queries.reader import Reader
from udfs.core import terminal

if TYPE_CHECKING:
    from jobs.config.settings import Settings
    from jobs.lake.run import Run
    from jobs.queries.pending import InForce

ELSEWHERE = {"sources", "cost", "spark"}  # sections by which nothing is pending


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `status` takes."""

    READS_ONLY: ClassVar[bool] = True

    format: str = argument("text, or JSON for programs", default="text", choices=("text", "json"))


def quick(options: Options) -> int | None:
    """Answer without Spark and return the exit status; None where Spark is to answer."""
    return reader.quick(options, _show_by_duckdb)


def check(options: Options, settings: Settings) -> None:
    """Refuse an output that holds no tables."""
    from jobs.lake import places

    places.check_tables(options.output, options.schema, settings.sources)


def run(run: Run, options: Options) -> None:
    """Print the status, from tables that Spark reads."""
    from jobs.lake import last_run

    show(reader.by_spark(run), options, last_run.versions(run.tables))


def _show_by_duckdb(output: Reader, options: Options) -> None:
    from jobs.queries import delta_source

    show(output, options, delta_source.versions(output.output, output.sources))


def show(output: Reader, options: Options, versions: Mapping[str, int]) -> None:
    """Print the status, by the settings of the options if they give some, or else by those of the last run."""
    from jobs.lake.formats import json_text
    from jobs.queries import status

    found = status.summary(output, _given(options), versions)
    as_json = options.format == "json"
    terminal.write([json_text(found)] if as_json else status.lines(output, found, terminal.columns()))


def _given(options: Options) -> InForce | None:
    """The settings that the options give; None if they give none by which something may be pending."""
    from jobs.config import quick_settings

    if quick_settings.sections_given(options.conf, options.set) <= ELSEWHERE:
        return None
    from jobs.config.settings import load  # with the code of all stages, which takes more than a second
    from jobs.queries.pending import InForce

    return InForce.of(load([*options.conf], [*options.set]))


if __name__ == "__main__":
    from jobs.cli import script

    script("status")
