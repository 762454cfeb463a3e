"""The slowest videos of a run, by the CPU seconds of their rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.reports import slowest
from tests.reports.conftest import asking


def test_the_seconds_of_all_clips_of_a_video_add_up(library: Path) -> None:
    videos = slowest.read(asking(library), "20260509T123000-abcdef")
    assert len(videos) == 10
    assert [video.cpu_s for video in videos] == sorted((video.cpu_s for video in videos), reverse=True)
    first = videos[0]
    [(clips, seconds)] = asking(library)(
        f"SELECT count(*), sum(duration_s) FROM verdicts WHERE video_uri = '{first.uri}'"
    )
    assert [first.split_s, first.clip_s, first.analyze_s] == pytest.approx([clips * 0.25, seconds, clips])
    assert first.per_second == pytest.approx(first.cpu_s / 600)


def test_rows_of_an_earlier_release_have_no_seconds(small: Path) -> None:
    assert slowest.read(asking(small), "1") == []
