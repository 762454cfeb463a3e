"""libopenh264: the program is found, and its clips have every frame, time, turn and sound."""

from __future__ import annotations

import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest

from tests.support import escapes
from tests.support.clip_units import frame_times, only_clip, unit, write_frames
from tests.support.footage import numbers, seconds_heard, write_numbered
from udfs import clip
from udfs.core.errors import MediaError
from udfs.runtime import sandbox
from udfs.runtime.context import FAILURE, Env
from udfs.runtime.sandbox import Needs
from udfs.video import encoder_options, mp4_writer
from udfs.video.encoder_options import EncoderError, Params

OPENH264 = Params(encoder="libopenh264")


def program(folder: Path, script: str) -> str:
    """A program called ffmpeg in this folder."""
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


# Which program


def test_the_packaged_program_is_used_where_that_on_path_lacks_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "echo ' V....D libx264'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert "imageio_ffmpeg" in encoder_options.ffmpeg_program(OPENH264)


def test_a_program_on_path_that_has_the_encoder_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(tmp_path, "echo ' V....D libopenh264 OpenH264'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert encoder_options.ffmpeg_program(OPENH264) == path


def test_without_any_program_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # as if it were not installed
    encoder_options._packaged_program.cache_clear()
    with pytest.raises(EncoderError, match=r"^libopenh264 needs .* \(there is none\): pip install "):
        encoder_options.ffmpeg_program(OPENH264)
    encoder_options._packaged_program.cache_clear()


def test_a_named_program_is_the_only_one_that_is_tried(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"^there is no /nowhere/ffmpeg: .*set clip\.ffmpeg.*libx264"):
        mp4_writer.check_encoder(Params(encoder="libopenh264", ffmpeg="/nowhere/ffmpeg"))
    without = program(tmp_path, "echo ' V....D libx264'")
    with pytest.raises(EncoderError, match=f"{without} without it"):
        mp4_writer.check_encoder(Params(encoder="libopenh264", ffmpeg=without))


def test_a_program_that_fails_is_one_line_with_its_own_words(tmp_path: Path) -> None:
    failing = program(
        tmp_path, "case \"$*\" in *-encoders*) echo ' V libopenh264 x';; *) echo no luck >&2; exit 1;; esac"
    )
    with pytest.raises(EncoderError, match="failed with libopenh264: no luck"):
        mp4_writer.check_encoder(Params(encoder="libopenh264", ffmpeg=failing))


def test_a_program_that_hangs_ends_with_its_decoding_process() -> None:
    ffmpeg = encoder_options.ffmpeg_program(OPENH264)
    name, needs = f"waits-{uuid.uuid4().hex}", Needs(program=ffmpeg)
    params = Params(encoder="libopenh264", ffmpeg=ffmpeg)
    with pytest.raises(MediaError, match="TIMEOUT: no progress for 5 s"):
        sandbox.call(escapes.encode_for_ever, name, params, timeout_s=5, memory_mb=1024, needs=needs)
    until = time.monotonic() + 10
    while running(name):
        assert time.monotonic() < until, "it outlives its decoding process"
        time.sleep(0.05)


def running(word: str) -> list[str]:
    """The processes of this machine with a word in their command."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if word.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


# What it writes


def test_a_clip_has_every_frame_and_its_sound(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mp4", 90, audio="aac")
    row = unit(path, (0, 30), (15, 75), fingerprint="f", duration_s=3.0)
    batch = pd.DataFrame([row | {"spans": np.array(row["spans"], dtype=object)}])
    (made,) = clip.rows(iter([batch]), clip.Params(encoder="libopenh264"), env)
    assert made[FAILURE[0]].isna().all(), made[FAILURE[2]].tolist()
    assert [numbers(uri) for uri in made["uri"]] == [list(range(30)), list(range(15, 75))]
    assert seconds_heard(made["uri"][1]) == [0, 1, 1, 2]
    assert made[["video_codec", "encoder", "num_frames"]].values.tolist() == [
        ["h264", "libopenh264", 30],
        ["h264", "libopenh264", 60],
    ]


def test_uneven_times_are_kept_and_no_file_is_left(tmp_path: Path) -> None:
    uneven = [0.0, 0.1, 0.2, 0.25, 0.5]
    path = write_frames(tmp_path / "a.mp4", OPENH264, uneven, end_s=0.6)
    assert numbers(path) == [0, 1, 2, 3, 4]
    assert frame_times(path) == pytest.approx(uneven, abs=1e-3)
    assert [left.name for left in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("name", "video", "shape"),
    [
        ("ten-bits.mkv", {"codec": "libx265", "pix_fmt": "yuv420p10le"}, (320, 240)),
        ("odd-sides.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p", "size": (321, 241)}, (320, 240)),
        ("turned.mp4", {"rotation": 90}, (240, 320)),
    ],
)
def test_any_source_becomes_an_upright_8_bit_picture(
    tmp_path: Path, env: Env, name: str, video: dict[str, Any], shape: tuple[int, int]
) -> None:
    made = only_clip(unit(write_numbered(tmp_path / name, 20, **video), (5, 20)), env, encoder="libopenh264")
    assert numbers(made["uri"]) == list(range(5, 20))
    with av.open(made["uri"]) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height, context.pix_fmt) == (*shape, "yuv420p")


def test_quality_and_bit_rate_are_kept_to(tmp_path: Path) -> None:
    times = [k / 30 for k in range(90)]
    sizes = [
        write_frames(tmp_path / "a.mp4", Params(encoder="libopenh264", crf=crf), times, end_s=3).stat().st_size
        for crf in (16, 22, 36)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < sizes[0] / 2
    rated = write_frames(tmp_path / "b.mp4", OPENH264, times, end_s=3, bit_rate_k=100)
    assert 100 / 2 < rated.stat().st_size * 8 / 1000 / 3 < 100 * 2


def test_two_runs_give_the_same_bytes_and_a_key_frame_at_least_every_250(tmp_path: Path) -> None:
    times = [k / 30 for k in range(260)]
    first, second = (write_frames(tmp_path / name, OPENH264, times, end_s=260 / 30) for name in ("a.mp4", "b.mp4"))
    assert first.read_bytes() == second.read_bytes()
    with av.open(str(first)) as container:
        keys = [n for n, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
    assert keys[0] == 0
    assert len(keys) >= 2
