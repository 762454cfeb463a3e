"""All that is known of one clip: source, file, scores beside thresholds, verdict, captions, failures, settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.lake.catalog import literal
from jobs.lake.formats import cell, plain
from jobs.queries import failures, made_by, screen, stored_gates
from jobs.queries.made_by import Recorded, Stamp
from jobs.queries.reader import Row, Rows, first
from schemas import custom_tables
from schemas.custom import scores_of
from udfs.core import terminal

VIDEO = "SELECT uri, num_frames, run_id, fingerprint FROM videos WHERE video_id = {video}"
# Each table of clips with the stage that fills it and the columns to show; wide ones, such as vectors, are left out.
TABLES = {
    "spans": ("split", "video_id, start_s, end_s, start_frame, end_frame, method"),
    "clips": (
        "clip",
        "uri, width, height, framerate, num_frames, duration_s, num_bytes, video_codec, encoder, audio_codec, "
        "audio_warning, picture_warning",
    ),
    "signals": ("analyze", "proxy_uri, previews, warnings, motion_source"),
    "copies": ("copies", "copy_of, num_agree, distance"),
    "aesthetics": ("aesthetic", "model, score_min, score_mean"),
    "embeddings": ("embed", "model, dim, num_frames, text_match"),
    "duplicates": ("dedup", "method, similarity, duplicate_of"),
    "captions": ("caption", "start_frame, end_frame, model, prompt, caption, stage2_caption, checks"),
    "enhanced": ("enhance", "start_frame, model, enhanced_caption"),
    "alignments": ("align", "start_frame, model, alignment"),
}
ROWS = "SELECT {columns}, fingerprint, run_id FROM {table} WHERE clip_id = {clip} ORDER BY run_id DESC"
VERDICT = "SELECT * FROM verdicts WHERE clip_id = {clip}"
OTHER = "SELECT video_uri, start_s, end_s, uri FROM verdicts WHERE clip_id = {clip}"
STANDS_FOR = "SELECT clip_id FROM verdicts WHERE duplicate_of = {clip} ORDER BY clip_id"
WINDOWED = ("captions", "enhanced", "alignments")  # tables with several rows per clip


def story(rows: Rows, clip: str) -> Row:
    """What the tables say of a clip, by subject; `made` says by which settings each row was made."""
    last = made_by.last_runs(rows)
    found = {table: _rows(rows, table, clip) for table in _tables()}
    kept = {name: _in_force(stage, found[name], last) for name, (stage, _) in _tables().items()}
    span = first(kept["spans"]) or {}
    video = first(rows(VIDEO.format(video=literal(span.get("video_id") or "")))) or {}
    verdict = first(rows(VERDICT.format(clip=literal(clip))))
    stamps = [*_stamps(video, kept, verdict)]
    signals, file = first(kept["signals"]) or {}, first(kept["clips"])
    return {
        "clip_id": clip,
        "verdict": None if verdict is None else ("kept" if verdict["kept"] else "dropped"),
        "reasons": verdict["reasons"] if verdict else [],
        "source": {"video_uri": video.get("uri"), "video_num_frames": video.get("num_frames"), **_facts(span)},
        "file": file and _facts(file),
        "proxy_uri": signals.get("proxy_uri"),
        "previews": signals.get("previews") or [],
        "warnings": signals.get("warnings") or [],
        "gates": _gates(rows, verdict) if verdict else [],
        "embeddings": [*map(_facts, kept["embeddings"])],
        "duplicate_of": _duplicate(rows, first(kept["duplicates"]), verdict),
        "copy_of": (first(kept["copies"]) or {}).get("copy_of"),
        "stands_for": [row["clip_id"] for row in rows(STANDS_FOR.format(clip=literal(clip)))],
        "captions": _captions(kept),
        "own_scores": _own_scores(kept),
        "failures": failures.of_input(rows, [clip, *filter(None, (video.get("uri"), span.get("video_id")))], stamps),
        "made": made_by.story(rows, stamps, last),
    }


def lines(story: Row, width: int) -> Iterator[str]:
    """The story for people, in lines of at most `width` characters, but for addresses."""
    source, file = story["source"], story["file"]
    failed = any(row["stage"] == "clip" and not row["repaired"] for row in story["failures"])
    verdict = story["verdict"] or f"no verdict: {'it could not be cut' if failed else 'not judged yet'}"
    head = f"clip {story['clip_id']}: {verdict}{screen.listed(story['reasons'])}"
    yield from terminal.wrapped(head, width, "", "  ")
    frames = f"frames {source['start_frame']}-{source['end_frame']}, {source['method']}"
    yield from screen.place("source", source["video_uri"], f"{screen.seconds(source)} ({frames})", width)
    if file:
        size = f"{file['width']}x{file['height']}, {cell(file['duration_s'])} s, {file['video_codec']}"
        yield from screen.place("file", file["uri"], f"{size} by {file['encoder']}, {_sound(file)}", width)
    if story["proxy_uri"]:
        yield from screen.place("proxy", story["proxy_uri"], "", width)
    for preview in story["previews"]:
        frames = f"frames {preview['start_frame']}-{preview['end_frame']}"
        yield from screen.place("preview", preview["uri"], frames, width)
    for warning in [file and file["audio_warning"], file and file["picture_warning"], *story["warnings"]]:
        if warning:
            yield from screen.labeled("warning", warning, width)
    for gate in story["gates"]:
        yield from _gate_lines(gate, width)
    yield from _other_scores(story, width)
    yield from _duplicate_lines(story, width)
    for window in story["captions"]:
        text = window["enhanced_caption"] or window["stage2_caption"] or window["caption"]
        seen = f"{window['start_frame']}-{window['end_frame']}: {plain(text)}{screen.listed(window['checks'])}"
        yield from screen.labeled("caption", seen, width)
    yield from failures.of_input_lines(story["failures"], width)
    yield from screen.made(story["made"], width)


def _tables() -> dict[str, tuple[str, str]]:
    """TABLES, and those of the user's own stages with their scores."""
    own = {table.name: (table.name, ", ".join(f"`{name}`" for name in scores_of(table))) for table in custom_tables()}
    return TABLES | {name: found for name, found in own.items() if found[1]}


