"""What a run of the chain would do, and what that takes, without doing it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from jobs.config.arguments import OutputOptions
from jobs.config.settings import Settings, load
from jobs.flow import manifest, new_files
from jobs.queries import reader, status
from jobs.queries.ask import say_spark
from jobs.queries.pending import InForce
from jobs.queries.reader import Reader
from udfs.core import terminal


def quick(options: OutputOptions, named: str, limit: int | None, since: datetime | None) -> int | None:
    """Print the plan without Spark and return the exit status; None where only Spark reads the manifest.

    `named` is the manifest; `limit` and `since` are options of `ingest`.
    """
    settings = load([*options.conf], [*options.set])
    examined = manifest.check(named, settings.sources)
    if new_files.needs_spark(examined):
        say_spark(f"the manifest is a table ({examined.kind})")
        return None

    def answer(output: Reader, options: OutputOptions) -> None:
        from jobs.queries import delta_source  # of the extra `sql`, which the run itself does not need

        number = partial(new_files.number, since=since, limit=limit, retry=options.retry)
        files = number(examined, output.output, settings, output.rows)
        show(output, settings, delta_source.versions(output.output, output.sources), files)

    return reader.quick(options, answer, must_exist=False)


def show(output: Reader, settings: Settings, versions: Mapping[str, int], num_files: int) -> None:
    """Print the plan; `versions` are those of the tables, `num_files` the number of files that are to be ingested."""
    found = status.summary(output, InForce.of(settings), versions, num_files)
    terminal.write(status.plan_lines(found, terminal.columns()))
