"""The command line: run one job; exit status 0 done, 1 the run failed or had bugs, 2 wrong usage or settings."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from jobs.config import faults, interrupts, times
from jobs.config.settings import Settings, SettingsError, load
from jobs.lake import catalog
from udfs.core.errors import CODES, MediaError, RunError, StoreError
from udfs.storage import media_store
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import S3, WEB, local_path, redacted

if TYPE_CHECKING:
    from jobs.lake.run import Run

JOBS = {
    "curate": "the whole chain: manifest to curated clips",
    "ingest": "manifest -> videos",
    "split": "videos -> spans",
    "clip": "spans -> clips and their mp4 files",
    "analyze": "clips -> signals, proxies, previews",
    "copies": "hashes of clips -> copies, which no model is asked about",
    "aesthetic": "clips -> aesthetics",
    "embed": "clips -> embeddings",
    "dedup": "embeddings and copies -> centroids, assignments, duplicates",
    "filter": "scores and duplicates -> verdicts",
    "caption": "kept clips -> captions, one a window",
    "enhance": "captions -> the same, rewritten",
    "align": "captions and embeddings -> how well they agree",
    "export": "any rows at fixed versions of the tables -> a data set in one of six formats",
    "search": "a text or a clip -> the clips most like it",
    "sql": "a query over the tables and views -> its answer",
    "maintain": "rows, versions and files that count no more -> nothing",
    "takedown": "a video out of every table and folder, for good",
    "models": "the models that stages can use: which are here; fetch and check them",
}
FORMATS = ("frames", "nemo", "webdataset", "parquet", "huggingface", "lance")  # of exports
log = logging.getLogger("reelmill")


class UsageError(Exception):
    """The command line cannot be carried out as written; its text is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one job; what is wrong with its settings or its input is said before Spark starts."""
    options = _parser().parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    log.setLevel(logging.INFO)
    try:
        settings = load(options.conf, options.set)
        if options.job == "models":
            return int(importlib.import_module("jobs.models").without_spark(options, settings))
        options.output = _output(options.output, settings.sources)
        options.schema = None if options.schema is None else catalog.parse(options.schema)
        return _run(options, settings)
    except (SettingsError, UsageError, catalog.CatalogError) as e:
        print(f"reelmill: {e}", file=sys.stderr)
        return 2


def command() -> None:
    """Run as `reelmill` or as the entry point of a task; Databricks takes an exit for a failure, and a status for none."""
    interrupts.end_on_signals()
    if status := main():
        sys.exit(status)


def script(job: str) -> None:
    """Run as `python -m jobs.<job>` or `spark-submit jobs/<job>.py`."""
    sys.argv[1:1] = [job]
    command()


def _run(options: argparse.Namespace, settings: Settings) -> int:
    if find_spec("pyspark") is None:
        raise UsageError("Spark is not installed here: pip install 'reelmill[spark]', or use the cluster's own")
    # Here and not above: a wrong setting is told in a fraction of a second, and Spark takes longer to import.
    job = importlib.import_module(f"jobs.{options.job}")
    if hasattr(job, "check"):
        job.check(options, settings)
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    from jobs.lake import history
    from jobs.lake.run import OutputBusyError, RemainsError, Run, locked
    from jobs.lake.tables import TableError
    from jobs.spark import s3a
    from jobs.spark.session import SessionError, connect

    reads_only = options.job in ("search", "sql")
    try:
        # Jobs that can tell what they would do sweep up themselves.
        sweep = "dry_run" not in options
        with nullcontext() if reads_only else locked(options.output, settings.sources, sweep=sweep):
            settings = s3a.configured(settings, (options.output, getattr(options, "manifest", "")))
            spark = connect(settings.spark, verbose=options.verbose)
            s3a.check(spark, options.output, settings.sources)
            if options.schema:
                catalog.prepare(spark, options.schema, make=not reads_only)
            live = sys.stderr.isatty() and not options.verbose
            code = getattr(options, "retry_failed", None)
            retry = None if code is None else tuple(filter(None, [code]))
            deadline = getattr(options, "deadline", None)
            run = Run(spark, options.output, settings, retry, live, deadline=deadline, schema=options.schema)
            counts = job.run(run, options)
            if options.schema and not reads_only:
                _publish(run)
    except (OutputBusyError, RemainsError, SessionError, catalog.CatalogError, TableError) as e:
        print(f"reelmill: {e}", file=sys.stderr)
        return 1
    except (PySparkException, Py4JError, RunError, OSError) as e:
        if (cause := faults.cause(e)) is None:
            raise
        print(f"reelmill: {cause}", file=sys.stderr)
        return 1
    if counts is not None:
        log.info("%s", counts)
    if counts is not None and (number := counts.failed["BUG"]):
        print(f"reelmill: {number} bug{'s' * (number != 1)}: {history.bugs(run)}", file=sys.stderr)
        return 1
    return 0


def _publish(run: Run) -> None:
    """Leave the views in the catalog as `reelmill sql` has them: by each stage's last settings."""
    from jobs import sql
    from jobs.lake import views

    views.publish(replace(run, recorded=sql.recorded(run)))


def _output(name: str, sources: Sources) -> str:
    """The output as every process knows it: a path, s3://bucket/prefix, or dbfs:/path, which to Spark is another than /path."""
    path = place("--output", name, sources)
    return f"dbfs:{path.removeprefix('/dbfs')}" if name.startswith("dbfs:") and path.startswith("/dbfs/") else path


