"""The clips of a report as columns of JSON: a few bytes per clip, so that a page holds 100,000 of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from jobs.lake.catalog import literal
from jobs.queries.ask import Ask
from jobs.reports.gates import Score
from jobs.reports.rounding import Floats, numbers, rounded, stops
from jobs.reports.selection import Selection
from udfs.storage import media_store
from udfs.storage.uris import redacted

STOPS = 200  # of a slider
OUTLIERS = 0.005  # share of clips at either end of a histogram that its outermost bins hold
SKEWED = 10  # times the median: where a histogram reaches farther than that, its axis is logarithmic
MAX_CAPTION = 600  # characters
CLIPS = """
SELECT verdicts.clip_id, verdicts.video_uri, verdicts.start_s, verdicts.duration_s, verdicts.reasons,
       left(verdicts.caption, {max_caption}) AS caption, verdicts.uri, {scores}
FROM {verdicts} AS verdicts WHERE {where}
ORDER BY {order}
LIMIT {limit}
"""
ORDER = "verdicts.video_uri, verdicts.start_s, verdicts.clip_id"
# Of clips that are current: `current_signals` would look at all spans to know that.
PREVIEWS = """
SELECT clip_id, try_element_at(previews, 1).uri FROM signals
WHERE fingerprint = (SELECT max_by(fingerprint, started_at) FROM runs WHERE stage = 'analyze') AND {of_clips}
"""
# Ids are hashes, so that the least of them are a random sample, and the same one each time.
LAST = "SELECT max(clip_id) FROM (SELECT clip_id FROM {verdicts} AS v ORDER BY clip_id LIMIT {limit}) AS least"


class Row(NamedTuple):
    """A clip; its files are named by their addresses."""

    clip_id: str
    video: str | None
    start_s: float | None
    duration_s: float | None
    reasons: list[str]
    caption: str | None
    file: str | None
    preview: str | None


class Clips(NamedTuple):
    """Rows of clips, and their scores as numbers; NaN for NULL."""

    rows: list[Row]
    scores: dict[str, Floats]

    def thinned(self, number: int) -> Clips:
        """Every so-manyth clip, `number` of them or a few less."""
        step = -(-len(self.rows) // number)
        return Clips(self.rows[::step], {name: values[::step] for name, values in self.scores.items()})

    def ordered(self, key: Callable[[Row], int]) -> Clips:
        """The same clips in another order."""
        places = sorted(range(len(self.rows)), key=lambda place: key(self.rows[place]))
        return Clips([self.rows[p] for p in places], {name: values[places] for name, values in self.scores.items()})


def sample(ask: Ask, selection: Selection, scores: Sequence[Score], limit: int) -> Clips:
    """At most `limit` clips by video and time; of more clips a random sample, the same one each time."""
    [(last,)] = ask(LAST.format(verdicts=selection.verdicts, limit=limit))
    if last is None:
        return read(ask, selection, scores, limit, where="true", order=ORDER)
    least = f"clip_id <= {literal(last)}"
    return read(ask, selection, scores, limit, where=f"verdicts.{least}", order=ORDER, with_previews=least)


def read(
    ask: Ask,
    selection: Selection,
    scores: Sequence[Score],
    limit: int,
    *,
    where: str,
    order: str,
    with_previews: str = "",
) -> Clips:
    """The first clips that meet a condition; both are SQL on `verdicts`.

    `with_previews` is SQL on `clip_id` that the clips meet and few others do; without it their ids are listed.
    """
    columns = ", ".join(f"{score.sql} AS {score.name}" for score in scores)
    of = {"verdicts": selection.verdicts, "where": where, "order": order, "limit": limit}
    rows = ask(CLIPS.format(scores=columns, max_caption=MAX_CAPTION, **of))
    previews = previews_of(ask, [row[0] for row in rows], with_previews)
    first = len(Row._fields) - 1
    values = {
        score.name: np.array([row[first + place] for row in rows], np.float64) for place, score in enumerate(scores)
    }
    return Clips([Row._make((*row[:first], previews.get(row[0]))) for row in rows], values)


def previews_of(ask: Ask, clips: Iterable[str], condition: str = "") -> dict[str, str | None]:
    """The addresses of the clips' first previews, without a join of all clips: by their ids, or by a condition."""
    if not condition and (ids := ", ".join(map(literal, clips))):
        condition = f"clip_id IN ({ids})"
    return dict(ask(PREVIEWS.format(of_clips=condition))) if condition else {}


