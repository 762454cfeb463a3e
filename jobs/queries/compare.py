"""Two runs of an output, or two outputs: clips added, gone, judged and scored otherwise, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import duckdb
import pyarrow as pa

from jobs.config.errors import UsageError
from jobs.lake.catalog import literal, quoted
from jobs.lake.formats import cell
from jobs.queries import made_by, screen
from jobs.queries.reader import Row, Rows
from schemas import TABLES
from schemas.verdicts import FROM_SIGNALS
from udfs.core import terminal
from udfs.core.words import counted

# Only the row `curate` has the versions at the end of a run. `maintain` adds one, too, and is no run to compare.
RUNS = """
SELECT run_id, min(started_at) AS started_at, max_by(tables, ended_at) FILTER (WHERE stage = 'curate') AS tables
FROM runs WHERE stage NOT IN ('export', 'maintain')
GROUP BY run_id HAVING count_if(stage <> 'curate') > 0 ORDER BY run_id
"""
VIDEOS = "SELECT uri, max_by(video_id, run_id) AS video_id FROM videos GROUP BY uri"
LAST = """
SELECT stage, max_by(run_id, started_at) AS run_id, max_by(fingerprint, started_at) AS fingerprint
FROM runs WHERE run_id <= {run} GROUP BY stage
"""
NEITHER = ("motion_source", "letterbox")  # columns of signals that are no numbers
OTHERS = ("duration_s", "aesthetic_score_min", "aesthetic_score_mean", "similarity")
TEXTS = ("embedding_model", "caption")  # what models made, compared as it is
ACTS = ("ingest", "curate", "export", "maintain", "takedown")  # stages of `runs` without settings that make clips
EXAMPLES = 3
BOTH = "before JOIN after ON after.clip_id = before.clip_id"
COUNTS = """
SELECT count(after.clip_id) FILTER (before.clip_id IS NULL) AS added,
       count(before.clip_id) FILTER (after.clip_id IS NULL) AS gone,
       count(*) FILTER (before.kept AND NOT after.kept) AS now_dropped,
       count(*) FILTER (after.kept AND NOT before.kept) AS now_kept,
       count(*) FILTER (before.clip_id = after.clip_id) AS common
FROM before FULL OUTER JOIN after ON after.clip_id = before.clip_id
"""
REASONS = """
SELECT reason, count(*) AS clips FROM (SELECT unnest({side}.reasons) AS reason FROM {both} WHERE {where})
GROUP BY reason ORDER BY clips DESC, reason
"""
SCORED = """
SELECT count(*) AS clips, max(abs(after.{name} - before.{name})) AS most FROM {both}
WHERE before.{name} IS DISTINCT FROM after.{name}
"""
OTHER_TEXT = "SELECT count(*) AS clips FROM {both} WHERE before.{name} IS DISTINCT FROM after.{name}"
SOURCES = """
SELECT count(*) FILTER (b.uri IS NULL) AS added, count(*) FILTER (a.uri IS NULL) AS gone,
       count(*) FILTER (a.video_id <> b.video_id) AS replaced
