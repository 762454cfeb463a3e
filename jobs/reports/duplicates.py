"""Groups of duplicates: the clip that was kept, and those that it stands for."""

from __future__ import annotations

from typing import NamedTuple

from jobs.queries.ask import Ask
from jobs.reports.selection import Selection
from udfs.storage.uris import redacted

GROUPS, MEMBERS = 60, 11  # shown: the largest groups, and the clips of each
COUNTS = "SELECT count(*), CAST(coalesce(sum(num_duplicates), 0) AS bigint) FROM duplicate_groups WHERE {where}"
LARGEST = """
SELECT clip_id, video_uri, start_s, preview, num_duplicates, num_videos, duration_s / 3600 AS hours,
       slice(members, 1, {members}) AS members
FROM duplicate_groups WHERE {where}
ORDER BY num_duplicates DESC, clip_id LIMIT {groups}
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
    where = "true"
    if not selection.is_everything:
        chosen = f"SELECT duplicate_of FROM {selection.verdicts} AS v WHERE duplicate_of IS NOT NULL"
        where = f"clip_id IN ({chosen}) OR clip_id IN (SELECT clip_id FROM {selection.verdicts} AS v)"
    [(num_groups, num_duplicates)] = ask(COUNTS.format(where=where))
    rows = ask(LARGEST.format(where=where, members=MEMBERS, groups=GROUPS))
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
