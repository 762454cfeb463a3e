"""curate: run the whole chain, from a manifest to verdicts on clips and captions of kept ones."""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial, reduce
from itertools import takewhile
from types import ModuleType
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import aesthetic, align, analyze, caption, clip, copies, dedup, embed, enhance, filter, ingest, report, split
from jobs.config import arguments
from jobs.config.arguments import argument, flag
from jobs.config.errors import CommandError, LeftOverError, UsageError
from jobs.config.settings import Settings
from jobs.flow import check as proof
from jobs.flow import conditions, custom, plan, score_gates, stage, waiting, waves
from jobs.flow.steps import named
from jobs.flow.waves import Wave, Waves
from jobs.lake import answers, clock, history, last_run, scores, summary
from jobs.lake.fingerprints import chain_fingerprint
from jobs.lake.history import Counts, Work
from jobs.lake.run import Run
from jobs.queries import next_steps, reader
from jobs.queries.ask import Ask, asker, needs_spark
from jobs.similarity import copy_groups
from jobs.spark import session
from schemas import for_threads
from udfs.core import terminal
from udfs.core.errors import PASSING
from udfs.core.words import counted

log = logging.getLogger("reelmill")

MANY = 20  # commits, from which on it pays to skip files of a table
CUTTING = (split.STAGE, clip.STAGE, analyze.STAGE)  # one wave after another


@dataclass(frozen=True, kw_only=True)
class Options(ingest.Options, dedup.Options):
    """What `curate` takes."""

    deadline: datetime | None = argument(
        "from this time of day on begin no further group of videos; the next run goes on",
        default=None,
        type=arguments.deadline,
        metavar="HH:MM",
    )

    check: bool = flag("change nothing; look at every row, and say what is left to do or there twice")
    plan: bool = flag("change nothing; say what this run would do, and what that takes by what the last runs took")

    @property
    def locks(self) -> bool:
        """Whether no other run may be at work on the output meanwhile."""
        return not self.plan

    @property
    def is_run(self) -> bool:
        """Whether the job does work, of which the output keeps the progress."""
        return not (self.check or self.plan)

    @property
    def ends_at(self) -> datetime | None:
        """The time from which on no wave of work begins."""
        return self.deadline


def quick(options: Options) -> int | None:
    """With --plan, say without Spark what a run would do and return the exit status, if the manifest is no table."""
    if options.plan and options.check:
        raise UsageError("curate: give --plan or --check, one of both")
    return plan.quick(options, options.manifest, options.limit, options.since) if options.plan else None


def check(options: Options, settings: Settings) -> Options:
    """Run the checks of the jobs of the chain; the options with the examined manifest."""
    options = replace(options, checked_manifest=ingest.check(options, settings).checked_manifest)
    captioning = [job for on, job in _captioning(settings) if on]
    measured = [split, clip, analyze, *([copies] if settings.filter.duplicates else [])]
    custom.check(settings)
    for job in (*measured, *([aesthetic] if settings.curate.aesthetic else []), embed, dedup, filter, *captioning):
        job.check(options, settings)
    return options


