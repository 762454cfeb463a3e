"""Groups of duplicates: the clip that was kept, and those that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobs.lake.catalog import literal
from jobs.queries.ask import Ask
from jobs.reports.clip_columns import previews_of
from jobs.reports.selection import Selection
from udfs.storage.uris import redacted

GROUPS, MEMBERS = 60, 11  # shown: the largest groups, and the clips of each
SIZES = "SELECT duplicate_of, count(*) AS number FROM verdicts WHERE {where} GROUP BY duplicate_of"
COUNTS = "SELECT count(*), CAST(coalesce(sum(number), 0) AS bigint) FROM ({sizes})"
LARGEST = "SELECT duplicate_of FROM ({sizes}) ORDER BY number DESC, duplicate_of LIMIT {groups}"
# What is shown is looked up by ids alone: all groups of a large library take a minute.
GROUP = """
SELECT duplicate_of, count(*), count(DISTINCT video_id), coalesce(sum(duration_s), 0) / 3600
FROM verdicts WHERE duplicate_of IN ({clips}) GROUP BY duplicate_of
"""
LINKED = """
SELECT duplicate_of, clip_id, video_uri, start_s, link_method, similarity FROM (
  SELECT duplicate_of, clip_id, video_uri, start_s, link_method, similarity,
         row_number() OVER (PARTITION BY duplicate_of ORDER BY clip_id) AS place
  FROM verdicts WHERE duplicate_of IN ({clips}))
WHERE place <= {members} ORDER BY duplicate_of, place
"""
KEPT = "SELECT clip_id, video_uri, start_s FROM verdicts WHERE clip_id IN ({clips})"


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
    largest = [clip_id for (clip_id,) in ask(LARGEST.format(sizes=sizes, groups=GROUPS))]
    return Duplicates(_groups(ask, largest), num_groups, num_duplicates)


def _groups(ask: Ask, largest: Sequence[str]) -> list[Group]:
    """The groups of these kept clips, in this order."""
    clips = ", ".join(map(literal, largest))
    sums = {clip_id: row for clip_id, *row in ask(GROUP.format(clips=clips))}
    linked = ask(LINKED.format(clips=clips, members=MEMBERS))
    kept = ask(KEPT.format(clips=clips))
    previews = previews_of(ask, {*(row[1] for row in linked), *(row[0] for row in kept)})
    members: dict[str, list[Member]] = {}
    for duplicate_of, clip_id, uri, start_s, *link in linked:
        member = Member(clip_id, redacted(uri or ""), start_s, previews.get(clip_id), *link)
        members.setdefault(duplicate_of, []).append(member)
    found = {
        clip_id: Group(
            Member(clip_id, redacted(uri or ""), start_s, previews.get(clip_id)), members[clip_id], *sums[clip_id]
        )
        for clip_id, uri, start_s in kept
    }
    return [found[clip_id] for clip_id in largest if clip_id in found]
