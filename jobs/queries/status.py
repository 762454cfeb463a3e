"""What an output holds, what a run at work is doing, and what the next run would do and take, about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import NamedTuple

from jobs.lake import progress_file
from jobs.lake.progress_file import Progress
from jobs.queries import rates, screen
from jobs.queries.pending import InForce, Pending, pending
from jobs.queries.reader import Reader, Row, Rows, first
from udfs.core import terminal
from udfs.core.words import counted, duration

CHAIN = "curate"  # the stage of the row that a run adds to `runs` that left nothing to do
VIDEOS = "SELECT count(*) AS videos, sum(duration_s) AS media_s, avg(duration_s) AS mean_s FROM current_videos"
CLIPS = """
SELECT count(*) AS clips, count_if(kept) AS kept, sum(CASE WHEN kept THEN duration_s END) AS kept_s FROM verdicts
"""
LAST = """
SELECT stage, last.* FROM (
  SELECT stage, max_by(
    struct(run_id, fingerprint, coalesce(ended_at, started_at) AS ended_at, tables, waiting_run_id), started_at) AS last
  FROM runs GROUP BY stage)
"""
# Of the chain or its first steps: other jobs may be run by hand, without the conf file of the chain.
CONF = """
SELECT conf FROM runs
WHERE conf IS NOT NULL AND stage IN ('curate', 'ingest', 'split')
  AND run_id NOT IN (SELECT run_id FROM runs WHERE stage = 'maintain')
