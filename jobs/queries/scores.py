"""How the scores of clips are distributed, with the thresholds of their gates and what each gate drops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import pyarrow as pa

from jobs.config.errors import UsageError
from jobs.lake.formats import cell
from jobs.queries import histogram, screen, stored_gates
from jobs.queries.gate_settings import GateSettings
from jobs.queries.histogram import Bins
from jobs.queries.reader import Reader, Row, first
from jobs.queries.stored_gates import Limit, StoredGate
from schemas import TABLES, custom_tables
from schemas.custom import scores_of
from udfs.core import terminal
from udfs.core.words import counted, right_names

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NUM_BINS = 60  # of a histogram, and characters of its line
INFINITY = "CAST('inf' AS DOUBLE)"
NO_VERDICTS = "no clip has a verdict yet: `curate` or `filter` gives them"
# The bins of a score, and how many clips each has.
BINS = """
SELECT bin, count(*) AS clips, count_if(kept) AS kept
FROM (SELECT {bin} AS bin, kept FROM (SELECT {finite} AS number, kept FROM verdicts) WHERE number IS NOT NULL)
GROUP BY bin ORDER BY bin
"""


class Score(NamedTuple):
    """A number per clip: its name, its value in SQL on the columns of `verdicts`, and the limits of its gates."""

    name: str
    value: str
    limits: tuple[Limit, ...]

    @property
    def finite(self) -> str:
        """The value in SQL, NULL where it is NaN or infinite."""
        number = f"CAST({self.value} AS DOUBLE)"
        return f"CASE WHEN NOT isnan({number}) AND abs({number}) < {INFINITY} THEN {number} END"


def summary(output: Reader, given: Mapping[str, Any], names: Sequence[str]) -> Row:
    """Every gate with what it drops, and every score with its distribution.

    `given` are settings of [filter] that count in place of those of the last run, `names` the scores
    to look at: all if there are none.

    Raises:
        UsageError: there is no such score.
    """
    last = stored_gates.settings(output.rows)
    settings = replace(last, filter=replace(last.filter, **given))
    gates, drops_unscored = _gates(settings), settings.filter.unscored == "drop"
    scores = _chosen(_scores(gates), names)
    named = {score.name for score in scores}
    chosen = {gate.switch for gate in gates if not names or gate.score in named}
    switches = [[*found] for switch, found in groupby(gates, key=attrgetter("switch")) if switch in chosen]
    conditions = [_condition(found, drops_unscored=drops_unscored) for found in switches]
    sums = first(output.rows(_sums(conditions, scores))) or {}
    return {
        **{name: sums[name] for name in ("clips", "kept", "seconds")},
        "gates": [_gate(found, sums, place) for place, found in enumerate(switches)],
        "scores": [_score(output, score, sums, place) for place, score in enumerate(scores)] if sums["clips"] else [],
    }


def lines(found: Row, width: int, blocks: str) -> Iterator[str]:
    """The gates and scores for people, in lines of at most `width` characters."""
    if not found["clips"]:
        yield NO_VERDICTS
        return
    head = f"what each gate alone drops of {counted(found['clips'], 'clip')}, of which {found['kept']} are kept now"
    yield from terminal.wrapped(head, width, "", "  ")
    for gate in found["gates"]:
        yield from _gate_lines(gate, found, width)
    for score in found["scores"]:
        if score["bins"]:
            yield ""
            yield from _score_lines(score, width, blocks)
    if unscored := [score["score"] for score in found["scores"] if not score["bins"]]:
        yield ""
        yield from terminal.wrapped(f"no clip has a number for {', '.join(unscored)}", width, "", "  ")


def _gates(settings: GateSettings) -> list[StoredGate]:
    """The gates; one of a stage that never ran has no column to ask."""
    known = {*TABLES["verdicts"].schema.names}
    every = stored_gates.gates(settings)
    return [gate if gate.column in known else gate._replace(fails=None, limit=None) for gate in every]


def _scores(gates: Iterable[StoredGate]) -> list[Score]:
    """The numbers that gates compare, then the other numbers of the user's own stages."""
    by_name: dict[str, list[Limit]] = {}
    for gate in gates:
        if gate.limit:
            by_name.setdefault(gate.score, []).append(gate.limit)
    found = [Score(name, limits[0].value, tuple(limits)) for name, limits in by_name.items()]
    own = [
        Score(name, name, ())
        for table in custom_tables()
        for column, name in scores_of(table).items()
        if name not in by_name and _is_number(table.schema.field(column).type)
    ]
    return [*found, *own]


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_floating(type_) or pa.types.is_integer(type_))


def _chosen(scores: list[Score], names: Sequence[str]) -> list[Score]:
    """The scores whose names begin with one of these."""
    for name in names:
        if not any(score.name.startswith(name) for score in scores):
            raise UsageError(f"scores: no score {name}: {right_names(name, [score.name for score in scores])}")
    return [score for score in scores if not names or score.name.startswith(tuple(names))]


def _condition(gates: Iterable[StoredGate], *, drops_unscored: bool) -> str:
    """Whether a clip fails one of these gates, in SQL; of one on columns of other tables, whether it failed it."""
    parts = [f"({gate.fails})" if gate.fails else f"array_contains(reasons, '{gate.reason}')" for gate in gates]
    if drops_unscored:
        parts += [f"{gate.column} IS NULL" for gate in gates if gate.fails and gate.reason != "duplicate"]
    return " OR ".join(parts)


