"""sql: answer a query over the tables and views"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pyspark.errors import AnalysisException, ParseException

from jobs.config.arguments import OutputOptions, argument
from jobs.config.errors import UsageError
from jobs.config.settings import Settings
from jobs.lake import answers
from jobs.lake.run import Run


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `sql` takes."""

    READS_ONLY: ClassVar[bool] = True

    query: str = argument("one SQL query", named=False, positional=True, metavar="QUERY")


def check(options: Options, settings: Settings) -> None:
    """Refuse an output that holds no tables."""
    answers.check_tables(options.output, options.schema, settings.sources)


def run(run: Run, options: Options) -> None:
    """Print the answer to a query over the tables and views, by the settings of the last run."""
    answers.register_views(run)
    try:
        answer = run.spark.sql(options.query)
    except (ParseException, AnalysisException) as e:
        raise UsageError(str(e).splitlines()[0]) from e
    print(answers.text(answer))


if __name__ == "__main__":
    from jobs.cli import script

    script("sql")
