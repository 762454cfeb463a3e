"""All that is known of one video: its file, its clips with their verdicts, failures and settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from jobs.lake.catalog import literal
from jobs.lake.formats import cell
from jobs.queries import failures, made_by, screen
from jobs.queries.made_by import Recorded, Stamp
from jobs.queries.reader import Row, Rows, first
from udfs.core import terminal
from udfs.core.words import counted

VIDEO = """
SELECT video_id, uri, container, size, width, height, framerate, num_frames, duration_s, video_codec, audio_codec,
       pixel_format, rotation, is_hdr, is_vfr, timing, footage_warning, attributes, run_id, fingerprint
FROM videos WHERE video_id = {video}
"""
OTHERS = "SELECT video_id, run_id FROM videos WHERE uri = {uri} AND video_id <> {video} ORDER BY run_id"
SPANS = "SELECT clip_id, start_s, end_s, fingerprint, run_id FROM spans WHERE video_id = {video}"
FILES = "SELECT clip_id, fingerprint, run_id FROM clips WHERE video_id = {video}"
VERDICTS = """
SELECT clip_id, kept, reasons, duplicate_of, duration_s, fingerprint, run_id FROM verdicts WHERE video_id = {video}
"""
MAX_CLIPS, MAX_FAILURES = 40, 10  # lines of each; --format json has all


def story(rows: Rows, video: str) -> Row:
    """What the tables say of a video, by subject."""
    last, known = made_by.last_runs(rows), {"video": literal(video)}
    row = first(rows(VIDEO.format(**known))) or {}
    others = [*rows(OTHERS.format(uri=literal(row.get("uri") or ""), **known))]
    spans, files = [*rows(SPANS.format(**known))], [*rows(FILES.format(**known))]
    verdicts = {verdict["clip_id"]: verdict for verdict in rows(VERDICTS.format(**known))}
    tables = {"ingest": [row] if row else [], "split": spans, "clip": files, "filter": [*verdicts.values()]}
    stamps = {stage: _stamps(stage, found, last) for stage, found in tables.items()}
    in_force = {stamp.fingerprint for stamp in stamps["split"]}
    clips = [_clip(span, verdicts) for span in spans if span["fingerprint"] in in_force]
    return {
        "video_id": video,
        "source": {name: value for name, value in row.items() if name not in ("fingerprint", "run_id")},
        "superseded_by": [other["video_id"] for other in others if other["run_id"] > row["run_id"]],
        "supersedes": [other["video_id"] for other in others if other["run_id"] <= row["run_id"]],
        "clips": sorted(clips, key=lambda clip: (clip["start_s"], clip["clip_id"])),
        "failures": failures.of_video(rows, video, row.get("uri")),
        "made": made_by.story(rows, (stamp for found in stamps.values() for stamp in found), last),
    }


def lines(story: Row, width: int) -> Iterator[str]:
    """The story for people, in lines of at most `width` characters, but for addresses."""
    source, clips = story["source"], story["clips"]
    yield from terminal.wrapped(f"video {story['video_id']}: {_sums(story)}", width, "", "  ")
    yield from screen.place("source", source.get("uri"), "", width)
    yield from screen.labeled("file", _file(source), width)
    if warning := source.get("footage_warning"):
        yield from screen.labeled("warning", warning, width)
    for label, ids in (("replaced by", story["superseded_by"]), ("replaces", story["supersedes"])):
        yield from (line for other in ids for line in screen.labeled(label, f"video {other} of this address", width))
    for name, value in (source.get("attributes") or {}).items():
        yield from screen.labeled("manifest", f"{name} = {cell(value)}", width)
    failed = {row["key"]: f"{row['stage']} failed: {row['code']}" for row in story["failures"]}
    for clip in clips[:MAX_CLIPS]:
        unjudged = failed.get(clip["clip_id"], "no verdict yet")
        verdict = unjudged if clip["kept"] is None else "kept" if clip["kept"] else "dropped"
        text = f"{clip['clip_id']} {screen.seconds(clip)}: {verdict}{screen.listed(clip['reasons'])}"
        yield from screen.labeled("clip", text, width)
    yield from _more(len(clips) - MAX_CLIPS, "clip")
    kinds = _kinds(story["failures"])
    yield from failures.of_input_lines(kinds[:MAX_FAILURES], width)
    yield from _more(len(kinds) - MAX_FAILURES, "failure")
    yield from screen.made(story["made"], width)


def _stamps(stage: str, found: Iterable[Row], last: Mapping[str, Recorded]) -> list[Stamp]:
    """The newest stamp of the settings in force, or else of the newest settings; none without rows."""
    stamps = [Stamp(stage, row["fingerprint"], row["run_id"]) for row in found]
    in_force = [stamp for stamp in stamps if made_by.is_current(stamp, last)]
    return [max(in_force or stamps, key=lambda stamp: stamp.run_id)] if stamps else []


def _clip(span: Row, verdicts: Mapping[str, Row]) -> Row:
    verdict = verdicts.get(span["clip_id"], {})
    facts = {name: span[name] for name in ("clip_id", "start_s", "end_s")}
    return facts | {name: verdict.get(name) for name in ("kept", "reasons", "duplicate_of", "duration_s")}


def _sums(story: Row) -> str:
    """How many clips it gave, and what became of them."""
    clips = story["clips"]
    if not clips:
        return "no clips"
    kept = [clip["duration_s"] or 0.0 for clip in clips if clip["kept"]]
    reasons = Counter(reason for clip in clips for reason in clip["reasons"] or [])
    dropped = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    number = sum(clip["kept"] is False for clip in clips)
    keys = {row["key"] for row in story["failures"]}
    failed = sum(clip["kept"] is None and clip["clip_id"] in keys for clip in clips)
    return (
        f"{counted(len(clips), 'clip')}, {len(kept)} kept ({sum(kept):.1f} s), {number} dropped"
        f"{screen.listed([dropped] if dropped else [])}{f', {failed} failed' if failed else ''}"
    )


def _kinds(found: Iterable[Row]) -> list[Row]:
    """One failure of each stage, code and message, which says how many clips it stands for."""
    alike: dict[tuple[str, str, str], list[Row]] = {}
    for row in found:
        alike.setdefault((row["stage"], row["code"], row["message"]), []).append(row)
    return [
        rows[0] | ({"message": f"{rows[0]['message']} ({len(rows)} clips)"} if len(rows) > 1 else {})
        for rows in alike.values()
    ]


def _file(source: Row) -> str:
    """The facts of the file that people ask for first."""
    if not source:
        return "its row is gone from videos"
    size = f"{source['width']}x{source['height']} at {cell(source['framerate'])} fps"
    sound = f"sound {source['audio_codec']}" if source["audio_codec"] else "no sound"
    length = f"{cell(source['duration_s'])} s, {cell(source['num_frames'])} frames, {cell(source['size'])} bytes"
    odd = [name for name, is_so in _oddities(source).items() if is_so]
    return ", ".join([f"{source['container']}", f"{source['video_codec']} {size}", length, sound, *odd])


def _oddities(source: Row) -> dict[str, bool]:
    return {
        "HDR": bool(source["is_hdr"]),
        "variable frame rate": bool(source["is_vfr"]),
        f"turned by {source['rotation']} degrees": bool(source["rotation"]),
    }


def _more(number: int, noun: str) -> Iterator[str]:
    if number > 0:
        yield f"  ... and {counted(number, noun)} more: --format json has all"