def _sums(conditions: Sequence[str], scores: Sequence[Score]) -> str:
    """One pass over the verdicts: what each condition is true of, and where each score lies."""
    columns = ["count(*) AS clips", "count_if(kept) AS kept", "sum(duration_s) AS seconds"]
    for place, condition in enumerate(conditions):
        columns += [
            f"count_if({condition}) AS drops_{place}",
            f"count_if(kept AND ({condition})) AS drops_kept_{place}",
            f"sum(CASE WHEN kept AND ({condition}) THEN duration_s END) AS seconds_{place}",
        ]
    quantiles = f"array({', '.join(map(str, QUANTILES))})"
    for place, score in enumerate(scores):
        columns += [
            f"count({score.value}) AS scored_{place}",
            f"count({score.finite}) AS finite_{place}",
            f"count_if(isnan(CAST({score.value} AS DOUBLE))) AS nan_{place}",
            f"min({score.finite}) AS min_{place}",
            f"max({score.finite}) AS max_{place}",
            f"percentile_approx({score.finite}, {quantiles}) AS quantiles_{place}",
        ]
    return f"SELECT {', '.join(columns)} FROM verdicts"


def _gate(gates: list[StoredGate], sums: Row, place: int) -> Row:
    return {
        "setting": gates[0].switch,
        "on": any(gate.is_on for gate in gates),
        "drops_if": [gate.shown for gate in gates],
        "drops": sums[f"drops_{place}"],
        "drops_kept": sums[f"drops_kept_{place}"],  # of the clips that are kept now
        "seconds_kept": sums[f"seconds_{place}"] or 0.0,
    }


def _score(output: Reader, score: Score, sums: Row, place: int) -> Row:
    numbers = {name: sums[f"{name}_{place}"] for name in ("scored", "finite", "nan", "min", "max")}
    quantiles = dict(zip(map(str, QUANTILES), sums[f"quantiles_{place}"] or [], strict=False))
    found = _chosen_bins(score, numbers, quantiles) if quantiles else None
    return {
        "score": score.name,
        "missing": sums["clips"] - numbers["scored"],
        **numbers,
        "quantiles": quantiles,
        "limits": [{"sign": limit.sign, "threshold": limit.threshold} for limit in score.limits],
        "bins": _bins(output, score, found) if found else [],
    }


def _chosen_bins(score: Score, numbers: Row, quantiles: Mapping[str, float]) -> Bins:
    inner, thresholds = (quantiles["0.05"], quantiles["0.95"]), [limit.threshold for limit in score.limits]
    return histogram.bins(numbers["min"], numbers["max"], inner, thresholds, NUM_BINS)


def _bins(output: Reader, score: Score, bins: Bins) -> list[Row]:
    """Every bin from its least value on, with its clips."""
    rows = {int(row["bin"]): row for row in output.rows(BINS.format(bin=bins.sql("number"), finite=score.finite))}
    none = {"clips": 0, "kept": 0}
    return [
        {"from": bins.edges(place)[0], "to": bins.edges(place)[1]}
        | {name: rows.get(place, none)[name] for name in none}
        for place in range(bins.number)
    ]


def _gate_lines(gate: Row, found: Row, width: int) -> Iterator[str]:
    share = f"{gate['drops']} of {found['clips']}"
    kept = f", {gate['drops_kept']} of them kept now ({gate['seconds_kept']:.1f} s)" if gate["drops"] else ""
    state = "on" if gate["on"] else "off"
    yield from terminal.wrapped(f"{gate['setting']:<20} {state:<4} {share}{kept}", width, "  ", " " * 8)


def _score_lines(score: Row, width: int, blocks: str) -> Iterator[str]:
    odd = [f"{score[name]} {text}" for name, text in (("missing", "without"), ("nan", "NaN")) if score[name]]
    infinite = score["scored"] - score["finite"] - score["nan"]
    odd += [f"{infinite} infinite"] if infinite else []
    head = f"{score['score']}: {counted(score['finite'], 'clip')}{screen.listed(odd)}"
    yield from terminal.wrapped(head, width, "", "  ")
    bins, number = score["bins"], min(NUM_BINS, width - 4)
    coarse = Bins(bins[0]["from"], bins[-1]["to"], number)
    counts: dict[int, int] = {}
    for row in bins:
        place = coarse.place((row["from"] + row["to"]) / 2)
        counts[place] = counts.get(place, 0) + row["clips"]
    yield f"  {histogram.drawn(counts, number, blocks)}"
    for limit in score["limits"]:
        yield from _mark(limit, coarse, width)
    names = {"0.05": "5 %", "0.5": "half", "0.95": "95 %"}
    shown = [f"{names[key]} up to {cell(score['quantiles'][key])}" for key in names]
    yield from terminal.wrapped(
        f"from {cell(score['min'])} to {cell(score['max'])}; {', '.join(shown)}", width, "  ", "  "
    )


def _mark(limit: Row, bins: Bins, width: int) -> Iterator[str]:
    """A line that marks a threshold below the histogram, and says on which side clips are dropped."""
    threshold, sign = limit["threshold"], limit["sign"]
    text = f"^ drops {sign} {threshold:g}"
    if not bins.low <= threshold <= bins.high:
        side = "left" if threshold < bins.low else "right"
        yield from terminal.wrapped(f"drops {sign} {threshold:g}, {side} of all that is drawn", width, "  ", "  ")
        return
    place = bins.place(threshold)
    if 2 + place + len(text) <= width:
        yield f"  {' ' * place}{text}"
    else:
        text = f"drops {sign} {threshold:g} ^"
        yield f"{text:>{2 + place + 1}}"
