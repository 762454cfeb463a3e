"""Start Spark, or take the session that is there, for a run over an output."""

from __future__ import annotations

import sys

from jobs.config.arguments import OutputOptions
from jobs.config.settings import Settings, functions
from jobs.lake import catalog
from jobs.lake.catalog import Schema
from jobs.lake.run import Run
from jobs.spark import job_names, s3a, user_code_files
from jobs.spark.session import connect


def start(options: OutputOptions, settings: Settings, schema: Schema | None) -> Run:
    """A run whose session reaches the output and the schema.

    Raises:
        SessionError: Spark cannot be started as asked.
        CatalogError: there is no such schema, and it cannot be made.
    """
    settings = s3a.configured(settings, options.places)
    spark = connect(settings.spark, verbose=options.verbose)
    s3a.check(spark, options.output, settings.sources)
    for function in functions(settings).values():
        user_code_files.send(spark, function)
    if schema:
        catalog.prepare(spark, schema, make=options.is_run)
    live = sys.stderr.isatty() and not options.verbose
    run = Run(spark, options.output, settings, options.retry, live, deadline=options.ends_at, schema=schema)
    if not options.locks:
        return run
    with job_names.described(spark, run.run_id, "last run"):
        return run.after_last()