FROM videos_before AS b FULL OUTER JOIN videos_after AS a ON a.uri = b.uri
"""


class RunEnd(NamedTuple):
    """A run, and when the next one began, before which its tables are as it left them."""

    run_id: str
    started_at: str
    until: datetime | None  # None of the last run
    tables: Mapping[str, int] | None  # their versions at its end, if it noted them


@dataclass(frozen=True)
class Side:
    """One of the two states: its name for people, its verdicts and videos, and the last run of each stage."""

    label: str
    verdicts: pa.Table
    videos: pa.Table
    stages: Mapping[str, Row]


def ends(rows: Rows) -> list[RunEnd]:
    """The runs of an output in their order."""
    found = [*rows(RUNS)]
    after = [*(datetime.fromisoformat(row["started_at"]) for row in found[1:]), None]
    runs = zip(found, after, strict=False)  # without runs there is one time too many
    return [RunEnd(row["run_id"], row["started_at"], end, row["tables"]) for row, end in runs]


def chosen(every: Sequence[RunEnd], names: Sequence[str]) -> list[RunEnd]:
    """The runs that these ids, or the beginnings of ids, name; the last two if there are none.

    Raises:
        UsageError: a name means no run, or several.
    """
    if not names:
        if len(every) < 2:
            raise UsageError(f"compare: it takes two runs, and there {'is one' if every else 'is none'} here")
        return [*every[-2:]]
    return [_run(every, name) for name in names]


def _run(every: Sequence[RunEnd], name: str) -> RunEnd:
    found = [run for run in every if run.run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(run.run_id for run in (found or every)[-EXAMPLES:])
    what = f"{len(found)} runs begin with {name}: {ids}" if found else f"no run begins with {name}; the last are {ids}"
    raise UsageError(f"compare: {what}")


def side(label: str, rows: Rows, arrow: Callable[[str], pa.Table], run_id: str) -> Side:
    """The state of an output after a run; `rows` and `arrow` answer queries over the tables as they were then."""
    names = ("clip_id", "video_uri", "kept", "reasons", "duplicate_of", *_numbers(), *TEXTS)
    verdicts = arrow(f"SELECT {', '.join(map(quoted, names))} FROM verdicts")
    last = [*rows(LAST.format(run=literal(run_id)))]
    known = made_by.runs(rows, [(row["stage"], row["run_id"]) for row in last])
    stages = {row["stage"]: row | known[row["stage"], row["run_id"]] for row in last}
    return Side(label, verdicts, arrow(VIDEOS), stages)


def _numbers() -> list[str]:
    """The columns of `verdicts` that are scores."""
    schema = TABLES["verdicts"].schema
    ours = {field.name for field in schema} - {*FROM_SIGNALS, *OTHERS}
    own = [name for name in schema.names[schema.get_field_index("caption") + 1 :] if name in ours]
    found = [*(name for name in FROM_SIGNALS if name not in NEITHER), *OTHERS, *own]
    return [name for name in found if _is_number(schema.field(name).type)]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def compared(before: Side, after: Side) -> Row:
    """What differs, and why."""
    db = duckdb.connect()
    for name, table in {
        "before": before.verdicts,
        "after": after.verdicts,
        "videos_before": before.videos,
        "videos_after": after.videos,
    }.items():
        db.register(name, table)
    [counts] = _rows(db, COUNTS)
    there = {*after.verdicts.schema.names}
    scores = [field.name for field in before.verdicts.schema if field.name in there and _is_number(field.type)]
    return {
        "before": _sums(before),
        "after": _sums(after),
        **counts,
        "now_dropped_by": _reasons(db, "after", "before.kept AND NOT after.kept"),
        "now_kept_despite": _reasons(db, "before", "after.kept AND NOT before.kept"),
        "examples": _examples(db),
        "scores": [*_scored(db, scores)],
        "sources": _rows(db, SOURCES)[0],
        "settings": [*_settings(before, after)],
        "code": [*_code(before, after)],
    }


def lines(found: Row, width: int) -> Iterator[str]:
    """The comparison for people, in lines of at most `width` characters."""
    for name in ("before", "after"):
        side = found[name]
        yield from screen.labeled(
            name, f"{side['label']}: {side['kept']} kept of {counted(side['clips'], 'clip')}", width
        )
    if not found["common"] and found["before"]["clips"] and found["after"]["clips"]:
        yield from terminal.wrapped("no clip is in both: ids are made from the address and content of a video", width)
    for name, text in (("added", "added"), ("gone", "gone")):
        yield from screen.labeled(text, counted(found[name], "clip"), width)
    yield from _changed("now dropped", found["now_dropped"], found["now_dropped_by"], width)
    yield from _changed("now kept", found["now_kept"], found["now_kept_despite"], width)
    for score in found["scores"]:
        by = f", by up to {cell(score['most'])}" if score.get("most") else ""
        yield from screen.labeled("scored", f"{score['score']}: {counted(score['clips'], 'clip')} otherwise{by}", width)
    yield from _why(found, width)


def _rows(db: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    answer = db.execute(query)
    names = [name for name, *_ in answer.description]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def _sums(side: Side) -> Row:
    kept = sum(bool(value) for value in side.verdicts.column("kept").to_pylist())
    return {"label": side.label, "clips": side.verdicts.num_rows, "kept": kept}


def _reasons(db: duckdb.DuckDBPyConnection, side: str, where: str) -> dict[str, int]:
    """The reasons against clips on one side, each with the number of clips."""
    found = _rows(db, REASONS.format(side=side, both=BOTH, where=where))
    return {row["reason"]: row["clips"] for row in found}


def _examples(db: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Some clips of each kind of difference."""
    full = "before FULL OUTER JOIN after ON after.clip_id = before.clip_id"
    kinds = {
        "added": "before.clip_id IS NULL",
        "gone": "after.clip_id IS NULL",
        "now_dropped": "before.kept AND NOT after.kept",
        "now_kept": "after.kept AND NOT before.kept",
    }
    clip = "coalesce(after.clip_id, before.clip_id)"
    return {
        kind: [
            row["clip"]
            for row in _rows(db, f"SELECT {clip} AS clip FROM {full} WHERE {where} ORDER BY 1 LIMIT {EXAMPLES}")
        ]
        for kind, where in kinds.items()
    }


