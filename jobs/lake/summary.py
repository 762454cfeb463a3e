"""The summary that ends a run: counts of files and clips, and the queries that show more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from jobs.lake.formats import cell
from jobs.lake.run import Run

MAX_NAMES = 10
FILE_STAGES = ("ingest", "split")  # what fails there is a whole file
# Each a pass over what may be millions of rows: no query asks what another has looked up.
FAILED = f"""
SELECT stage, video_uri, code, CASE WHEN stage IN {FILE_STAGES} THEN message END AS message, count(*) AS count
FROM failed GROUP BY 1, 2, 3, 4
"""
REASONS = """
SELECT reason, count(*) AS count FROM (SELECT explode(reasons) AS reason FROM verdicts)
GROUP BY reason ORDER BY count DESC, reason
"""
# Steps of the view `funnel` that one pass over the verdicts counts, with their hours.
STEPS = {
    "clips": "true",
    "clips with signals": "measured",
    "clips with an embedding": "embedding_model IS NOT NULL",
    "clips kept": "kept",
    "clips with captions": "kept AND num_captions > 0",
}
CLIPS = f"""
SELECT min(CASE WHEN NOT kept THEN clip_id END), count_if(NOT kept),
       {", ".join(f"count_if({step}), sum(CASE WHEN {step} THEN duration_s END) / 3600" for step in STEPS.values())}
FROM verdicts
"""


class Failures(NamedTuple):
    """How many inputs a stage could not use, of a video and for a code; of whole files also what was seen."""

    stage: str
    uri: str
    code: str
    message: str | None
    number: int


def facts(ask: Callable[[str], list[tuple[Any, ...]]]) -> dict[str, Any]:
    """What the lines say beside the files found, as values of JSON; `ask` answers queries over tables and views."""
    failed = [Failures(stage, uri or "", code, *rest) for stage, uri, code, *rest in ask(FAILED)]
    refused = [each for each in failed if each.stage in FILE_STAGES]
    refused.sort(key=lambda each: (each.uri, each.stage, each.code, each.message or ""))
    later = [each for each in failed if each.stage not in FILE_STAGES]
    by_stage = Counter[str]()
    for each in later:
        by_stage[each.stage] += each.number
    without_span = sum(each.number for each in refused if each.stage == "split")
    [(taken, minutes)] = ask("SELECT count(*), sum(duration_s) / 60 FROM current_videos")
    [(dropped_clip, num_dropped, *sums)] = ask(CLIPS)
    steps = {step: sums[2 * place : 2 * place + 2] for place, step in enumerate(STEPS)}
    num_kept, kept_hours = steps["clips kept"]
    return {
        "num_refused": sum(each.number for each in refused),
        "num_taken": taken - without_span,
        "refused": [[each.uri, each.code, each.message] for each in refused[:MAX_NAMES]],
        "videos": {"count": taken, "minutes": minutes},
        "clips": {
            "made": steps["clips"][0],
            "kept": num_kept,
            "dropped": num_dropped,
            "kept_min": None if kept_hours is None else kept_hours * 60,
        },
        "reasons": [[*row] for row in ask(REASONS)],
        "later": [[*row] for row in sorted(by_stage.items())],
        "later_files": [
            [each.uri, each.stage, each.code, each.number]
            for each in sorted(later, key=lambda each: (-each.number, each.uri, each.stage, each.code))[:MAX_NAMES]
        ],
        "funnel": [["videos", taken, (minutes or 0) / 60], *([step, *sums] for step, sums in steps.items())],
        "dropped_clip": dropped_clip,
    }


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
