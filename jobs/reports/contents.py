"""All that a report says of an output, from a dozen queries over its tables and views."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from jobs.queries import gate_settings
from jobs.queries.ask import Ask
from jobs.reports import clip_columns, duplicates, failures, funnel, gates, slowest, stage_times, used_settings
from jobs.reports.clip_columns import Clips
from jobs.reports.duplicates import Duplicates
from jobs.reports.failures import Failure
from jobs.reports.funnel import Funnel
from jobs.reports.gates import Score
from jobs.reports.selection import Selection
from jobs.reports.slowest import Video
from jobs.reports.stage_times import Run
from jobs.reports.used_settings import Used

MAX_CLIPS = 100_000  # that a page holds; of more a random sample


class Contents(NamedTuple):
    """What the sections of a report say."""

    output: str
    selection: Selection
    made_at: datetime
    funnel: Funnel
    scores: list[Score]
    unscored: str  # keep or drop: what filter does with clips that lack the score of a gate
    clips: Clips
    num_clips: int  # of the selection; the page may hold a sample
    failures: list[Failure]
    duplicates: Duplicates
    run: Run | None  # None: no stage has run yet
    slowest: list[Video]
    used: Used


def read(ask: Ask, output: str, selection: Selection, max_clips: int = MAX_CLIPS) -> Contents:
    """What the tables say of the selection, and of its run or else the last one.

    Raises:
        UsageError: there is no such run, or the query of the selection gives no column clip_id.
    """
    if selection.query:
        ask(f"{selection.ids} LIMIT 1")  # within another query, a column that it lacks would be that query's
    run = stage_times.read(ask, selection.run_id)
    if run and selection.run_id:
        selection = selection._replace(run_id=run.run_id)
    settings = gate_settings.last(ask)
    scores = gates.scores(settings)
    steps = funnel.read(ask, selection, [score.gate.reason for score in scores if score.gate])
    return Contents(
        output=output,
        selection=selection,
        made_at=datetime.now(UTC),
        funnel=steps,
        scores=scores,
        unscored=settings.filter.unscored,
        clips=clip_columns.sample(ask, selection, scores, max_clips),
        num_clips=steps.clips.number,
        failures=failures.read(ask, selection),
        duplicates=duplicates.read(ask, selection),
        run=run,
        slowest=slowest.read(ask, run.run_id) if run else [],
        used=used_settings.read(ask, run.run_id) if run else Used([], {}),
    )
