"""failures: what could not be used, by code, with examples, cause and remedy"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jobs.config import arguments
from jobs.config.arguments import OutputOptions, argument
from jobs.queries import reader
from jobs.queries.reader import Reader
from udfs.core import terminal
from udfs.core.errors import CODES

if TYPE_CHECKING:
    from jobs.config.settings import Settings
    from jobs.lake.run import Run


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `failures` takes."""

    READS_ONLY: ClassVar[bool] = True

    code: str | None = argument(
        "only failures with this code",
        default=None,
        named=False,
        positional=True,
        metavar="CODE",
        nargs="?",
        choices=CODES,
        type=str.upper,
    )
    stage: str | None = argument("only failures of this stage", default=None, metavar="STAGE")
    examples: int = argument("examples of each code, the newest first", default=3, type=arguments.positive, metavar="N")
    format: str = argument("text, or JSON for programs", default="text", choices=("text", "json"))


def quick(options: Options) -> int | None:
    """Answer without Spark and return the exit status; None where Spark is to answer."""
    return reader.quick(options, show)


def check(options: Options, settings: Settings) -> None:
    """Refuse an output that holds no tables."""
    from jobs.lake import places

    places.check_tables(options.output, options.schema, settings.sources)


def run(run: Run, options: Options) -> None:
    """Print the failures, from tables that Spark reads."""
    show(reader.by_spark(run), options)


def show(output: Reader, options: Options) -> None:
    """Print the failures that stand."""
    from jobs.lake.formats import json_text
    from jobs.queries import failures

    found = failures.summary(output, options.code, options.stage, options.examples)
    lines = failures.summary_lines(output, found, terminal.columns(), options.code, options.stage)
    terminal.write([json_text(found)] if options.format == "json" else lines)


if __name__ == "__main__":
    from jobs.cli import script

    script("failures")
