"""report: a page that shows what a run made of its videos, with sliders for thresholds; runs without Spark"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jobs.config.arguments import OutputOptions, argument, natural
from jobs.config.errors import UsageError
from jobs.queries import ask
from schemas import knowing

if TYPE_CHECKING:  # what takes part of the second in which a report is there is imported where it is used
    from jobs.config.settings import Settings
    from jobs.lake.run import Run
    from jobs.queries.ask import Ask
    from udfs.storage.settings import Params as Sources


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `report` takes."""

    READS_ONLY: ClassVar[bool] = True

    run: str | None = argument("only what this run made; by default everything", default=None, metavar="RUN_ID")
    sql: str | None = argument(
        "only the clips of a query with a column clip_id over the tables and views", default=None, metavar="QUERY"
    )
    to: str | None = argument("where to write it; by default OUT/report.html", default=None, metavar="FILE")
    embed: int = argument(
        "put this many previews into the page itself, for a page that is moved or mailed",
        default=0,
        type=natural,
        metavar="N",
    )


def quick(options: Options) -> int | None:
    """Write the report without Spark and return the exit status; None where Spark is to answer."""
    if reason := ask.needs_spark(options.output, options.schema):
        _leave_to_spark(reason)
        return None
    from jobs.config import quick_settings
    from jobs.lake import places
    from jobs.queries import delta_source
    from jobs.queries.dialect import UntranslatedError

    settings = quick_settings.load(options.conf, options.set)
    output = places.output(options.output, settings.sources)
    places.check_tables(output, None, settings.sources)
    with knowing(delta_source.custom_tables(output, settings.sources)):
        try:
            reduction = quick_settings.reduction(options.conf, options.set)
            answers = ask.by_duckdb(output, settings.sources, reduction, at_once=True)
            print(write(answers, output, settings.sources, options))
        except UntranslatedError as e:
            _leave_to_spark(str(e))
            return None
    return 0


def check(options: Options, settings: Settings) -> None:
    """Refuse an output that holds no tables."""
    from jobs.lake import places

    places.check_tables(options.output, options.schema, settings.sources)


def run(run: Run, options: Options) -> None:
    """Write the report by Spark's answers."""
    from pyspark.errors import AnalysisException, ParseException

    try:
        print(write(ask.asker(run), run.output, run.settings.sources, options))
    except (AnalysisException, ParseException) as e:
        if options.sql is None:
            raise
        raise UsageError(f"--sql: {str(e).splitlines()[0]}") from e


def write(answers: Ask, output: str, sources: Sources, options: Options) -> str:
    """Write the report of an output, and return where it is.

    Raises:
        UsageError: there is no such run, or the page cannot be written there.
    """
    from jobs.reports import contents, files, page
    from jobs.reports.selection import Selection
    from udfs.core.errors import MediaError, StoreError
    from udfs.storage import media_store

    def read(uri: str) -> bytes:
        with media_store.open_uri(uri, sources) as file:
            return file.read()

    found = contents.read(answers, output, Selection(options.run, options.sql))
    to = options.to or files.default(output)
    content = page.render(found, files.media_address(to, output), files.embedded(found, options.embed, read))
    try:
        files.write(to, content, sources)
    except (OSError, MediaError, StoreError) as e:
        raise UsageError(f"--to {to}: {getattr(e, 'strerror', None) or getattr(e, 'message', e)}") from e
    return to


def exists(output: str, sources: Sources) -> bool:
    """Whether an output has its page.

    Raises:
        UsageError: its store does not answer.
    """
    from jobs.reports import files
    from udfs.core.errors import MediaError, StoreError
    from udfs.storage import media_store

    try:
        return media_store.size(files.default(output), sources) is not None
    except (MediaError, StoreError) as e:
        raise UsageError(f"--output {output}: {getattr(e, 'message', e)}") from e


def _leave_to_spark(reason: str) -> None:
    print(f"reelmill: Spark answers: {reason}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    from jobs.cli import script

    script("report")
