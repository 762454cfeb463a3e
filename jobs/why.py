"""why: the whole story of a clip, a video or an address"""

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
    """What `why` takes."""

    READS_ONLY: ClassVar[bool] = True

    what: str = argument(
        "id of a clip or video, or the beginning of one; address or file name of a video; path of a clip's file",
        named=False,
        positional=True,
        metavar="WHAT",
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
    """Print the story, from tables that Spark reads."""
    show(reader.by_spark(run), options)


def show(output: Reader, options: Options) -> None:
    """Print the story."""
    from jobs.lake.formats import json_text
    from jobs.queries import why

    story = why.story(output.rows, options.what)
    terminal.write([json_text(story)] if options.format == "json" else why.lines(story, terminal.columns()))


if __name__ == "__main__":
    from jobs.cli import script

    script("why")