def columns(clips: Clips) -> dict[str, Any]:
    """All but scores and captions, with dictionaries of what repeats."""
    rows = clips.rows
    videos, video = _dictionary(redacted(row.video or "") for row in rows)
    reason_sets, reason_set = _dictionary(tuple(row.reasons) for row in rows)
    file_names, file = _dictionary(_file_name(row.clip_id, row.file) for row in rows)
    preview_names, preview = _dictionary(_file_name(row.clip_id, row.preview) for row in rows)
    return {
        "id": [row.clip_id for row in rows],
        "videos": videos,
        "video": video,
        "start": [None if row.start_s is None else round(row.start_s * 10) for row in rows],
        "ms": [round((row.duration_s or 0) * 1000) for row in rows],
        "reasonSets": reason_sets,
        "reasonSet": reason_set,
        "fileNames": file_names,
        "file": file,
        "previewNames": preview_names,
        "preview": preview,
    }


def score_columns(clips: Clips, scores: Sequence[Score], digits: int) -> list[dict[str, Any]]:
    """The scores that any clip has, rounded to so many digits."""
    found = {score.name: clips.scores[score.name] for score in scores}
    return [_score(score, found[score.name], digits) for score in scores if not np.isnan(found[score.name]).all()]


def first_texts(texts: Iterable[str | None], number: int) -> list[str | None]:
    """The texts without those after the first `number`."""
    left = []
    for text in texts:
        number -= text is not None
        left.append(text if number >= 0 else None)
    return left


def _dictionary(values: Iterable[Any]) -> tuple[list[Any], list[int]]:
    """The distinct values in the order in which they come, and the place of each value among them."""
    places: dict[Any, int] = {}
    indexes = [places.setdefault(value, len(places)) for value in values]
    return [*places], indexes


def _file_name(clip_id: str, uri: str | None) -> str | None:
    """A media file's path below the media folder, with * for the id and the two characters before it."""
    if uri is None:
        return None
    path = media_store.path_in_root(uri)
    return path.replace(f"/{clip_id[:2]}/{clip_id}", "/*", 1)


def _score(score: Score, values: Floats, digits: int) -> dict[str, Any]:
    """A score of all clips: the distinct rounded values, the place of each clip's, its histogram and its gate."""
    compared, gate = score.compared(values), score.gate
    known = [number for number in (gate.threshold, gate.default) if number is not None] if gate else []
    thresholds = numbers(score.thresholds(values), digits, known)
    places = rounded(compared, score.keys(thresholds), up=score.rounds_up)
    used, index = np.unique(places[places >= 0], return_inverse=True)
    indexes = np.full(len(places), -1)
    indexes[places >= 0] = index
    found = thresholds[used]
    of_clips = found[index]
    ends = _range(of_clips, known)
    return {
        "name": score.name,
        "about": score.about,
        "short": score.short,
        "values": found.tolist(),
        "index": indexes.tolist(),
        "range": ends,
        "isLogarithmic": _is_logarithmic(of_clips, ends),
        "stops": stops(found, STOPS, known),
        "gate": asdict(gate) if gate else None,
    }


def _range(values: Floats, thresholds: Iterable[float]) -> list[float]:
    """The least and greatest number that a histogram shows: all values but outliers, and the thresholds."""
    ends = np.quantile(values, (OUTLIERS, 1 - OUTLIERS), method="nearest").tolist() if len(values) else []
    shown = [*ends, *thresholds]
    return [min(shown), max(shown)] if shown else [0.0, 1.0]


def _is_logarithmic(values: Floats, ends: Sequence[float]) -> bool:
    """Whether most values are so small beside the greatest that only their logarithms tell them apart."""
    return bool(ends[0] > 0 and len(values) and np.median(values) < ends[1] / SKEWED)
