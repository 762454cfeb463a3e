"""The command line: run one job. Status 0: done; 1: failed or bugs; 2: wrong usage or settings; 3: no such video."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jobs.config import arguments, faults, interrupts, log_format
from jobs.config.arguments import OutputOptions
from jobs.config.errors import BugsError, CommandError, UsageError
from jobs.lake import catalog, places
from schemas import knowing
from udfs.core import terminal
from udfs.core.errors import MediaError, RunError
from udfs.core.redaction import without_secrets
from udfs.core.words import counted, did_you_mean

if TYPE_CHECKING:
    from jobs.config.settings import Settings
    from jobs.lake.cleanup import Removed
    from jobs.lake.history import Counts
    from jobs.lake.run import Run

    Done = Counts | Removed | None

JOBS = {
    "curate": "the whole chain: manifest to curated clips",
    "ingest": "manifest -> videos",
    "split": "videos -> spans",
    "clip": "spans -> clips and their mp4 files",
    "analyze": "clips -> signals, proxies, previews",
    "copies": "hashes of clips -> which clips are copies of others; models skip these",
    "aesthetic": "clips -> aesthetics",
    "embed": "clips -> embeddings",
    "custom": "clips -> tables of your own, by functions that [custom.NAME] names",
    "dedup": "embeddings and copies -> centroids, assignments, duplicates",
    "filter": "scores and duplicates -> verdicts",
    "caption": "kept clips -> captions, one per window",
    "enhance": "captions -> captions that a language model rewrote",
    "align": "captions and embeddings -> how well each caption fits its clip",
    "export": "rows at fixed versions of the tables -> a data set in one of six formats",
    "search": "a text or a clip -> the most similar clips",
    "sql": "a query over the tables and views -> its answer",
    "why": "a clip, a video or an address -> its whole story",
    "failures": "what could not be used, by code, with cause and remedy",
    "scores": "the distribution of each score, and what each gate would drop",
    "status": "what is there, what a run at work is doing, and what is pending",
    "compare": "two runs or two outputs -> what differs, and why",
    "report": "an output -> a page of its funnel, scores, duplicates, clips and times",
    "ui": "the same page over all clips, served on this machine, with search and labels",
    "maintain": "delete superseded rows, expired versions and unreferenced media",
    "takedown": "delete a video from every table and folder, for good",
    "models": "list, fetch and check the models that stages can use",
    "settings": "list every setting, its value and where it is set; check conf files",
}
WITHOUT_SPARK = ("compare", "failures", "models", "report", "scores", "settings", "sql", "status", "ui", "why")
NO_SPARK = "Spark is not installed here: pip install 'reelmill[spark]', or use the cluster's own"
log = logging.getLogger("reelmill")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one job; wrong settings and inputs that are not there are reported before Spark starts."""
    logging.basicConfig(handlers=[log_format.handler()])
    log.setLevel(logging.INFO)
    as_events = False
    try:
        values = parse(sys.argv[1:] if argv is None else argv)
        log.setLevel(logging.DEBUG if getattr(values, "verbose", False) else logging.INFO)
        as_events = getattr(values, "log_format", "text") == "json"
        log_format.apply("json" if as_events else "text")
        job = importlib.import_module(f"jobs.{values.job}")
        if hasattr(job, "quick") and (status := job.quick(arguments.build(job.Options, values))) is not None:
            return int(status)
        from jobs.config.settings import load  # with the code of all stages, which takes more than a second

        settings = load(values.conf, values.set)
        if hasattr(job, "without_spark"):
            return int(job.without_spark(arguments.build(job.Options, values), settings))
        execute(job, arguments.build(job.Options, values), settings)
        return 0
    except CommandError as e:
        _say(e, as_event=as_events)
        return e.status
    except (OSError, MediaError, RunError) as e:
        line = faults.cause(e)
        if line is None:
            raise
        if isinstance(e, OSError):
            line = f"{e.filename or 'what is printed'}: {e.strerror}"
        _say(CommandError(line), as_event=as_events)
        return CommandError.status


def _say(error: CommandError, *, as_event: bool) -> None:
    """Say in one line why a command ends."""
    if as_event:
        log.error("%s", error, extra={"event": {"status": error.status}})
    else:
        print(f"reelmill: {terminal.escaped(without_secrets(str(error)))}", file=sys.stderr)


def command() -> None:
    """Run as `reelmill` or as the entry point of a task.

    Databricks takes every exit for a failure, so that success must return.
    """
    interrupts.end_on_signals()
    terminal.escape_unknown()
    status = main()
    if "deltalake" in sys.modules:  # its threads abort the end of some processes
        interrupts.end(status)
    if status:
        sys.exit(status)


