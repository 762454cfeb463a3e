"""The summary that ends a run: counts of files and clips, and the queries that show more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyspark.sql import Row

from jobs.lake.formats import cell
from jobs.lake.run import Run

MAX_NAMES = 10
OF_FILES = "stage IN ('ingest', 'split')"  # what fails there is a whole file
CLIPS = """
SELECT count(*) AS made, count_if(verdicts.kept) AS kept, count_if(NOT verdicts.kept) AS dropped,
       sum(CASE WHEN verdicts.kept THEN clips.duration_s END) / 60 AS kept_min
FROM current_clips AS clips LEFT JOIN verdicts ON verdicts.clip_id = clips.clip_id
"""
REASONS = """
SELECT reason, count(*) AS count FROM (SELECT explode(reasons) AS reason FROM dropped)
GROUP BY reason ORDER BY count DESC, reason
"""
LATER = f"SELECT stage, count(*) AS count FROM failed WHERE NOT {OF_FILES} GROUP BY stage ORDER BY stage"


def text(run: Run, num_files: int) -> str:
    """The lines, from the views of the run's output; `num_files` is the number of files that the manifest names."""
    return "\n".join(_lines(run, num_files))


def _lines(run: Run, num_files: int) -> Iterator[str]:
    refused = run.spark.sql(
        f"SELECT video_uri, code, message FROM failed WHERE {OF_FILES} ORDER BY video_uri"
    ).collect()
    [videos] = run.spark.sql("SELECT count(*) AS count, sum(duration_s) / 60 AS minutes FROM current_videos").collect()
    [clips] = run.spark.sql(CLIPS).collect()
    counts = f"{num_files} found now; {videos['count']} taken and {len(refused)} refused so far"
    yield f"files: {counts}{_more(run, 'failed', refused)}"
    yield from _refused(refused)
    reasons = run.spark.sql(REASONS).collect()
    because = f" ({_counts(reasons)})" if reasons else ""
    counts = f"{clips['made']} made, {clips['dropped']} dropped{because}, {clips['kept']} kept"
    yield f"clips: {counts}{_more(run, 'dropped', reasons)}"
    if later := run.spark.sql(LATER).collect():
        yield f"clips that a stage could not use: {_counts(later)}{_more(run, 'failed', later)}"
    minutes = f"{videos['minutes'] or 0:.1f} minutes taken, {clips['kept_min'] or 0:.1f} minutes kept in clips"
    yield f"video: {minutes}{_more(run, 'curated', [clips] if clips['kept'] else [])}"


def _refused(rows: list[Row]) -> Iterator[str]:
    """The first files that were refused, each with its code and what was seen."""
    for row in rows[:MAX_NAMES]:
        yield f"  {cell(row['video_uri'])}: {row['code']}: {cell(row['message'])}"
    if len(rows) > MAX_NAMES:
        yield f"  ... and {len(rows) - MAX_NAMES} more"


def _counts(rows: Iterable[Row]) -> str:
    return ", ".join(f"{name} {count}" for name, count in rows)


def _more(run: Run, view: str, rows: list[Row]) -> str:
    """The command that shows the rows, where there are some."""
    if not rows:
        return ""
    return f"; {run.command('sql')} 'select * from {view}'"
