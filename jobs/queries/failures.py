"""Inputs that stages could not use: of a whole output by code, and of one clip or video."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from jobs.lake.catalog import literal
from jobs.lake.formats import plain
from jobs.lake.owners import owners
from jobs.lake.views import TRIED
from jobs.queries import made_by, screen
from jobs.queries.made_by import Recorded, Stamp
from jobs.queries.reader import Reader, Row, Rows
from udfs.core import terminal
from udfs.core.errors import PASSING
from udfs.core.failure_codes import ADVICE
from udfs.core.words import counted

TRIED_HERE = TRIED.format(failures="failures", runs="runs")
OF_KEYS = f"""
SELECT stage, key, code, message, attempts, failed_at, run_id, fingerprint FROM {TRIED_HERE}
WHERE key IN ({{keys}}) ORDER BY failed_at
"""
STAGES = "SELECT DISTINCT stage FROM failures ORDER BY stage"
# An input that a later run could use has not failed any more. Only the tables of stages that failed are read.
STANDING = f"""
SELECT last.* FROM (
  SELECT stage, key, last.* FROM (
    SELECT stage, key, max_by(struct(code, message, attempts, failed_at, run_id, fingerprint),
                              coalesce(failed_at, TIMESTAMP '1970-01-01 00:00:00')) AS last
    FROM {TRIED_HERE} WHERE {{where}} GROUP BY stage, key)) AS last
LEFT ANTI JOIN ({{done}}) AS done
  ON done.stage = last.stage AND done.key = last.key AND done.run_id > last.run_id
"""
# The newest of each code, stage and settings, with the number of all of them.
COUNTED = """
SELECT * FROM (
  SELECT *, count(*) OVER (PARTITION BY code, stage, made_by) AS count,
         row_number() OVER (PARTITION BY code, stage, made_by ORDER BY failed_at DESC, key) AS place
  FROM (SELECT *, split_part(fingerprint, '-', 1) AS made_by FROM ({standing})))
WHERE place <= {number} ORDER BY failed_at DESC, key
"""
# What no run would try now: replaced videos, and clips of such videos or of earlier spans.
REPLACED = """
(stage = 'split' AND key NOT IN (SELECT video_id FROM current_videos))
OR (stage NOT IN ('ingest', 'split', 'export')
  AND key NOT IN (SELECT clip_id FROM current_spans WHERE clip_id IN (SELECT key FROM failures)))
