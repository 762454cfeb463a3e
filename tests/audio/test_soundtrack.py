"""Audio tracks: which one is chosen, and where its packets begin."""

from __future__ import annotations

import subprocess
from itertools import chain
from pathlib import Path

import av
import imageio_ffmpeg
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
        taken = soundtrack.choose_track(container, container.streams.video[0], language)
        assert taken is not None
        assert taken.index == container.streams.audio[kept].index


def test_of_a_transport_stream_the_sound_of_the_pictures_programme_is_taken_and_no_description(tmp_path: Path) -> None:
    one, two = (beeps.write(tmp_path / f"{n}.mkv", (Sound("mp2"), Sound("mp2")), 2) for n in (1, 2))
    path = tmp_path / "a.ts"
    # The second programme's sound, the first one's description, its picture, its sound, the second one's picture.
    maps = ["1:a:0", "0:a:0", "0:v", "0:a:1", "1:v"]
    options = [*chain.from_iterable(("-map", each) for each in maps), "-c", "copy"]
    options += ["-metadata:s:a:1", "language=ger", "-metadata:s:a:2", "language=ger"]
    options += ["-disposition:a:1", "visual_impaired", "-program", "st=1:st=2:st=3", "-program", "st=0:st=4"]
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(one), "-i", str(two)]
    subprocess.run([*program, *options, str(path)], check=True)
    with av.open(str(path)) as container:
        first, second = (soundtrack.choose_track(container, picture) for picture in container.streams.video)
        assert first is not None
        assert second is not None
        assert [track.id for track in (first, second)] == [0x103, 0x100]
        assert container.streams.audio[0].id == 0x101


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