def run(run: Run, options: Options) -> Counts:
    """Ingest new files, run the stages on pending videos in waves, dedup, filter, caption kept clips.

    After a run that left nothing to do but inputs that each run tries again, only those are looked
    at, and videos that are new since. From the deadline on no wave begins; dedup and filter still
    process the clips of the waves that ran.
    """
    if options.check:
        return _proved(run, options)
    if options.plan:
        plan.show(reader.by_spark(run), run.settings, last_run.versions(run.tables), ingest.num_new(run, options))
        return Counts()
    started = clock.now()
    conditions.accepted(run.of_part({}))  # refuses a wrong condition before any clip is cut, as the next line does
    custom.check_conditions(run)
    run = run.with_notes_together()
    stages = _stages(run)
    chain = chain_fingerprint(stages, run.settings)
    if changed := [name for name in stages if run.last.fingerprints.get(name) not in (None, run.fingerprint(name))]:
        log.info("other settings or code than in the last run: %s", ", ".join(changed))
    is_alone = run.is_only_writer and run.retry is None
    # No clip has to be looked up after `filter` by hand, which changes verdicts alone, or for a new label.
    untouched = is_alone and run.last.is_untouched(run.tables, but=("verdicts", "labels"))
    ended = untouched and run.last.ended_by(chain) and run.last.has_noted(stages)
    judged = ended and run.last.is_untouched(
        run.tables, but=() if conditions.reads_labels(run.settings) else ("labels",)
    )
    waits = waiting.since_last(run) if untouched else {}
    settled = _settled(run, waits) if untouched else ()
    counts, num_files_left, num_described = ingest.ingest_files(run, options)
    tried, later, facts = Counts(), Counts(), None
    if waits and ended:
        tried, failed_again = waiting.try_again(run, _steps(run), waits)
        ended, judged = failed_again, judged and failed_again
    if not judged or counts.num_out or options.refit:
        # The condition may be on columns of the manifest. Where labels decide, a clip that stands for others may
        # have been dropped: all are linked again.
        is_as_judged = not (num_described and run.settings.filter.where)
        is_as_linked = judged or not conditions.reads_labels(run.settings)
        only_new = ended and is_as_judged and is_as_linked and _all_are_new(run, counts)
        later = _process(run, options, settled, only_new=only_new, judge_all=not (only_new and judged))
    else:
        history.note_settings(run, *stages)  # a step by hand may have noted others, by which views go
        if not (counts.num_in or tried.num_in) and run.last.summary:
            facts = json.loads(run.last.summary)
    history.flush(run)  # the views go by what it says
    asked_now = cache(partial(asker, run, at_once=True))  # opens every table: both that ask share it
    facts = facts or summary.facts(asked_now())
    _show(run, facts, counts.num_files)
    if run.late:
        log.info("deadline: %s; the next run goes on", _left(run, num_files_left))
    elif run.is_only_writer:
        has_failed = any((tried + later).failed[code] for code in PASSING)
        num_waiting = waiting.failed_in(run, run.run_id).count() if has_failed else 0
        if num_waiting <= waiting.MANY:
            _note_rest(run, chain, started, facts, is_waiting=num_waiting > 0, untouched=untouched)
    history.flush(run)
    if run.settings.curate.report:
        _write_report(run, asked_now, is_changed=bool(counts + later) or (bool(tried) and not ended))
    return counts + tried + later


def _show(run: Run, facts: dict[str, Any], num_files: int) -> None:
    """Print the summary and, on a terminal, what to look at next."""
    run.board.hide()
    terminal.write(summary.text(run, num_files, facts).splitlines())
    if sys.stdout.isatty():
        terminal.write(next_steps.lines(run.command, facts, terminal.columns()))


def _write_report(run: Run, asked_now: Callable[[], Ask], *, is_changed: bool) -> None:
    """Write the page of the output where something has changed or there is none, and say where it is.

    Where only Spark could answer its queries, it is left to the job `report`. The run is done whatever comes of it.
    """
    if needs_spark(run.output, run.schema):
        return
    try:
        if is_changed or not report.exists(run.output, run.settings.sources):
            options = report.Options(output=run.output)
            print(f"report: {report.write(asked_now(), run.output, run.settings.sources, options)}", flush=True)
    except CommandError as e:
        log.warning("report: not written: %s", e)


def _proved(run: Run, options: Options) -> Counts:
    """Nothing, if that is what is left to do by the manifest and every row of the tables.

    Raises:
        LeftOverError: it says what is left.
    """
    found = [*proof.findings(run, _steps(run))]
    if _copies(run) and (count := copy_groups.pending(run).count()):
        found.append(f"{counted(count, 'clip')} to compare by their hashes")
    if count := dedup.num_pending(run):
        found.append(f"{counted(count, 'clip')} to link or to unlink as duplicates")
    if count := filter.num_outdated(run):
        found.append(f"{counted(count, 'verdict')} that differ")
    found += ingest.findings(run, options)
    if found:
        raise LeftOverError(f"check: {'; '.join(found)}")
    log.info("check: nothing is left to do, and nothing is there twice")
    return Counts()