OR key IN (SELECT clip_id FROM spans WHERE video_id NOT IN (SELECT video_id FROM videos))
"""
CLIPS = """
SELECT spans.clip_id AS key, spans.start_s, spans.end_s, videos.uri AS video_uri
FROM spans LEFT JOIN videos ON videos.video_id = spans.video_id WHERE spans.clip_id IN ({keys})
"""
VIDEOS = "SELECT video_id AS key, uri AS video_uri FROM videos WHERE video_id IN ({keys})"
EXPORT = "export"  # the stage whose inputs only the same export takes up again
KEYS = {"ingest": "uri", "split": "video_id"}  # of stages whose inputs are no clips


def of_input(rows: Rows, keys: Sequence[str], stamps: Iterable[Stamp]) -> list[Row]:
    """The newest failure per stage of an input, by its keys; `repaired` if a later run could use it."""
    newest = {row["stage"]: row for row in rows(OF_KEYS.format(keys=_literals(keys)))}
    done = [(stamp.stage, stamp.run_id) for stamp in stamps]
    return [
        row | {"repaired": any(stage == row["stage"] and run_id > row["run_id"] for stage, run_id in done)}
        for row in newest.values()
    ]


def of_video(rows: Rows, video: str, uri: str | None) -> list[Row]:
    """The failures of a video and of its clips that stand, the newest last."""
    stages = [row["stage"] for row in rows(STAGES)]
    keys = f"key IN ({_literals((video, uri or video))})"
    of_clips = f"key IN (SELECT clip_id FROM spans WHERE video_id = {literal(video)})"
    standing = STANDING.format(where=f"{keys} OR {of_clips}", done=_done(stages))
    return [row | {"repaired": False} for row in rows(f"SELECT * FROM ({standing}) ORDER BY failed_at, key, stage")]


def of_input_lines(found: Iterable[Row], width: int) -> Iterator[str]:
    """The failures of an input, each with its cause and what to do."""
    for row in found:
        text = f"{row['stage']}: {row['code']}: {plain(row['message'])}"
        if row["repaired"]:
            yield from screen.labeled("repaired", f"{text}; a later run could use it", width)
            continue
        yield from screen.labeled("failure", text, width)
        yield from screen.labeled("", ". ".join(_advice(row["code"])), width)


def summary(reader: Reader, code: str | None, stage: str | None, num_examples: int) -> Row:
    """The failures that stand, by code: how many per stage, cause, advice and examples."""
    stages = [row["stage"] for row in reader.rows(STAGES) if stage in (None, row["stage"])]
    if not stages:
        return {"count": 0, "codes": []}
    where = f"stage IN ({_literals(stages)})" + (f" AND code = {literal(code)}" if code else "")
    where += f" AND NOT ({REPLACED})"
    standing = STANDING.format(where=where, done=_done(stages))
    by_code: dict[str, list[Row]] = {}
    for row in reader.rows(COUNTED.format(standing=standing, number=max(1, num_examples))):
        by_code.setdefault(row["code"], []).append(row)
    examples = [row for rows in by_code.values() for row in rows[:num_examples]]
    places, last = _places(reader.rows, examples), made_by.last_runs(reader.rows)
    found = [_of_code(name, rows, num_examples, places, last) for name, rows in by_code.items()]
    found.sort(key=lambda row: (-row["count"], row["code"]))
    return {"count": sum(row["count"] for row in found), "codes": found}


def summary_lines(
    reader: Reader, found: Row, width: int, code: str | None = None, stage: str | None = None
) -> Iterator[str]:
    """The failures for people; `code` and `stage` are those that they are of, None for all."""
    if not found["codes"]:
        what = f"nothing failed{f' with {code}' if code else ''}{f' in {stage}' if stage else ''}"
        yield f"{what}, or a later run could use it"
        return
    yield f"{counted(found['count'], 'input')} could not be used"
    for row in found["codes"]:
        yield ""
        yield from _code_lines(reader, row, width)
    yield ""
    yield screen.command("all of them", f"{reader.command('sql')} 'select * from failed'")


def _of_code(
    code: str, rows: list[Row], num_examples: int, places: Mapping[str, Row], last: Mapping[str, Recorded]
) -> Row:
    """What is known of a code, from the newest rows of each stage and settings."""
    groups = [row for row in rows if row["place"] == 1]
    stages = Counter[str]()
    for row in groups:
        stages[row["stage"]] += row["count"]
    known = (row for row in groups if row["stage"] in last and row["stage"] != EXPORT)
    outdated = (row for row in known if row["made_by"] != last[row["stage"]].fingerprint)
    count, (cause, advice) = stages.total(), _advice(code)
    return {
        "code": code,
        "count": count,
        "stages": dict(stages),
        "cause": cause,
        "advice": advice,
        # By the next run, without being asked to.
        "num_tried_again": count if code in PASSING else sum(row["count"] for row in outdated),
        "examples": [
            {name: row[name] for name in ("stage", "key", "message", "attempts", "failed_at")}
            | places.get(row["key"], {"video_uri": row["key"], "start_s": None, "end_s": None})
            for row in rows[:num_examples]
        ],
    }


def _advice(code: str) -> tuple[str, str]:
    """The cause of failures with a code and what to do, without Markdown."""
    if code not in ADVICE:
        return "a code that this release does not know", "Ask the release that wrote it."
    cause, advice = (text.replace("`", "") for text in ADVICE[code])
    return cause, advice


def _places(rows: Rows, examples: Iterable[Row]) -> dict[str, Row]:
    """The video of each example that is a clip or a video, and the clip's seconds, by key."""
    keys = _literals({row["key"] for row in examples if row["stage"] != "ingest"})
    if not keys:
        return {}
    found = [*rows(VIDEOS.format(keys=keys)), *rows(CLIPS.format(keys=keys))]
    return {row.pop("key"): {"start_s": None, "end_s": None} | row for row in found}


def _code_lines(reader: Reader, row: Row, width: int) -> Iterator[str]:
    stages = ", ".join(f"{stage} {count}" for stage, count in row["stages"].items())
    yield from terminal.wrapped(f"{row['code']}  {row['count']} ({stages}): {row['cause']}", width)
    for example in row["examples"]:
        seconds = screen.seconds(example) if example["start_s"] is not None else ""
        yield from screen.place(example["stage"], example["video_uri"], seconds, width)
        yield from screen.labeled("", f"{example['message']}{_tries(example)}", width)
    left = row["count"] - len(row["examples"])
    if left:
        yield f"  ... and {left} more"
    yield from screen.labeled("to do", row["advice"], width)
    exported, is_passing = row["stages"].get(EXPORT, 0), row["code"] in PASSING
    if by_next_run := row["num_tried_again"] - (exported if is_passing else 0):
        yield from screen.labeled("", f"The next run tries {by_next_run} of them again by itself.", width)
    if exported and is_passing:
        yield from screen.labeled("", f"The same export tries {exported} of them again by itself.", width)
    if row["examples"]:
        key = row["examples"][0]["key"]
        yield screen.command("explained", f"{reader.command('why')} {shlex.quote(plain(key))}")
    for job, takes_up in ("curate MANIFEST", row["stages"].keys() - {EXPORT}), ("export ...", exported):
        if takes_up and not is_passing:
            yield screen.command("again", f"{reader.command(job)} --retry-failed {row['code']}")


def _tries(example: Row) -> str:
    """When it was last tried, and how often."""
    times = f", tried {example['attempts']} times" if (example["attempts"] or 1) > 1 else ""
    return f" ({screen.moment(example['failed_at'])}{times})"


def _literals(values: Iterable[str]) -> str:
    return ", ".join(map(literal, values))


def _done(stages: Iterable[str]) -> str:
    """The query for what stages could use: the key of each row of their tables, and the run that wrote it."""
    tables = {owner.stage: name for name, owner in owners().items()} | {"ingest": "videos"}
    parts = [
        f"SELECT {literal(stage)} AS stage, {KEYS.get(stage, 'clip_id')} AS key, run_id FROM {tables[stage]}"
        for stage in stages
        if stage in tables
    ]
    return " UNION ALL ".join(parts) or "SELECT '' AS stage, '' AS key, '' AS run_id"
