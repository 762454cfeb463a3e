"""Groups of duplicates, the largest first."""

from __future__ import annotations

from pathlib import Path

from jobs.reports import duplicates
from jobs.reports.selection import Selection
from tests.reports.conftest import asking


def test_a_group_has_the_kept_clip_and_its_duplicates(small: Path) -> None:
    found = duplicates.read(asking(small), Selection())
    [group] = found.groups
    assert (found.num_groups, found.num_duplicates, group.number, group.num_videos) == (1, 1, 1, 1)
    assert (group.kept.clip_id, group.kept.video, group.kept.preview) == (
        *("c1", "/v/park.mp4", "/out/media/previews/c1.webp"),
    )
    [member] = group.members
    assert (member.clip_id, member.video, member.start_s, member.method) == ("c4", "/v/drive.mp4", 6.25, "phash")
    assert member.similarity == 0.992


def test_only_groups_with_a_selected_clip_are_there(small: Path) -> None:
    for query, number in (("SELECT 'c4' AS clip_id", 1), ("SELECT 'c1' AS clip_id", 1), ("SELECT 'c2' AS clip_id", 0)):
        assert duplicates.read(asking(small), Selection(query=query)).num_groups == number, query


def test_the_largest_groups_come_first(library: Path) -> None:
    counts = [group.number for group in duplicates.read(asking(library), Selection()).groups]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) > 10
