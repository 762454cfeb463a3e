"""Answers to a page that is served: counts over all clips, clips by filters, nearest clips, and labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jobs.config.errors import UsageError
from jobs.lake.catalog import literal
from jobs.queries import ask, gate_settings, statement
from jobs.queries.duckdb_engine import Engine
from jobs.reports import clip_columns, contents, gates, labels, page
from jobs.reports.gates import Gate, Score
from jobs.reports.labels import Label
from jobs.reports.selection import Selection
from udfs import filter
from udfs.storage.settings import Params as Sources

if TYPE_CHECKING:
    from jobs.config.settings import Settings

MAX_SHOWN = 2000  # clips of one answer
HITS = 200  # nearest clips of one answer
MEDIA = "media/"  # where the server has media files
ORDERS = {"": ("verdicts.video_uri", "verdicts.start_s"), "length": ("verdicts.duration_s",)}
WORDS = "lower(concat_ws(' ', verdicts.caption, verdicts.video_uri, verdicts.clip_id))"
TOTAL = """
SELECT count(*) AS clips, coalesce(sum(duration_s), 0) AS seconds FROM {verdicts} AS verdicts WHERE {where}
"""
OF_CLIP = "SELECT label, who FROM labels WHERE clip_id = {clip} ORDER BY labeled_at"
EVERY_LABEL = "SELECT label, count(DISTINCT clip_id) AS clips FROM labels GROUP BY label ORDER BY clips DESC, label"


@dataclass(frozen=True)
class Library:
    """An output that a server answers for. Values of a request are compared and quoted, and never run as SQL."""

    output: str
    sources: Sources
    params: filter.Params
    conf: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    is_read_only: bool = False
    who: str = ""  # the name of who labels clips, unless a page says another

    @cached_property
    def ask(self) -> ask.Ask:
        """What answers queries."""
        return ask.by_duckdb(self.output, self.sources, self.params.aesthetic_reduction)

    @cached_property
    def settings(self) -> Settings:
        """All settings; loading them takes a second."""
        from jobs.config.settings import load

        return load([*self.conf], [*self.set])

    def page(self) -> str:
        """The page, as the tables are now."""
        found = contents.read(self.ask, self.output, Selection(), contents.MAX_CLIPS)
        live = {
            "readOnly": self.is_read_only,
            "who": self.who,
            "labels": [label for label, _ in self.ask(EVERY_LABEL)],
        }
        return page.render(found, MEDIA, {}, live)

    @property
    def scores(self) -> list[Score]:
        """The scores and gates as the last run of `filter` had them."""
        return gates.scores(gate_settings.last(self.ask))

    def counts(self, moves: Mapping[str, Any]) -> dict[str, Any]:
        """Clips and seconds that pass each gate alone, and with the others, at the thresholds of a page.

        `moves` has a threshold and whether the gate is on, by the name of the score.
        """
        scores = _moved(self.scores, moves)
        conditions = {"kept": _all_pass(scores, None)}
        for score, gate in _gates(scores):
            conditions |= {f"{score.name} alone": _at(gate), f"{score.name} together": _all_pass(scores, gate)}
        sums = (f"count_if({c}), coalesce(sum(CASE WHEN {c} THEN duration_s END), 0)" for c in conditions.values())
        [row] = self.ask(f"SELECT {', '.join(sums)} FROM verdicts")
        pairs = zip(row[::2], row[1::2], strict=True)
        return {name: {"clips": clips, "seconds": float(s)} for name, (clips, s) in zip(conditions, pairs, strict=True)}

    def clips(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The first clips by the filters and the order of a page, as its columns, and how many there are in all."""
        scores = self.scores
        conditions, order = [*self._conditions(request, scores)], self._order(request, scores)
        if near := self._nearest(request):
            conditions.append(f"verdicts.clip_id IN ({', '.join(literal(clip_id) for _, clip_id in near)})")
        where = " AND ".join(conditions) or "true"
        [(clips, seconds)] = self.ask(TOTAL.format(verdicts="verdicts", where=where))
        found = clip_columns.read(self.ask, Selection(), scores, MAX_SHOWN, where=where, order=order)
        places = {clip_id: place for place, (_, clip_id) in enumerate(near)}
        found = found.ordered(lambda row: places.get(row.clip_id, 0)) if near else found
        return {
            "clips": clip_columns.columns(found) | {"caption": [row.caption for row in found.rows]},
            "scores": clip_columns.score_columns(found, scores, page.DIGITS[0]),
            "numClips": clips,
            "seconds": float(seconds),
        }

    def _conditions(self, request: Mapping[str, Any], scores: list[Score]) -> Iterator[str]:
        if text := _text(request, "text").strip().lower():
            yield f"contains({WORDS}, {literal(text)})"
        if verdict := _text(request, "verdict"):
            now = _all_pass(_moved(scores, request.get("moves") or {}), None)
            changed = {"gained": f"NOT kept AND {now}", "lost": f"kept AND NOT ({now})"}
            if (condition := ({"kept": "kept", "dropped": "NOT kept"} | changed).get(verdict)) is None:
                raise UsageError(f"ui: no verdict {verdict}")
            yield f"({condition})"
        if reason := _text(request, "reason"):
            yield f"array_contains(reasons, {literal(reason)})"
        if label := _text(request, "label"):
            yield f"verdicts.clip_id IN (SELECT clip_id FROM labels WHERE label = {literal(label)})"
        if score := {score.name: score for score in scores}.get(_text(request, "score")):
            for name, sign in (("least", ">="), ("most", "<=")):
                if request.get(name) is not None:
                    yield f"{_shown(score)} {sign} {_number(request[name])!r}D"

    def _order(self, request: Mapping[str, Any], scores: list[Score]) -> str:
        orders = ORDERS | {score.name: (_shown(score),) for score in scores}
        if (sort := _text(request, "sort")) not in orders:
            raise UsageError(f"ui: no order {sort}")
        direction = "DESC" if request.get("descending") else "ASC"
        return ", ".join([*(f"{column} {direction} NULLS LAST" for column in orders[sort]), "verdicts.clip_id"])

    def _nearest(self, request: Mapping[str, Any]) -> list[tuple[float, str]]:
        """Cosine and id of the clips that a text or a clip of the request is most like."""
        text, clip = _text(request, "similar"), _text(request, "like")
        if not text and not clip:
            return []
        from jobs.queries import nearest

        engine = Engine(self.output, self.sources, self.params.aesthetic_reduction)

        def rows(query: str) -> Iterator[dict[str, Any]]:
            answer = engine.answer(statement.parse(query))
            return (dict(zip(answer.heads, row, strict=True)) for row in answer.rows)

        return nearest.hits(
            *(rows, lambda query: engine.relation(statement.parse(query)), self.output, self.settings),
            text=text or None,
            clip=clip or None,
            top=HITS,
        )

    def labels_of(self, clip_id: str) -> list[dict[str, str]]:
        """The labels of a clip, and who gave each."""
        rows = self.ask(OF_CLIP.format(clip=literal(clip_id)))
        return [{"label": label, "who": who} for label, who in rows]

    def label(self, label: Label, *, remove: bool) -> list[dict[str, str]]:
        """Give a clip a label or take it back; returns the clip's labels then.

        Raises:
            UsageError: there is no such clip, or the label is empty or long.
        """
        if not label.is_short:
            raise UsageError(f"a label and a name have 1 to {labels.MAX_LENGTH} characters")
        if not self.ask(f"SELECT 1 FROM verdicts WHERE clip_id = {literal(label.clip_id)}"):
            raise UsageError(f"no clip {label.clip_id}")
        (labels.remove if remove else labels.add)(self.output, self.sources, label)
        return self.labels_of(label.clip_id)