def _note_rest(
    run: Run, chain: str, started: datetime, facts: dict[str, Any], *, is_waiting: bool, untouched: bool
) -> None:
    """Note in `runs` that nothing is left to do, or nothing but what failed in this run, unless it stands there.

    Spans without a video are looked for, unless the tables were `untouched` before this run.
    """
    if run.schema:  # before their versions are noted
        answers.make_tables(run)
    stands_there = run.last.left_nothing(run.tables, chain) and not run.last.waiting_run_id
    if stands_there or (not untouched and any(proof.without_video(run))):
        return
    work = Work(started_at=started, cpu_s=0.0)
    run.last.scored = scores.scored(run)
    waits_for = run.run_id if is_waiting else None
    known = {"summary": json.dumps(facts), "waiting_run_id": waits_for, "linked": run.last.linked}
    history.note(run, last_run.CHAIN, work, fingerprint=chain, **known, **run.last.scored.as_columns())


def _settled(run: Run, waits: waiting.Waiting) -> tuple[stage.Stage, ...]:
    """The first stages by whose settings the last chain ran: they have nothing to do for the videos that it saw.

    Where an input of a stage waits, that stage and later ones may have.
    """

    def has_nothing_to_do(step: stage.Stage) -> bool:
        return step.name not in waits and run.last.settled.get(step.name) == run.fingerprint(step.name)

    return tuple(takewhile(has_nothing_to_do, CUTTING))


def _process(
    run: Run, options: Options, settled: tuple[stage.Stage, ...], *, only_new: bool, judge_all: bool
) -> Counts:
    """Run all stages but ingest on the videos that have work left, or on the new ones only.

    Of the stages that are `settled`, only the videos that this run ingested are pending. With
    `judge_all`, the clips of earlier runs are judged too, and those that are kept are captioned.
    """
    counts = Counts()
    with ExitStack() as stack:
        steps = (*CUTTING, *_models(run))
        if only_new:
            waves_left = waves.of_new(run, stack)
        else:
            stack.enter_context(session.compiled(run.spark, run.last.num_verdicts))
            if _copies(run) and run.tables.exists("signals") and not run.late:
                counts += copies.run(run, options)  # of all clips, so that each wave compares its new ones alone
            with named(run, "look up what is pending"):
                tables = (*(s.table for s in steps), "copies")
                waves_left = waves.of_unfinished(run, stack, _unfinished(run, settled), tables)
        counts += _waves(run, options, waves_left, stack)
        if not run.late:  # else these settings may have made nothing yet
            history.note_settings(run, *(step.name for step in steps), *_copies(run))
        if only_new and run.last.num_commits > MANY:
            stack.enter_context(session.skipping(run.spark))
        of_new = run.of_this_run()
        counts += _ask_about_orphans(run, of_new if only_new else run)
        counts += dedup.run(of_new if only_new else run, options)
        # Where all clips were linked again, those of earlier runs may have other verdicts.
        linked_again = only_new and bool(run.last.versions) and "duplicates" in run.tables.replaced
        if only_new and not linked_again:
            counts += filter.run(of_new, options)
        judge_all = judge_all or linked_again
        if judge_all:
            counts += filter.run(run, options)
        for job in (job for on, job in _captioning(run.settings) if on):
            done = job.run(run if judge_all else of_new, options)
            if job is caption and done.num_out:
                filter.add_captions(run)
            counts += done
    return counts


def _all_are_new(run: Run, ingested: Counts) -> bool:
    """Whether none of the videos that were ingested replaces another, whose clips would no longer be current."""
    if ingested.num_updated:
        return False
    if not (run.last.versions and run.may_be_superseded):  # as in the first run
        return True
    videos, is_new = run.tables.read("videos"), F.col("run_id") == run.run_id
    new = videos.where(is_new).select("uri")
    return videos.where(~is_new).join(F.broadcast(new), on="uri", how="left_semi").isEmpty()


def _left(run: Run, num_files: int) -> str:
    """What is left to do, as text; `num_files` are left to ingest."""
    clips = [stage.pending(run, job.STAGE).count() for on, job in _captioning(run.settings) if on]
    described = f", {max(clips)} clips to describe" if clips else ""
    return (
        f"left are {num_files} files to ingest, {_unfinished(run).count()} videos to cut or ask models about{described}"
    )