ORDER BY started_at DESC LIMIT 1
"""
# Of stages whose own sections say what is pending.
OWN_CONF = """
SELECT stage, max_by(conf, started_at) AS conf FROM runs
WHERE conf IS NOT NULL AND stage IN ('filter', 'caption') GROUP BY stage
"""


class Recorded(NamedTuple):
    """What `runs` says of the last run of a stage."""

    run_id: str
    fingerprint: str
    ended_at: datetime
    tables: Mapping[str, int] | None
    waiting_run_id: str | None


def summary(output: Reader, given: InForce | None, versions: Mapping[str, int], new_files: int | None = None) -> Row:
    """What the output holds and what is pending, by the settings `given` or by those of the last run.

    `versions` are those of the tables now. `new_files` is the number of files that are yet to be
    ingested, None if that is not known.
    """
    progress = progress_file.read(output.output, output.sources)
    last = _last(output.rows)
    force, by = (given, "the settings given") if given else in_force(output.rows, last, progress)
    if (rest := _rest(force, last, versions)) is not None:
        force = replace(force, rest=rest, waiting=last[CHAIN].waiting_run_id)
    at_rest = force.rest is not None and _without_labels(last[CHAIN].tables or {}) == _without_labels(versions)
    is_done = at_rest and force.waiting is None
    found = [Pending(stage, 0, None) for stage in force.stages] if is_done else pending(output.rows, force)
    held = (first(output.rows(VIDEOS)) or {}) | (first(output.rows(CLIPS)) or {})
    new_media_s = (new_files or 0) * (held["mean_s"] or 0.0)
    every = rates.estimates(found, rates.measured(output.rows), new_media_s)
    ended = max((row.ended_at for row in last.values()), default=None)
    return {
        "library": held,
        "run": progress and _run(progress, datetime.now(UTC)),
        "last_ended_at": ended and ended.isoformat(),
        "by": by,
        "new_files": new_files,
        "new_media_s": new_media_s,  # about
        "stages": [asdict(estimate) for estimate in every],
        "new_settings": _new_settings(force, last),
        "total": rates.totals(every),
    }


def lines(output: Reader, found: Row, width: int) -> Iterator[str]:
    """The status for people, in lines of at most `width` characters."""
    held = found["library"]
    seconds = f"{duration(held['kept_s'] or 0.0)} kept of {duration(held['media_s'] or 0.0)}"
    counts = f"{counted(held['videos'], 'video')}, {counted(held['clips'], 'clip')}, {held['kept']} kept ({seconds})"
    yield from terminal.wrapped(f"{output.named}: {counts}", width)
    if found["run"]:
        yield from run_lines(found["run"], width)
    elif found["last_ended_at"]:
        yield f"the last run ended on {screen.moment(found['last_ended_at'])}"
    yield from plan_lines(found, width)
    if found["new_files"] is None:
        yield screen.command("new files", f"{output.command('curate MANIFEST')} --plan")


def run_lines(run: Row, width: int) -> Iterator[str]:
    """What a run is doing, or how it ended."""
    since = f"since {screen.moment(run['started_at'])}"
    if not run["at_work"]:
        how = run["outcome"] or "was stopped: the same command goes on from here"
        yield from terminal.wrapped(f"the last run, {run['job']} {since}, {how}", width)
        return
    waves = f", wave {run['waves'][0]} of {run['waves'][1]}" if run["waves"] else ""
    heard = f"heard of {duration(run['silent_s'])} ago"
    where = f"process {run['pid']} on {run['host']}"
    yield from terminal.wrapped(f"a run is at work: {run['job']} {since}{waves} ({where}, {heard})", width)
    rows = [
        [stage["stage"], _of(stage), _per_second(stage), duration(stage["left_s"]), str(stage["failed"] or "")]
        for stage in run["stages"]
    ]
    if rows:
        yield from screen.grid(["stage", "done", "rate", "left", "failed"], rows, width)


def plan_lines(found: Row, width: int) -> Iterator[str]:
    """What is pending, and what it takes."""
    if found["new_files"] is not None:
        length = f", about {duration(found['new_media_s'])} of video" if found["new_media_s"] else ""
        yield f"{counted(found['new_files'], 'new file')} to ingest{length}"
    busy = [row for row in found["stages"] if row["inputs"] or (row["added"] or 0) >= 0.5 or row["added_media_s"]]
    if not busy and not found["new_settings"]:
        yield from terminal.wrapped(f"nothing is pending by {found['by']}", width)
        return
    yield from terminal.wrapped(f"pending by {found['by']}, and what it takes, by what the last runs took:", width)
    heads = ["stage", "pending", "media", "to come", "core time", "time", "$"]
    rows = [
        [
            *(row["stage"], str(row["inputs"]), duration(row["media_s"]), _to_come(row)),
            *(_about(row["cpu_s"]), _about(row["seconds"]), "" if row["usd"] is None else f"{row['usd']:.2f}"),
        ]
        for row in busy
    ]
    total = found["total"]
    if len(busy) > 1:
        dollars = "" if total["usd"] is None else f"{total['usd']:.2f}"
        rows.append(["in all", "", "", "", duration(total["cpu_s"]), duration(total["seconds"]), dollars])
    if rows:
        yield from screen.grid(heads, rows, width)
    for stage in found["new_settings"]:
        yield from terminal.wrapped(f"{stage} has other settings now: {NEW[stage]}", width, "  ", "  ")


NEW = {
    "filter": "every clip is judged again, without decoding",
    "dedup": "every clip is compared again by its vector",
}


def in_force(rows: Rows, last: Mapping[str, Recorded], progress: Progress | None) -> tuple[InForce, str]:
    """The settings by which work is pending, and whose they are.

    Those of a run of the whole chain that is at work or was stopped; else those of each stage's last run.
    """
    recorded = {stage: row.fingerprint for stage, row in last.items()}
    settings = _settings(rows)
    if progress is None or progress.get("job") != CHAIN or "fingerprints" not in progress:
        return InForce(recorded, settings), "the settings of the last run"
    if progress.get("outcome") != "done":
        return InForce(progress["fingerprints"], progress["settings"]), "the settings of that run"
    return InForce(
        progress["fingerprints"] | recorded, settings or progress["settings"]
    ), "the settings of the last run"


def _settings(rows: Rows) -> Row:
    """The settings of the last run of the chain, and of stages that ran by themselves since then."""
    last = first(rows(CONF))
    settings: Row = json.loads(last["conf"]) if last else {}
    for row in rows(OWN_CONF):
        settings[row["stage"]] = json.loads(row["conf"]).get(row["stage"], {})
    return settings


def _last(rows: Rows) -> dict[str, Recorded]:
    found = {}
    for row in rows(LAST):
        ended = datetime.fromisoformat(row["ended_at"]) if row["ended_at"] else datetime.min.replace(tzinfo=UTC)
        known = (row[name] for name in ("tables", "waiting_run_id"))
        found[row["stage"]] = Recorded(row["run_id"], row["fingerprint"], ended, *known)
    return found


def _rest(force: InForce, last: Mapping[str, Recorded], versions: Mapping[str, int]) -> str | None:
    """The run that left nothing to do by these settings; None if there is none, or something was removed since."""
    chain = last.get(CHAIN)
    if chain is None or chain.tables is None:
        return None
    removed = "takedown" in last and last["takedown"].ended_at > chain.ended_at
    removed = removed or any(versions.get(name, -1) < version for name, version in chain.tables.items())
    stages = [stage for stage in force.stages if stage in last or stage in force.fingerprints]
    settled = all(
        stage in last
        and last[stage].ended_at <= chain.ended_at
        and last[stage].fingerprint == force.fingerprints.get(stage)
        for stage in stages
    )
    return chain.run_id if settled and not removed else None


def _without_labels(versions: Mapping[str, int]) -> dict[str, int]:
    """Versions of the tables that may give a stage something to do."""
    return {name: version for name, version in versions.items() if name != "labels"}


def _new_settings(force: InForce, last: Mapping[str, Recorded]) -> list[str]:
    """The stages without inputs of their own whose settings have changed since they last ran."""
    return [
        stage
        for stage in NEW
        if stage in last and stage in force.fingerprints and last[stage].fingerprint != force.fingerprints[stage]
    ]


def _run(progress: Progress, now: datetime) -> Row:
    """What the last run said of itself, and whether it goes on."""
    at_work = progress_file.is_at_work(progress, now)
    return {
        **{name: progress.get(name) for name in ("run_id", "job", "pid", "started_at", "ended_at", "outcome")},
        "host": str(progress.get("host", "")).partition(" ")[0],
        "waves": progress.get("waves"),
        "at_work": at_work,
        "silent_s": max(0.0, progress_file.silent_s(progress, now)),
        "stages": [_with_rate(stage) for stage in progress["stages"]],
    }


def _with_rate(stage: Row) -> Row:
    done, seconds, total = stage["done"], stage["seconds"], stage["total"]
    rate = done / seconds if done and seconds else None
    left = (total - done) / rate if rate and total is not None and stage["at_work"] else None
    return stage | {"rate": rate, "left_s": left}


def _of(stage: Row) -> str:
    return (
        f"{stage['done']} of {stage['total']}"
        if stage["total"] is not None
        else "at work"
        if stage["at_work"]
        else "done"
    )


def _per_second(stage: Row) -> str:
    return f"{stage['rate']:.2f}/s" if stage["rate"] else ""


def _to_come(row: Row) -> str:
    """What the stages before will add."""
    if row["added_media_s"]:
        return duration(row["added_media_s"])
    return f"{row['added']:.0f}" if row["added"] and row["added"] >= 0.5 else ""


def _about(seconds: float | None) -> str:
    return duration(seconds) if seconds is not None else "never run"
