"""The summary that ends a run: counts of files and clips, and the queries that show more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jobs.lake.formats import cell
from jobs.lake.run import Run

MAX_NAMES = 10
OF_FILES = "stage IN ('ingest', 'split')"  # what fails there is a whole file
CLIPS = """
SELECT count(*) AS made, count_if(kept) AS kept, count_if(NOT kept) AS dropped,
       sum(CASE WHEN kept THEN duration_s END) / 60 AS kept_min
FROM verdicts
"""
REASONS = """
SELECT reason, count(*) AS count FROM (SELECT explode(reasons) AS reason FROM verdicts)
GROUP BY reason ORDER BY count DESC, reason
"""
DROPPED = "SELECT min(clip_id) FROM verdicts WHERE NOT kept"
# Steps of the view `funnel` that one pass over the verdicts counts.
STEPS = {
    "clips": "true",
    "clips with signals": "measured",
    "clips with an embedding": "embedding_model IS NOT NULL",
    "clips kept": "kept",
    "clips with captions": "kept AND num_captions > 0",
}
LATER = f"SELECT stage, count(*) AS count FROM failed WHERE NOT {OF_FILES} GROUP BY stage ORDER BY stage"

LATER_FILES = f"""
SELECT video_uri, stage, code, count(*) AS count FROM failed WHERE NOT {OF_FILES}
GROUP BY video_uri, stage, code ORDER BY count DESC, video_uri, stage, code LIMIT {MAX_NAMES}
"""


def facts(ask: Callable[[str], list[tuple[Any, ...]]]) -> dict[str, Any]:
    """What the lines say beside the files found, as values of JSON; `ask` answers queries over tables and views."""
    refused = ask(f"SELECT video_uri, code, message FROM failed WHERE {OF_FILES} ORDER BY video_uri")
    [(taken, minutes)] = ask("SELECT count(*), sum(duration_s) / 60 FROM current_videos")
    [(without_span,)] = ask("SELECT count(*) FROM failed WHERE stage = 'split'")
    [(made, kept, dropped, kept_min)] = ask(CLIPS)
    return {
        "num_refused": len(refused),
        "num_taken": taken - without_span,
        "refused": [[*row] for row in refused[:MAX_NAMES]],
        "videos": {"count": taken, "minutes": minutes},
        "clips": {"made": made, "kept": kept, "dropped": dropped, "kept_min": kept_min},
        "reasons": [[*row] for row in ask(REASONS)],
        "later": [[*row] for row in ask(LATER)],
        "later_files": [[*row] for row in ask(LATER_FILES)],
        "funnel": [["videos", taken, (minutes or 0) / 60], *_funnel(ask)],
        "dropped_clip": ask(DROPPED)[0][0],
    }


def _funnel(ask: Callable[[str], list[tuple[Any, ...]]]) -> list[list[Any]]:
    """How many clips came through each step, and their hours."""
    sums = (f"count_if({is_in}), sum(CASE WHEN {is_in} THEN duration_s END) / 3600" for is_in in STEPS.values())
    [row] = ask(f"SELECT {', '.join(sums)} FROM verdicts")
    return [[step, row[2 * place], row[2 * place + 1]] for place, step in enumerate(STEPS)]


def text(run: Run, num_files: int, facts: dict[str, Any]) -> str:
    """The lines; `num_files` is the number of files that the manifest names."""
    return "\n".join(_lines(run, num_files, facts))


def _lines(run: Run, num_files: int, facts: dict[str, Any]) -> Iterator[str]:
    videos, clips, reasons, later = (facts[name] for name in ("videos", "clips", "reasons", "later"))
    taken = facts.get("num_taken", videos["count"])  # an earlier release did not note the first
    counts = f"{num_files} found now; {taken} taken and {facts['num_refused']} refused so far"
    yield f"files: {counts}{_more(run, 'failed', facts['refused'])}"
    yield from _refused(facts["refused"], facts["num_refused"])
    because = f" ({_counts(reasons)})" if reasons else ""
    counts = f"{clips['made']} made, {clips['dropped']} dropped{because}, {clips['kept']} kept"
    yield f"clips: {counts}{_more(run, 'dropped', reasons)}"
    if later:
        yield f"clips that a stage could not use: {_counts(later)}{_more(run, 'failed', later)}"
        for uri, stage, code, count in facts.get("later_files", []):
            yield f"  {cell(uri)}: {stage}: {code} {count}"
    minutes = f"{videos['minutes'] or 0:.1f} minutes taken, {clips['kept_min'] or 0:.1f} minutes kept in clips"
    yield f"video: {minutes}{_more(run, 'curated', [clips] if clips['kept'] else [])}"


def _refused(rows: list[tuple[str, str, str]], number: int) -> Iterator[str]:
    """The first files that were refused, each with its code and what was seen."""
    for uri, code, message in rows:
        yield f"  {cell(uri)}: {code}: {cell(message)}"
    if number > len(rows):
        yield f"  ... and {number - len(rows)} more"


def _counts(rows: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in rows)


def _more(run: Run, view: str, rows: list[Any]) -> str:
    """The command that shows the rows, where there are some."""
    if not rows:
        return ""
    return f"; {run.command('sql')} 'select * from {view}'"