def _moved(scores: list[Score], moves: Mapping[str, Any]) -> list[Score]:
    """The scores with their gates at the thresholds of a page."""
    return [
        replace(score, gate=replace(score.gate, threshold=_number(move["threshold"]), on=bool(move["on"])))
        if score.gate and (move := moves.get(score.name)) is not None
        else score
        for score in scores
    ]


def _gates(scores: list[Score]) -> list[tuple[Score, Gate]]:
    return [(score, score.gate) for score in scores if score.gate]


def _at(gate: Gate) -> str:
    """SQL of the clips that pass a gate at its threshold."""
    return gate.passes.replace("{t}", repr(gate.threshold))


def _all_pass(scores: list[Score], also: Gate | None) -> str:
    """SQL of the clips that pass all gates that are on, and those that share the switch of another one."""
    every = [gate for _, gate in _gates(scores)]
    moved = ", ".join(literal(name) for gate in every for name in (gate.reason, gate.missing) if name)
    on = [gate for gate in every if gate.on or gate is also or (also and gate.switch and gate.switch == also.switch)]
    return " AND ".join([f"size(array_except(reasons, array({moved}))) = 0", *map(_at, on)])


def _shown(score: Score) -> str:
    """SQL of a score as a page shows it."""
    return f"(1 - least({score.sql}, 1))" if score.name == gates.DISTANCE else f"({score.sql})"


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name) or ""
    if not isinstance(value, str):
        raise UsageError(f"ui: {name} is no text")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"ui: {value!r} is no number")
    return float(value)
