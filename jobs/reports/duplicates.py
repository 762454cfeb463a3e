"""Groups of duplicates: the clip that was kept, and those that it stands for."""

from __future__ import annotations

from typing import NamedTuple

from jobs.lake.catalog import literal
from jobs.queries.ask import Ask
from jobs.reports.selection import Selection
from udfs.storage.uris import redacted

GROUPS, MEMBERS = 60, 11  # shown: the largest groups, and the clips of each
SIZES = "SELECT duplicate_of, count(*) AS number FROM verdicts WHERE {where} GROUP BY duplicate_of"
COUNTS = "SELECT count(*), CAST(coalesce(sum(number), 0) AS bigint) FROM ({sizes})"
LARGEST = "SELECT duplicate_of FROM ({sizes}) ORDER BY number DESC, duplicate_of LIMIT {groups}"
# Only these groups have their members looked up.
SHOWN = """
SELECT clip_id, video_uri, start_s, preview, num_duplicates, num_videos, duration_s / 3600 AS hours,
       slice(members, 1, {members}) AS members
FROM duplicate_groups WHERE clip_id IN ({clips})
ORDER BY num_duplicates DESC, clip_id
"""


class Member(NamedTuple):
    """A clip of a group; `similarity` to the clip that it is linked to is None of the kept one."""

    clip_id: str
    video: str
    start_s: float | None
    preview: str | None
    method: str | None = None
    similarity: float | None = None


class Group(NamedTuple):
    """A kept clip with its first duplicates, and how many there are, from how many videos and of how many hours."""

    kept: Member
    members: list[Member]
    number: int
    num_videos: int
    hours: float


class Duplicates(NamedTuple):
    """The largest groups, and the numbers of all groups and duplicates."""

    groups: list[Group]
    num_groups: int
    num_duplicates: int


def read(ask: Ask, selection: Selection) -> Duplicates:
    """The largest groups that hold a clip of the selection."""
    where = "duplicate_of IS NOT NULL"
    if not selection.is_everything:
        chosen = f"SELECT duplicate_of FROM {selection.verdicts} AS v WHERE duplicate_of IS NOT NULL"
        kept = f"SELECT clip_id FROM {selection.verdicts} AS v"
        where = f"{where} AND (duplicate_of IN ({chosen}) OR duplicate_of IN ({kept}))"
    sizes = SIZES.format(where=where)
    [(num_groups, num_duplicates)] = ask(COUNTS.format(sizes=sizes))
    if not num_groups:
        return Duplicates([], 0, 0)
    clips = ", ".join(literal(clip_id) for (clip_id,) in ask(LARGEST.format(sizes=sizes, groups=GROUPS)))
    rows = ask(SHOWN.format(clips=clips, members=MEMBERS))
    groups = [
        Group(
            Member(clip_id, redacted(uri or ""), start_s, preview),
            [_member(member) for member in members],
            count,
            num_videos,
            hours or 0.0,
        )
        for clip_id, uri, start_s, preview, count, num_videos, hours, members in rows
    ]
    return Duplicates(groups, num_groups, num_duplicates)


def _member(row: dict[str, object]) -> Member:
    names = ("clip_id", "video_uri", "start_s", "preview", "method", "similarity")
    clip_id, uri, *others = (row[name] for name in names)
    return Member(str(clip_id), redacted(str(uri or "")), *others)  # type: ignore[arg-type]
