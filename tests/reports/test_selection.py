"""A selection narrows the rows that queries of a report read."""

from __future__ import annotations

from pathlib import Path

from jobs.reports.selection import Selection
from tests.reports.conftest import asking


def test_everything_is_the_tables_themselves() -> None:
    every = Selection()
    assert (every.verdicts, every.failed, every.of_videos("current_spans")) == ("verdicts", "failed", "current_spans")


def test_a_run_has_the_clips_that_it_cut_and_its_failures(small: Path) -> None:
    ask = asking(small)
    assert ask(f"SELECT count(*) FROM {Selection('1').verdicts} AS v") == [(4,)]
    assert ask(f"SELECT count(*) FROM {Selection('2').verdicts} AS v") == [(0,)]
    assert ask(f"SELECT key FROM {Selection('9').failed} AS f") == [("/v/bad.mp4",)]
    assert ask(f"SELECT uri FROM {Selection('1').of_videos('current_videos')} AS v ORDER BY 1") == [
        ("/v/drive.mp4",),
        ("/v/park.mp4",),
    ]


def test_a_query_has_its_clips_and_their_videos(small: Path) -> None:
    chosen, ask = (
        Selection(query="SELECT clip_id FROM verdicts WHERE kept AND video_id = 'v1' -- of the park"),
        asking(small),
    )
    assert ask(f"SELECT clip_id FROM {chosen.verdicts} AS v") == [("c1",)]
    assert ask(f"SELECT uri FROM {chosen.of_videos('current_videos')} AS v") == [("/v/park.mp4",)]
    assert ask(f"SELECT count(*) FROM {chosen.failed} AS f") == [(0,)]