def _rows(rows: Rows, table: str, clip: str) -> list[Row]:
    """The rows of a clip in a table, the newest first."""
    _, columns = _tables()[table]
    return [*rows(ROWS.format(columns=columns, table=f"`{table}`", clip=literal(clip)))]


def _in_force(stage: str, found: list[Row], last: Mapping[str, Recorded]) -> list[Row]:
    """The rows by the settings in force, or else those of the newest settings."""
    current = [row for row in found if made_by.is_current(_stamp(stage, row), last)]
    return current or [row for row in found if row["fingerprint"] == found[0]["fingerprint"]]


def _stamp(stage: str, row: Row) -> Stamp:
    return Stamp(stage, row["fingerprint"], row["run_id"])


def _stamps(video: Row, kept: Mapping[str, list[Row]], verdict: Row | None) -> Iterator[Stamp]:
    """The stamp of each row, once per stage, in the order of the stages."""
    if video:
        yield _stamp("ingest", video)
    for name, (stage, _) in _tables().items():
        if kept[name]:
            yield _stamp(stage, kept[name][0])
    if verdict:
        yield _stamp("filter", verdict)


def _facts(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("fingerprint", "run_id")}


def _gates(rows: Rows, verdict: Row) -> list[Row]:
    """Every gate: the clip's score, the condition to fail, whether the gate is on, and whether the clip failed it."""
    return [
        {
            "reason": gate.reason,
            "score": gate.score,
            "value": verdict.get(gate.column),
            "fails_if": gate.shown,
            "on": gate.is_on,
            "failed": gate.has_failed(verdict),
        }
        for gate in stored_gates.gates(stored_gates.settings(rows))
    ]


def _duplicate(rows: Rows, link: Row | None, verdict: Row | None) -> Row | None:
    """The kept clip that this one is a duplicate of, and how dedup linked it."""
    if not verdict or verdict["duplicate_of"] is None:
        return None
    other = verdict["duplicate_of"]
    how = {"method": None, "similarity": None, "linked_to": None}
    if link:
        how = {"method": link["method"], "similarity": link["similarity"], "linked_to": link["duplicate_of"]}
    return {"clip_id": other} | how | (first(rows(OTHER.format(clip=literal(other)))) or {})


def _captions(kept: Mapping[str, list[Row]]) -> list[Row]:
    """The captions of the clip's windows in time order, with what later stages made of them."""
    enhanced, aligned = ({row["start_frame"]: row for row in kept[name]} for name in ("enhanced", "alignments"))
    found = []
    for row in sorted(kept["captions"], key=lambda row: (row["start_frame"], row["model"], row["prompt"])):
        start = row["start_frame"]
        more: dict[str, Any] = {
            "enhanced_caption": enhanced.get(start, {}).get("enhanced_caption"),
            "alignment": aligned.get(start, {}).get("alignment"),
        }
        found.append(_facts(row) | more)
    return found


def _own_scores(kept: Mapping[str, list[Row]]) -> dict[str, Any]:
    """What the user's own stages found, by the names that `verdicts` has."""
    return {
        score: row[name]
        for table in custom_tables()
        for row in kept.get(table.name, [])[:1]
        for name, score in scores_of(table).items()
    }


def _sound(file: Row) -> str:
    return f"sound {file['audio_codec']}" if file["audio_codec"] else "no sound"


def _gate_lines(gate: Row, width: int) -> Iterator[str]:
    state = "failed" if gate["failed"] else "on" if gate["on"] else "off"
    condition = gate["fails_if"].removeprefix(f"{gate['score']} ")
    yield from screen.labeled(f"gate {state}", f"{gate['score']} = {cell(gate['value'])}; drops if {condition}", width)


def _other_scores(story: Row, width: int) -> Iterator[str]:
    of_gates = {gate["score"] for gate in story["gates"]}
    for name, value in story["own_scores"].items():
        if name not in of_gates:
            yield from screen.labeled("score", f"{name} = {cell(value)}", width)
    for row in story["embeddings"]:
        match = f", nearest text: {plain(row['text_match'])}" if row["text_match"] else ""
        yield from screen.labeled("vector", f"{row['dim']} numbers by {row['model']}{match}", width)


def _duplicate_lines(story: Row, width: int) -> Iterator[str]:
    other = story["duplicate_of"]
    if other:
        how = f"{screen.seconds(other)} ({other['method']}, similarity {cell(other['similarity'])})"
        yield from screen.place("duplicate", other.get("video_uri"), how, width, before=f"of {other['clip_id']}: ")
    elif story["copy_of"]:
        yield from screen.labeled("copy", f"of {story['copy_of']} by its hashes, and so without a vector", width)
    if story["stands_for"]:
        shown = ", ".join(story["stands_for"][:3]) + (" ..." if len(story["stands_for"]) > 3 else "")
        yield from screen.labeled("stands for", f"{len(story['stands_for'])} duplicates: {shown}", width)
