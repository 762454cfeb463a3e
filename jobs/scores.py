"""scores: the distribution of each score beside its gate's threshold, and what each gate would drop"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jobs.config.arguments import OutputOptions, argument
from jobs.queries import reader
from jobs.queries.reader import Reader
from udfs.core import terminal

if TYPE_CHECKING:
    from jobs.config.settings import Settings
    from jobs.lake.run import Run


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `scores` takes."""

    READS_ONLY: ClassVar[bool] = True

    only: tuple[str, ...] = argument(
        "scores to show, by the beginnings of their names; by default all",
        default=(),
        named=False,
        positional=True,
        nargs="*",
        metavar="SCORE",
    )
    format: str = argument("text, or JSON for programs", default="text", choices=("text", "json"))


def quick(options: Options) -> int | None:
    """Answer without Spark and return the exit status; None where Spark is to answer."""
    return reader.quick(options, show)


def check(options: Options, settings: Settings) -> None:
    """Refuse an output that holds no tables."""
    from jobs.lake import places

    places.check_tables(options.output, options.schema, settings.sources)


def run(run: Run, options: Options) -> None:
    """Print the scores, from tables that Spark reads."""
    show(reader.by_spark(run), options)


def show(output: Reader, options: Options) -> None:
    """Print what each gate would drop, and the distribution of each score.

    Settings of [filter] that the options give count in place of those of the last run.
    """
    from jobs.config import quick_settings
    from jobs.lake.formats import json_text
    from jobs.queries import histogram, scores

    found = scores.summary(output, quick_settings.given("filter", options.conf, options.set), options.only)
    if options.format == "json":
        terminal.write([json_text(found)])
        return
    blocks = histogram.BLOCKS if terminal.can_show(histogram.BLOCKS) else histogram.PLAIN
    terminal.write(scores.lines(found, terminal.columns(), blocks))


if __name__ == "__main__":
    from jobs.cli import script

    script("scores")
