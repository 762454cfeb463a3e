"""Two runs of an output, or two outputs: clips added, gone, judged and scored otherwise, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import duckdb
import pyarrow as pa

from jobs.config.errors import UsageError
from jobs.lake.catalog import literal
from jobs.lake.formats import cell
from jobs.queries import duckdb_engine, made_by, screen
from jobs.queries.duckdb_engine import Snapshot
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
LAST = """
SELECT stage, max_by(run_id, started_at) AS run_id, max_by(fingerprint, started_at) AS fingerprint
FROM runs WHERE run_id <= {run} GROUP BY stage
"""
NEITHER = ("motion_source", "letterbox")  # columns of signals that are no numbers
OTHERS = ("duration_s", "aesthetic_score_min", "aesthetic_score_mean", "similarity")
TEXTS = ("embedding_model", "caption")  # what models made, compared as it is
ACTS = ("ingest", "curate", "export", "maintain", "takedown")  # stages of `runs` without settings that make clips
EXAMPLES = 3
PLACES = ("before", "after")  # the schemas in which the tables of both sides are opened
COUNTS = {
    "added": "count(after.clip_id) FILTER (before.clip_id IS NULL)",
    "gone": "count(before.clip_id) FILTER (after.clip_id IS NULL)",
    "now_dropped": "count(*) FILTER (before.kept AND NOT after.kept)",
    "now_kept": "count(*) FILTER (after.kept AND NOT before.kept)",
    "common": "count(*) FILTER (before.clip_id = after.clip_id)",
}
EXAMPLES_OF = {
    "added": "before.clip_id IS NULL",
    "gone": "after.clip_id IS NULL",
    "now_dropped": "before.kept AND NOT after.kept",
    "now_kept": "after.kept AND NOT before.kept",
}
JOINED = "before.verdicts AS before {how} JOIN after.verdicts AS after ON after.clip_id = before.clip_id"
OTHERWISE = "before.clip_id = after.clip_id AND before.{name} IS DISTINCT FROM after.{name}"
REASONS = """
SELECT is_kept, reason, count(*) AS clips FROM (
  SELECT after.kept AS is_kept, unnest(CASE WHEN after.kept THEN before.reasons ELSE after.reasons END) AS reason
  FROM {both} WHERE before.kept <> after.kept
) GROUP BY ALL ORDER BY clips DESC, reason
"""
SOURCES = """
SELECT count(*) FILTER (b.uri IS NULL) AS added, count(*) FILTER (a.uri IS NULL) AS gone,
       count(*) FILTER (a.video_id <> b.video_id) AS replaced
FROM (SELECT uri, max_by(video_id, run_id) AS video_id FROM before.videos GROUP BY uri) AS b
FULL OUTER JOIN (SELECT uri, max_by(video_id, run_id) AS video_id FROM after.videos GROUP BY uri) AS a ON a.uri = b.uri
"""


class RunEnd(NamedTuple):
    """A run, and when the next one began, before which its tables are as it left them."""

    run_id: str
    started_at: str
    until: datetime | None  # None of the last run
    tables: Mapping[str, int] | None  # their versions at its end, if it noted them


@dataclass(frozen=True)
class Side:
    """One of the two states: its name for people, the scores that its clips have, and the last run of each stage."""

    label: str
    scores: Sequence[str]
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


def side(label: str, snapshot: Snapshot, run_id: str) -> Side:
    """The state of an output after a run, whose tables are opened as they were then."""
    snapshot.open({"verdicts", "videos"})
    last = [*snapshot.rows(LAST.format(run=literal(run_id)))]
    known = made_by.runs(snapshot.rows, [(row["stage"], row["run_id"]) for row in last])
    stages = {row["stage"]: row | known[row["stage"], row["run_id"]] for row in last}
    return Side(label, _numbers(), stages)


def _numbers() -> list[str]:
    """The columns of `verdicts` that are scores."""
    schema = TABLES["verdicts"].schema
    ours = {field.name for field in schema} - {*FROM_SIGNALS, *OTHERS}
    own = [name for name in schema.names[schema.get_field_index("caption") + 1 :] if name in ours]
    found = [*(name for name in FROM_SIGNALS if name not in NEITHER), *OTHERS, *own]
    return [name for name in found if _is_number(schema.field(name).type)]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def compared(db: duckdb.DuckDBPyConnection, before: Side, after: Side) -> Row:
    """What differs, and why, by the tables of both sides, which are opened in PLACES of the connection."""
    names = [*(name for name in before.scores if name in after.scores), *TEXTS]
    [sums] = duckdb_engine.rows(db, f"SELECT {', '.join(_sums(names))} FROM {JOINED.format(how='FULL OUTER')}")
    reasons = duckdb_engine.rows(db, REASONS.format(both=JOINED.format(how="")))
    return {
        **{place: _side(side, sums, place) for place, side in zip(PLACES, (before, after), strict=True)},
        **{name: sums[name] for name in COUNTS},
        "now_dropped_by": {row["reason"]: row["clips"] for row in reasons if not row["is_kept"]},
        "now_kept_despite": {row["reason"]: row["clips"] for row in reasons if row["is_kept"]},
        "examples": {kind: sums[f"examples_{kind}"] or [] for kind in EXAMPLES_OF},
        "scores": [*_scored(sums, names)],
        "sources": duckdb_engine.rows(db, SOURCES)[0],
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


def _sums(names: Sequence[str]) -> Iterator[str]:
    """The columns of one pass over the clips of both sides; `names` are scores and texts to compare."""
    for place in PLACES:
        yield f"count({place}.clip_id) AS clips_{place}"
        yield f"count(*) FILTER ({place}.kept) AS kept_{place}"
    yield from (f"{count} AS {name}" for name, count in COUNTS.items())
    for kind, where in EXAMPLES_OF.items():
        yield f"min(coalesce(after.clip_id, before.clip_id), {EXAMPLES}) FILTER ({where}) AS examples_{kind}"
    for number, name in enumerate(map(_quoted, names)):
        otherwise = OTHERWISE.format(name=name)
        yield f"count(*) FILTER ({otherwise}) AS otherwise_{number}"
        if names[number] not in TEXTS:
            yield f"max(abs(after.{name} - before.{name})) FILTER ({otherwise}) AS most_{number}"


def _side(side: Side, sums: Row, place: str) -> Row:
    return {"label": side.label, "clips": sums[f"clips_{place}"], "kept": sums[f"kept_{place}"]}


def _scored(sums: Row, names: Sequence[str]) -> Iterator[Row]:
    """The scores and texts of clips in both that differ."""
    for number, name in enumerate(names):
        if clips := sums[f"otherwise_{number}"]:
            most = {} if name in TEXTS else {"most": sums[f"most_{number}"]}
            yield {"score": name, "clips": clips, **most}


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