def place(option: str, name: str, sources: Sources) -> str:
    """A place to write to by the name that every process knows it by: a path, or s3://bucket/prefix.

    Raises:
        UsageError: a file is there, the store does not let us in, or it is no such place at all.
    """
    if not name.strip():
        raise UsageError(f"{option}: an empty name")
    scheme = name.partition("://")[0] if "://" in name else ""
    try:
        if scheme in (*S3, *WEB):
            media_store.check(name, sources)
            return name.rstrip("/")
        path = local_path(name)
    except (MediaError, StoreError) as e:
        raise UsageError(f"{option} {redacted(name)}: {getattr(e, 'message', e)}") from e
    if os.path.exists(path) and not os.path.isdir(path):
        raise UsageError(f"{option} {name}: is a file, not a folder")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reelmill", description="Piles of video in, training-ready clips out.")
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, about in JOBS.items():
        job = jobs.add_parser(name, help=about, description=about)
        job.add_argument(
            "--conf", action="append", default=[], metavar="F", help="TOML file of settings; later ones win"
        )
        job.add_argument("--set", action="append", default=[], metavar="S.K=V", help="one setting; wins over files")
        if name == "models":
            _fetch(job)
            continue
        job.add_argument(
            "--output",
            required=True,
            metavar="O",
            help="folder, s3://bucket/prefix or dbfs:/path: O/tables and O/media",
        )
        job.add_argument(
            "--schema", metavar="[C.]S", help="schema of a catalog, in which tables and views are registered"
        )
        job.add_argument("--verbose", action="store_true", help="show what Spark itself logs")
        if name == "sql":
            job.add_argument("query")
            continue
        if name == "search":
            _ask(job)
            continue
        if name in ("maintain", "takedown"):
            _upkeep(job, name)
            continue
        job.add_argument(
            "--retry-failed",
            nargs="?",
            const="",
            default=None,
            metavar="CODE",
            choices=["", *CODES],
            help="try failed inputs again",
        )
        if name == "export":
            _take_out(job)
        if name in ("curate", "dedup"):
            job.add_argument("--refit", action="store_true", help="new centres, and every duplicate found anew")
        if name in ("curate", "ingest"):
            job.add_argument(
                "--manifest", required=True, metavar="M", help="folder, glob, video, or JSON/JSONL/CSV/Parquet/Delta"
            )
            job.add_argument(
                "--limit", type=_positive, metavar="N", help="take only the first N that are new, by their address"
            )
            job.add_argument(
                "--since",
                type=_since,
                metavar="T",
                help="take only what changed since a date, an ISO time, or 36h or 7d ago",
            )
        if name == "curate":
            job.add_argument(
                "--deadline", type=_deadline, metavar="HH:MM", help="begin no wave from then on; the next run goes on"
            )
    return parser


def _take_out(job: argparse.ArgumentParser) -> None:
    job.add_argument("--format", choices=FORMATS, help="by the settings of [export]")
    job.add_argument("--to", required=True, metavar="FOLDER", help="where to: a folder or s3://bucket/prefix")
    job.add_argument("--query", metavar="SQL", help="the rows; without, those that export.what and export.where say")
    job.add_argument(
        "--as-of", type=_time, metavar="TIME", help="with all tables as they were then: 2026-05-01T05:30, in UTC"
    )
    job.add_argument("--release", metavar="FILE", help="the same files again that a release.json tells of")
    job.add_argument("--dry-run", action="store_true", help="say how much it is, and write nothing")


def _ask(job: argparse.ArgumentParser) -> None:
    like = job.add_mutually_exclusive_group(required=True)
    like.add_argument("--text", metavar="T", help="what the clips are to show, in words")
    like.add_argument("--clip", metavar="ID", help="a clip_id: more like this one")
    job.add_argument("--top", type=_positive, default=20, metavar="N", help="answers at most")
    job.add_argument("--all", action="store_true", help="among all clips, not only those that were kept")
    job.add_argument("--json", action="store_true", help="a line of JSON a clip")


def _upkeep(job: argparse.ArgumentParser, name: str) -> None:
    job.add_argument("--dry-run", action="store_true", help="tell what would go, and change nothing")
    if name == "maintain":
        job.add_argument("--keep-days", type=float, metavar="N", help="wins over maintain.keep_days")
        job.add_argument(
            "--force", action="store_true", help="keep versions for less than a week: nobody else is at the tables"
        )
        return
    job.add_argument("what", nargs="*", metavar="VIDEO", help="video_id or uri")
    job.add_argument("--sql", metavar="Q", help="a query over the tables and views with a column video_id")
    job.add_argument("--reason", metavar="TEXT", help="is kept with it")
    job.add_argument(
        "--exports", action="append", default=[], metavar="FOLDER", help="take it out of these exports too"
    )


def _fetch(job: argparse.ArgumentParser) -> None:
    what = job.add_mutually_exclusive_group()
    what.add_argument("--fetch", nargs="+", metavar="NAME", help="download these: a known name, or org/name@commit")
    what.add_argument("--check", action="store_true", help="read what was fetched again and compare it with its hashes")
    job.add_argument("--dir", metavar="D", help="folder of the models; wins over models.dir")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write it as 2026-05-01T05:30") from e
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _since(text: str) -> datetime:
    try:
        return times.since(text, datetime.now(UTC))
    except (ValueError, OverflowError) as e:
        raise argparse.ArgumentTypeError(f"{text!r} is no date, ISO time, or length of time such as 36h or 7d") from e


def _deadline(text: str) -> datetime:
    try:
        return times.deadline(text, datetime.now(UTC))
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of day such as 05:30 or 05:30+01:00") from e
