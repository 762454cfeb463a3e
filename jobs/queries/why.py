"""Why something is as it is: the story of a clip, a video or an address, by an id, its beginning, or an address."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from jobs.config.errors import UsageError
from jobs.lake.catalog import literal
from jobs.queries import clip_story, failures, screen, video_story
from jobs.queries.reader import Row, Rows, first
from udfs.core.signed_addresses import unsigned
from udfs.core.terminal import MAX_COLUMNS
from udfs.storage.uris import absolute_uri, existing_uri, redacted

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # of a video or clip
MEDIA = re.compile(rf"/(?P<kind>\w+)/[0-9a-f]{{2}}/(?P<id>{ID.pattern})[^/]*$")  # a file that a stage wrote
ADDRESS = re.compile(r"[./:]")  # what no id has
CLIPS = "SELECT DISTINCT clip_id AS id FROM spans WHERE {clip} ORDER BY id LIMIT {limit}"
VIDEOS = "SELECT DISTINCT video_id AS id FROM videos WHERE {video} ORDER BY id LIMIT {limit}"
# Of several files that an address had one after the other, the newest.
BY_ADDRESS = """
SELECT uri, max_by(video_id, run_id) AS id FROM videos WHERE uri IN ({uris}) OR {ends} GROUP BY uri
ORDER BY uri LIMIT {limit}
"""
TAKEN = "SELECT uri, video_id, reason, taken_at FROM takedowns WHERE uri IN ({uris}) OR video_id = {video} OR {ends}"
REFUSED = """
SELECT stage, key, code, message, attempts, failed_at, run_id, fingerprint FROM failures
WHERE stage = 'ingest' AND (key IN ({uris}) OR {ends}) ORDER BY failed_at
"""
SHOWN = 3  # of the ids or addresses that an ambiguous one means


class Story(dict[str, Any]):
    """All that is known of a clip, a video or an address, by subject; its text is for people."""

    def __repr__(self) -> str:
        return "\n".join(lines(self, MAX_COLUMNS))


class Meant(NamedTuple):
    """What a user's word means: the id of a clip or of a video, or an address."""

    kind: str
    name: str


def story(rows: Rows, what: str) -> Story:
    """The story of what an id, the beginning of one, or an address means.

    Raises:
        UsageError: nothing is known of it, or it may mean several.
    """
    meant = _meant(rows, what)
    if meant.kind == "clip":
        return Story(clip_story.story(rows, meant.name))
    if meant.kind == "video":
        return Story(video_story.story(rows, meant.name))
    return Story(_address(rows, meant.name))


def lines(story: Row, width: int) -> Iterator[str]:
    """The story for people, in lines of at most `width` characters, but for addresses."""
    kind = clip_story if "clip_id" in story else video_story if "video_id" in story else None
    yield from kind.lines(story, width) if kind else _address_lines(story, width)


def _meant(rows: Rows, what: str) -> Meant:
    if not what.strip():
        raise UsageError("why: an empty name")
    if media := MEDIA.search(what):
        what = media["id"]
    found = None if ADDRESS.search(what) else _by_id(rows, what)
    found = found or _by_address(rows, what)
    if found is None:
        raise UsageError(f"no clip, video or address {redacted(what)} here")
    return found


def _by_id(rows: Rows, what: str) -> Meant | None:
    """The clip or video whose id this is, or begins with this."""
    begins = "{name} = {it}" if ID.fullmatch(what) else "startswith({name}, {it})"
    known = {name: begins.format(name=f"{name}_id", it=literal(what)) for name in ("clip", "video")}
    ids = {
        kind: [row["id"] for row in rows(query.format(**known, limit=100))]
        for kind, query in (("clip", CLIPS), ("video", VIDEOS))
    }
    for kind, found in ids.items():
        if what in found:
            return Meant(kind, what)
    every = [Meant(kind, name) for kind, found in ids.items() for name in found]
    if len(every) > 1:
        raise UsageError(_ambiguous(f"ids begin with {what}", [name for _, name in every]))
    return every[0] if every else None


def _by_address(rows: Rows, what: str) -> Meant | None:
    """The video of an address or file name; the address itself where no video was taken from it."""
    uris = {what, absolute_uri(what), existing_uri(absolute_uri(what)), unsigned(absolute_uri(what))}
    what = unsigned(what)
    known = {
        "uris": ", ".join(map(literal, sorted(uris))),
        "ends": f"endswith(uri, {literal('/' + what.lstrip('/'))})",
        "video": literal(what),
    }
    found = [*rows(BY_ADDRESS.format(**known, limit=100))]
    exact = [row for row in found if row["uri"] in uris]
    if len(exact or found) > 1:
        raise UsageError(_ambiguous(f"addresses end with {what}", [row["uri"] for row in exact or found]))
    if found:
        return Meant("video", (exact or found)[0]["id"])
    taken = first(rows(TAKEN.format(**known)))
    of_keys = known | {"ends": known["ends"].replace("endswith(uri", "endswith(key")}
    refused = first(rows(REFUSED.format(**of_keys))) if taken is None else None
    return Meant("address", (taken or {}).get("uri") or (refused or {})["key"]) if taken or refused else None


def _ambiguous(what: str, names: list[str]) -> str:
    shown = ", ".join(map(redacted, sorted(names)[:SHOWN])) + (" ..." if len(names) > SHOWN else "")
    return f"{len(names)}{' or more' if len(names) >= 100 else ''} {what}: {shown}"


def _address(rows: Rows, uri: str) -> Row:
    """What is known of an address from which no video was taken."""
    known = {"uris": literal(uri), "ends": "false", "video": literal(uri)}
    return {
        "address": uri,
        "takedown": first(rows(TAKEN.format(**known))),
        "failures": failures.of_input(rows, [uri], []),
    }


def _address_lines(story: Row, width: int) -> Iterable[str]:
    taken = story["takedown"]
    what = "taken down" if taken else "no video could be taken from it"
    yield f"address {screen.address(story['address'])}: {what}"
    if taken:
        reason = f": {taken['reason']}" if taken["reason"] else ""
        text = f"on {screen.moment(taken['taken_at'])}{reason}; it is not ingested again"
        yield from screen.labeled("takedown", text, width)
    yield from failures.of_input_lines(story["failures"], width)
