"""Audio tracks: which one is chosen, and where its packets begin."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.support import beeps
from tests.support.beeps import Sound
from udfs.audio import soundtrack
from udfs.core.limits import Limits
from udfs.video import container


@pytest.mark.parametrize(
    ("default", "language", "kept"),
    [
        (None, "", 0),
        (1, "", 1),
        (1, "ger", 0),
        (0, "en", 1),
        (1, "deu", 0),
        (0, "eng-GB", 1),
        (2, "de", 2),
        (1, "fr", 1),
    ],
)
def test_the_track_in_the_language_is_taken_else_the_default_one_else_the_first(
    tmp_path: Path, default: int | None, language: str, kept: int
) -> None:
    path = beeps.write(
        tmp_path / "a.mkv", (Sound(), Sound(), Sound()), 1, default=default, languages=("ger", "eng", "de")
    )
    with av.open(str(path)) as container:
        taken = soundtrack.choose_track(container.streams.audio, language)
        assert taken is not None
        assert taken.index == container.streams.audio[kept].index


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_packets_begin_half_a_second_before_the_start(tmp_path: Path, name: str) -> None:
    path = beeps.write(tmp_path / name, Sound("aac"), 6)
    with container.open_video(str(path), Limits()) as source:
        stream = source.container.streams.audio[0]
        start_s = source.start_s + 3
        first = next(soundtrack.packets_from(source, stream, start_s))
        first_s = soundtrack.packet_start_s(first)
    assert first_s is not None
    assert start_s - 2 < first_s <= start_s - soundtrack.MIN_PREROLL_S
