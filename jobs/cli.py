"""A command line -> one job's run and an exit status: 0 done, 1 the run broke, 2 wrong usage or settings."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from jobs.settings import Settings, SettingsError, load
from udfs import source, store
from udfs.errors import CODES, MediaError, StoreError

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
    "export": "kept clips or videos -> pictures of their frames, in a folder each",
    "search": "a text or a clip -> the clips most like it",
    "sql": "a query over the tables and views -> its answer",
    "models": "the models that stages can use: which are here; fetch and check them",
}
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
        return _run(options, settings)
    except (SettingsError, UsageError) as e:
        print(f"reelmill: {e}", file=sys.stderr)
        return 2


def script(job: str) -> None:
    """Run as `python -m jobs.<job>` or `spark-submit jobs/<job>.py`; a clean end must not look like an exit to Databricks."""
    status = main([job, *sys.argv[1:]])
    if status:
        sys.exit(status)


def _run(options: argparse.Namespace, settings: Settings) -> int:
    # Here and not above: a wrong setting is told in a fraction of a second, and Spark takes longer to import.
    job = importlib.import_module(f"jobs.{options.job}")
    if hasattr(job, "check"):
        job.check(options, settings)
    from jobs import stores
    from jobs.run import OutputBusyError, Run, locked
    from jobs.session import SessionError, connect

    reads_only = options.job in ("search", "sql")
    try:
        with nullcontext() if reads_only else locked(options.output, settings.sources):
            settings = stores.configured(settings, (options.output, getattr(options, "manifest", "")))
            spark = connect(settings.spark, verbose=options.verbose)
            stores.check(spark, options.output, settings.sources)
            live = sys.stderr.isatty() and not options.verbose
            retry = None if reads_only or options.retry_failed is None else tuple(filter(None, [options.retry_failed]))
            counts = job.run(Run(spark, options.output, settings, retry, live), options)
    except (OutputBusyError, SessionError) as e:
        print(f"reelmill: {e}", file=sys.stderr)
        return 1
    if counts is not None:
        log.info("%s", counts)
    return 0


def _output(name: str, sources: source.Params) -> str:
    """The output as every process knows it: a path, s3://bucket/prefix, or dbfs:/path, which to Spark is another than /path."""
    scheme = name.partition("://")[0] if "://" in name else ""
    try:
        if scheme in ("s3", "s3a"):
            store.check(name, sources)
            return name.rstrip("/")
        path = source.local_path(name)
    except (MediaError, StoreError) as e:
        raise UsageError(f"--output {name}: {getattr(e, 'message', e)}") from e
    if os.path.exists(path) and not os.path.isdir(path):
        raise UsageError(f"--output {name}: is a file, not a folder")
    return f"dbfs:{path.removeprefix('/dbfs')}" if name.startswith("dbfs:") and path.startswith("/dbfs/") else path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reelmill", description="Piles of video in, training-ready clips out.")
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, about in JOBS.items():
        job = jobs.add_parser(name, help=about, description=about)
        job.add_argument("--conf", action="append", default=[], metavar="F", help="TOML file of settings; later ones win")
        job.add_argument("--set", action="append", default=[], metavar="S.K=V", help="one setting; wins over files")
        if name == "models":
            _fetch(job)
            continue
        job.add_argument(
            "--output", required=True, metavar="O", help="folder, s3://bucket/prefix or dbfs:/path: O/tables and O/media"
        )
        job.add_argument("--verbose", action="store_true", help="show what Spark itself logs")
        if name == "sql":
            job.add_argument("query")
            continue
        if name == "search":
            _ask(job)
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
            job.add_argument("--format", required=True, choices=["frames"], help="frames: pictures, by the settings of [export]")
            job.add_argument("--to", required=True, metavar="FOLDER", help="where to: FOLDER/<clip_id>/1fps/000000_0.000s.jpg")
        if name in ("curate", "dedup"):
            job.add_argument("--refit", action="store_true", help="new centres, and every duplicate found anew")
        if name in ("curate", "ingest"):
            job.add_argument(
                "--manifest", required=True, metavar="M", help="folder, glob, video, or JSON/JSONL/CSV/Parquet/Delta"
            )
            job.add_argument("--limit", type=_positive, metavar="N", help="take only the first N of the manifest")
    return parser


def _ask(job: argparse.ArgumentParser) -> None:
    like = job.add_mutually_exclusive_group(required=True)
    like.add_argument("--text", metavar="T", help="what the clips are to show, in words")
    like.add_argument("--clip", metavar="ID", help="a clip_id: more like this one")
    job.add_argument("--top", type=_positive, default=20, metavar="N", help="answers at most")
    job.add_argument("--all", action="store_true", help="among all clips, not only those that were kept")
    job.add_argument("--json", action="store_true", help="a line of JSON a clip")


def _fetch(job: argparse.ArgumentParser) -> None:
    what = job.add_mutually_exclusive_group()
    what.add_argument("--fetch", nargs="+", metavar="NAME", help="download these: a known name, or org/name@commit")
    what.add_argument("--check", action="store_true", help="read what was fetched again and compare it with its hashes")
    job.add_argument("--dir", metavar="D", help="folder of the models; wins over models.dir")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)
