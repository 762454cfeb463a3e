"""Why a clip was kept or dropped: its source, scores beside thresholds, verdict, duplicate, captions and failures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from jobs.config.errors import UsageError
from jobs.lake.catalog import literal
from jobs.lake.formats import cell
from jobs.queries import gate_settings
from schemas.custom import score_name
from udfs import filter

Row = dict[str, Any]
Rows = Callable[[str], Iterable[Row]]  # Spark's SQL over tables and views -> rows of plain values

CLIP = """
SELECT spans.clip_id, spans.video_id, videos.uri AS video_uri, spans.start_s, spans.end_s, spans.start_frame,
       spans.end_frame, spans.method
FROM spans LEFT JOIN videos ON videos.video_id = spans.video_id
WHERE startswith(spans.clip_id, {clip})
ORDER BY spans.run_id DESC
"""
FILE = """
SELECT uri, width, height, framerate, num_frames, duration_s, num_bytes, video_codec, encoder, audio_codec,
       audio_warning, picture_warning
FROM clips WHERE clip_id = {clip} ORDER BY run_id DESC LIMIT 1
"""
PREVIEWS = "SELECT previews FROM current_signals WHERE clip_id = {clip}"
VERDICT = "SELECT * FROM verdicts WHERE clip_id = {clip}"
LINK = """
SELECT duplicates.method, duplicates.similarity, duplicates.duplicate_of AS linked_to, verdicts.video_uri,
       verdicts.start_s, verdicts.end_s, verdicts.uri
FROM duplicates LEFT JOIN verdicts ON verdicts.clip_id = {other}
WHERE duplicates.clip_id = {clip}
"""
STANDS_FOR = "SELECT clip_id FROM verdicts WHERE duplicate_of = {clip} ORDER BY clip_id"
CAPTIONS = """
SELECT captions.start_frame, captions.end_frame, captions.model, captions.caption, captions.stage2_caption,
       enhanced.enhanced_caption, captions.checks, alignments.alignment
FROM current_captions AS captions
LEFT JOIN current_enhanced AS enhanced
  ON enhanced.clip_id = captions.clip_id AND enhanced.start_frame = captions.start_frame
LEFT JOIN current_alignments AS alignments
  ON alignments.clip_id = captions.clip_id AND alignments.start_frame = captions.start_frame
WHERE captions.clip_id = {clip}
ORDER BY captions.start_frame
"""
FAILURES = "SELECT stage, code, message, failed_at FROM failed WHERE key IN ({clip}, {video}) ORDER BY failed_at"


class Story(dict[str, Any]):
    """All that is known of one clip, by subject; its text is for people."""

    def __repr__(self) -> str:
        return "\n".join(_lines(self))


def story(rows: Rows, clip: str) -> Story:
    """The story of a clip by its id, or by the beginning of it.

    Raises:
        UsageError: there is no such clip, or several ids begin so.
    """
    source = _source(rows, clip)
    known = {"clip": literal(source["clip_id"]), "video": literal(source["video_id"])}
    verdict = _first(rows(VERDICT.format(**known)))
    return Story(
        clip_id=source["clip_id"],
        verdict=None if verdict is None else ("kept" if verdict["kept"] else "dropped"),
        reasons=verdict["reasons"] if verdict else [],
        source={name: value for name, value in source.items() if name != "clip_id"},
        file=_first(rows(FILE.format(**known))),
        previews=(_first(rows(PREVIEWS.format(**known))) or {}).get("previews") or [],
        gates=_all_gates(rows, verdict) if verdict else [],
        duplicate_of=_duplicate(rows, known["clip"], verdict),
        stands_for=[row["clip_id"] for row in rows(STANDS_FOR.format(**known))],
        captions=[*rows(CAPTIONS.format(**known))],
        failures=[*rows(FAILURES.format(**known))],
    )


def _source(rows: Rows, clip: str) -> Row:
    found = {row["clip_id"]: row for row in reversed([*rows(CLIP.format(clip=literal(clip)))])} if clip else {}
    if not found:
        raise UsageError(f"no clip {clip}")
    if len(found) > 1 and clip not in found:
        raise UsageError(f"{len(found)} clips begin with {clip}: {', '.join(sorted(found)[:3])} ...")
    return found.get(clip) or next(iter(found.values()))


def _all_gates(rows: Rows, verdict: Row) -> list[Row]:
    """The gates of `filter`, as its last run had them, then those of the user's own stages."""
    last = gate_settings.read((_first(rows(gate_settings.QUERY)) or {}).get("conf"))
    return [*_gates(last.filter, verdict), *_own_gates(last.custom, verdict)]