def _scored(db: duckdb.DuckDBPyConnection, scores: Sequence[str]) -> Iterator[Row]:
    """The scores of clips in both that differ."""
    for name, query in (*((score, SCORED) for score in scores), *((text, OTHER_TEXT) for text in TEXTS)):
        [row] = _rows(db, query.format(name=_quoted(name), both=BOTH))
        if row["clips"]:
            yield {"score": name} | row


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _settings(before: Side, after: Side) -> Iterator[Row]:
    """The settings by which stages ran otherwise; a stage with none has another model or version of its code."""
    for stage in dict.fromkeys((*before.stages, *after.stages)):
        if stage in ACTS:
            continue
        old, new = before.stages.get(stage), after.stages.get(stage)
        if old is None or new is None:
            yield {"stage": stage, "changed": [], "only": "after" if old is None else "before"}
        elif old["fingerprint"] != new["fingerprint"]:
            changed = [row for row in made_by.differences(stage, old, new) if row["setting"] != made_by.CODE]
            yield {"stage": stage, "changed": changed, "only": None}


def _code(before: Side, after: Side) -> Iterator[Row]:
    """Versions of this code and of libraries that differ."""
    old, new = (_versions(side) for side in (before, after))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield {"name": name, "before": old.get(name), "after": new.get(name)}


def _versions(side: Side) -> Row:
    newest = max(side.stages.values(), key=lambda row: row["started_at"] or "", default={})
    return newest.get("versions") or {}


def _changed(label: str, number: int, reasons: Mapping[str, int], width: int) -> Iterator[str]:
    shown = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
    yield from screen.labeled(label, f"{counted(number, 'clip')}{screen.listed([shown] if shown else [])}", width)


def _why(found: Row, width: int) -> Iterator[str]:
    """The settings, versions and sources that differ."""
    for row in found["settings"]:
        changed = "; ".join(screen.change(it) for it in row["changed"])
        only = f"ran only {row['only']}" if row["only"] else ""
        yield from screen.labeled(
            "settings", f"{row['stage']}: {only or changed or 'another model or version of code'}", width
        )
    for row in found["code"]:
        yield from screen.labeled(
            "code", f"{row['name']} {row['before'] or 'unknown'}, now {row['after'] or 'unknown'}", width
        )
    sources = found["sources"]
    if any(sources.values()):
        text = f"{sources['added']} added, {sources['replaced']} replaced, {sources['gone']} gone"
        yield from screen.labeled("videos", text, width)
    if not (found["settings"] or found["code"] or any(sources.values())):
        yield from screen.labeled("why", "settings, versions and videos are the same", width)
    for kind, clips in found["examples"].items():
        if clips:
            yield from screen.labeled("such as", f"{kind.replace('_', ' ')}: {', '.join(clips)}", width)