def _captioning(settings: Settings) -> tuple[tuple[bool, ModuleType], ...]:
    """The jobs that caption kept clips, in order, and whether the settings turn each on."""
    switches = settings.curate
    return (switches.caption, caption), (switches.align, align), (switches.enhance, enhance)


def _models(run: Run) -> tuple[stage.Stage, ...]:
    """The stages that run models on the clips of a wave, while the next wave is cut."""
    own = custom.stages(run.settings)
    return (*([aesthetic.STAGE] if run.settings.curate.aesthetic else []), embed.STAGE, *own)


def _steps(run: Run) -> tuple[stage.Stage, ...]:
    """The stages whose inputs are rows of tables and may fail, in order."""
    return (*CUTTING, *_models(run), *(job.STAGE for on, job in _captioning(run.settings) if on))


def _copies(run: Run) -> tuple[str, ...]:
    """The stage that finds copies, if no model is to run on them."""
    return ("copies",) if run.settings.filter.duplicates else ()


def _stages(run: Run) -> tuple[str, ...]:
    """The stages of the chain by these settings."""
    captioning = (job.STAGE.name for on, job in _captioning(run.settings) if on)
    steps = (step.name for step in (*CUTTING, *_models(run)))
    return ("ingest", *steps, *_copies(run), "dedup", "filter", *captioning)


def _waves(run: Run, options: Options, left: Waves, stack: ExitStack) -> Counts:
    with ThreadPoolExecutor(1) as models:
        later: list[Future[Counts]] = []
        cut = Counts()
        for wave in left.each:
            stack.push(wave.stack)
            run.board.waves = wave.number + 1, left.total
            if len(later) > 1:
                # Cut one wave ahead of the models, no farther, so that a deadline leaves no queue.
                later[-2].result()
            if run.late:
                break
            gc.collect()  # plans in cycles of Python's keep what they are made of in the JVM
            cut = reduce(Counts.__add__, (wave.run(run, step) for step in CUTTING), cut)
            if _copies(run) and "signals" in wave.part:
                cut += _find_copies(run, options, wave)
            later.append(models.submit(for_threads(_run_models), run, wave))
        return reduce(Counts.__add__, (done.result() for done in later), cut)


def _find_copies(run: Run, options: Options, wave: Wave) -> Counts:
    """Find the copies among the new clips of a wave, so that no model runs on them."""
    new = copy_groups.pending(wave.of(run))
    counts = copies.run(run, options, new, have_rows=not wave.is_current)
    rows = run.of_this_run().rows("copies")
    wave.add("copies", rows.join(new.select("clip_id"), on="clip_id", how="left_semi"))
    return counts


def _run_models(run: Run, wave: Wave) -> Counts:
    # A fair share beside the next wave's cutting.
    run.spark.sparkContext.setLocalProperty("spark.scheduler.pool", "models")
    with wave.stack:
        counts = reduce(Counts.__add__, (wave.run(run, step) for step in _models(run)), Counts())
    history.flush(run)
    return counts


def _ask_about_orphans(run: Run, of: Run) -> Counts:
    """Run models on copies whose kept clip failed a gate on what models found, among the clips that `of` looks at."""
    orphans = score_gates.orphans(of) if _copies(run) and not run.late else None
    if orphans is None or (orphans := orphans.localCheckpoint()).isEmpty():
        return Counts()
    pending = ((step, stage.pending(of, step)) for step in _models(run))
    asked = (stage.run_pending(run, step, todo.join(orphans, "clip_id", "left_semi")) for step, todo in pending)
    return reduce(Counts.__add__, asked, Counts())


def _unfinished(run: Run, settled: tuple[stage.Stage, ...] = ()) -> DataFrame:
    """Id and length of the videos that are pending in any stage; of `settled` ones, only those of this run are."""
    every = run.tables.read("videos")
    steps = (step for step in (*CUTTING, *_models(run)) if step not in settled)
    todo = [stage.pending(run, step).select("video_id") for step in steps]
    if settled:
        todo.append(every.where(F.col("run_id") == run.run_id).select("video_id"))
    videos = every.select("video_id", "duration_s")
    return videos.join(reduce(lambda a, b: a.union(b), todo), on="video_id", how="left_semi")


if __name__ == "__main__":
    from jobs.cli import script

    script("curate")