def _gates(params: filter.Params, verdict: Row) -> list[Row]:
    """Every gate: the clip's score, the condition to fail, whether the gate is on, and whether the clip failed it."""
    switches: dict[str, Any] = {f.name: True for f in fields(params) if getattr(params, f.name) is False}
    on = {gate.reason for gate in filter.gates(params)} | ({"duplicate"} if params.duplicates else set())
    link = filter.Gate("duplicate", "similarity", f"method is phash, or similarity >= {1 - params.duplicate_eps:g}")
    gates = [*filter.gates(replace(params, **switches)), link]
    scores = verdict | {"aesthetic_score": verdict[f"aesthetic_score_{params.aesthetic_reduction}"]}
    return [
        {
            "reason": gate.reason,
            "score": gate.score,
            "value": scores.get(gate.score),
            "fails_if": f"NOT ({params.where})" if gate.reason == "where" else gate.fails.removesuffix("D"),
            "on": gate.reason in on,
            "failed": not {gate.reason, f"{gate.score}_missing"}.isdisjoint(verdict["reasons"]),
        }
        for gate in gates
    ]


def _own_gates(stages: Mapping[str, Row], verdict: Row) -> Iterator[Row]:
    """The gates of [custom.NAME] sections, each with the first of its columns that the condition names."""
    for name, section in stages.items():
        condition = section.get("gate")
        columns = [key for key in section.get("columns", {}) if condition and re.search(rf"\b{key}\b", condition)]
        if not columns:
            continue
        score = score_name(name, columns[0])
        yield {
            "reason": name,
            "score": score,
            "value": verdict.get(score),
            "fails_if": f"NOT ({condition})",
            "on": True,
            "failed": not {name, f"{score}_missing"}.isdisjoint(verdict["reasons"]),
        }


def _duplicate(rows: Rows, clip: str, verdict: Row | None) -> Row | None:
    """The kept clip that this one is a duplicate of, and how dedup linked it."""
    if not verdict or verdict["duplicate_of"] is None:
        return None
    other = verdict["duplicate_of"]
    return {"clip_id": other} | (_first(rows(LINK.format(clip=clip, other=literal(other)))) or {})


def _first(rows: Iterable[Row]) -> Row | None:
    return next(iter(rows), None)


def _lines(story: Story) -> Iterator[str]:
    source, file, other = story["source"], story["file"], story["duplicate_of"]
    verdict = story["verdict"] or "no verdict: `filter` has not seen it"
    yield f"clip {story['clip_id']}: {verdict}{_listed(story['reasons'])}"
    frames = f"frames {source['start_frame']}-{source['end_frame']}, {source['method']}"
    yield f"  source     {_place(source)} ({frames})"
    if file:
        size = f"{file['width']}x{file['height']}, {cell(file['duration_s'])} s, {file['video_codec']}"
        yield f"  file       {cell(file['uri'])}: {size} by {file['encoder']}"
        yield from (f"  warning    {cell(file[name])}" for name in ("audio_warning", "picture_warning") if file[name])
    for gate in story["gates"]:
        state = "failed" if gate["failed"] else "on" if gate["on"] else "off"
        yield f"  gate {state:<6} {gate['score']} = {cell(gate['value'])}; drops if {gate['fails_if']}"
    if other:
        how = f"{other.get('method')}, similarity {cell(other.get('similarity'))}"
        yield f"  duplicate  of {other['clip_id']}: {_place(other)} ({how})"
    if story["stands_for"]:
        yield f"  stands for {len(story['stands_for'])} duplicates: {cell(story['stands_for'][:3])}"
    for window in story["captions"]:
        text = window["enhanced_caption"] or window["stage2_caption"] or window["caption"]
        yield f"  caption    {window['start_frame']}-{window['end_frame']}: {cell(text)}{_listed(window['checks'])}"
    for failure in story["failures"]:
        yield f"  failure    {failure['stage']}: {failure['code']}: {cell(failure['message'])}"


def _place(row: Row) -> str:
    return f"{cell(row.get('video_uri'))}, {cell(row.get('start_s'))}-{cell(row.get('end_s'))} s"


def _listed(values: list[str] | None) -> str:
    return f" ({', '.join(values)})" if values else ""