def script(job: str) -> None:
    """Run as `python -m jobs.<job>` or `spark-submit jobs/<job>.py`."""
    sys.argv[1:1] = [job]
    command()


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line's values by their names; argparse ends the process where they are wrong."""
    argv = [*argv[1:2], "--help"] if argv[:1] == ["help"] else arguments.with_statements(argv)
    parser = _parser(argv)
    if not argv:
        parser.print_help(sys.stderr)
        parser.exit(2)
    if argv[0] not in JOBS and not argv[0].startswith("-"):
        parser.error(f"no job {argv[0]}{did_you_mean(argv[0], JOBS)}")
    return parser.parse_args(argv)


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the job that `argv` names: the arguments of other jobs are not looked up."""
    parser = arguments.Parser(prog="reelmill", description="Piles of video in, training-ready clips out.")
    parser.add_argument("--version", action="version", version=f"reelmill {_version()}")
    parser.add_argument(
        "--print-completion", action=_Completion, help="print a script that completes commands in a shell"
    )
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, about in JOBS.items():
        job = jobs.add_parser(name, help=about, description=about)
        if name in argv:
            arguments.add(job, _options(name), argv)
    return parser


class _Completion(argparse.Action):
    """Print the completions of a shell and end."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, choices=("bash", "zsh", "tcsh"), metavar="SHELL", help=help)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if find_spec("shtab") is None:
            raise UsageError("--print-completion needs shtab: pip install 'reelmill[completion]'")
        print(importlib.import_module("shtab").complete(_parser([*JOBS]), shell=values))
        parser.exit()


def _version() -> str:
    """The version of the installed package; that of a checkout or a zip is not known."""
    try:
        return version("reelmill")
    except PackageNotFoundError:
        return "(not installed)"


def _options(job: str) -> type[arguments.CommonOptions]:
    if job not in WITHOUT_SPARK and find_spec("pyspark") is None:
        raise UsageError(NO_SPARK)
    options: type[arguments.CommonOptions] = importlib.import_module(f"jobs.{job}").Options
    return options


def execute(job: ModuleType, options: OutputOptions, settings: Settings) -> Done:
    """Run a job on Spark, log its counts and return what it did; None of a job that only answers.

    Raises:
        CommandError: the job cannot be carried out as asked, the machine, the output or the
            credentials failed, or an input met a bug.
    """
    options = replace(options, output=places.output(options.output, settings.sources))
    schema = None if options.schema is None else catalog.parse(options.schema)
    if find_spec("pyspark") is None:
        raise UsageError(NO_SPARK)
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    from jobs.lake.history import Counts

    is_checked = False
    try:
        if hasattr(job, "check"):
            options = job.check(options, settings) or options
        is_checked = True
        done, bugs = _on_spark(job, options, settings, schema)
    except (PySparkException, Py4JError, RunError, MediaError, OSError) as e:
        works = is_checked and options.locks
        line = faults.of_run(e, options.output, verbose=options.verbose) if works else faults.cause(e)
        if line is None:
            raise
        raise CommandError(line) from e
    if isinstance(done, Counts):
        log.info("%s", done)
    if bugs:
        raise BugsError(bugs)
    return done


def _on_spark(
    job: ModuleType, options: OutputOptions, settings: Settings, schema: catalog.Schema | None
) -> tuple[Done, str | None]:
    """Run the job; what it did, and its bugs in one line."""
    from jobs.flow import views
    from jobs.flow.steps import named
    from jobs.lake import custom_tables, history
    from jobs.lake.run import locked
    from jobs.lake.start import start

    with locked(options.output, settings.sources, sweep=options.SWEEPS) if options.locks else nullcontext():
        run = start(options, settings, schema)
        name = job.__name__.rpartition(".")[2]
        shown = views.of_run(run, name, writes=options.is_run, events=options.log_format == "json")
        with knowing(custom_tables.known(run)), run.board.shown_by(shown), named(run, name):
            done: Done = job.run(run, options)
            if schema and options.is_run:
                _publish(run)
        number = done.failed["BUG"] if isinstance(done, history.Counts) else 0
        return done, f"{counted(number, 'bug')}: {history.bugs(run)}" if number else None


def _publish(run: Run) -> None:
    """Leave the views in the catalog as `reelmill sql` shows them: by the settings of each stage's last run."""
    from jobs.lake import answers

    answers.publish(replace(run, recorded=answers.recorded(run)))
