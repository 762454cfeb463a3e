"""Files of every container, codec and oddity of times: clips have each frame once, at its time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
import pytest

from tests.support import broken_files, odd_times
from tests.support.footage import numbers, read_number, write_numbered
from tests.support.odd_times import SMALL
from udfs import clip, ingest, split
from udfs.runtime.context import Env, Row

pytestmark = pytest.mark.files

HOLDS = {  # what a container may hold
    "mp4": ("libx264", "libx265", "mpeg4", "libsvtav1", "libvpx-vp9"),
    "mov": ("libx264", "libx265", "mpeg4"),
    "mkv": ("libx264", "libx265", "mpeg4", "libsvtav1", "libvpx", "libvpx-vp9"),
    "webm": ("libvpx", "libvpx-vp9", "libsvtav1"),
    "ts": ("libx264", "libx265", "mpeg2video"),
    "mpg": ("mpeg2video",),
    "flv": ("libx264",),
    "avi": ("libx264", "mpeg4"),
    "wmv": ("wmv2",),
    "ogv": ("libtheora",),
    "3gp": ("libx264", "mpeg4"),
}
KINDS = [(suffix, codec) for suffix, codecs in HOLDS.items() for codec in codecs if codec in av.codecs_available]
OPTIONS = {
    "libx264": {"bf": "3"},
    "mpeg4": {"bf": "2"},
    "mpeg2video": {"bf": "2"},
    "libvpx": {"auto-alt-ref": "1", "lag-in-frames": "16"},
}
VARIABLE = ("mp4", "mov", "mkv", "webm", "ts", "flv", "wmv", "3gp")  # containers with a time for each frame
EVEN_ONLY = ("mpeg2video", "wmv2")  # encoders that take no uneven times
STEPS = {
    "late": [1 / 30] * 90 + [0.1] * 35,
    "jitter": [1 / 30 + (k * 7 % 11 - 5) / 1000 for k in range(150)],
    "slow": [0.5] * 12,
    "held": [1 / 30] * 30 + [3.0] + [1 / 30] * 65,
}


def cut(path: Path, folder: Path) -> tuple[Row, list[Row], list[Row]]:
    """The row of a video, its spans, and what became of each, by the stages' own code."""
    env = Env(media_root=str(folder / "media"), fingerprint="f" * 16)
    (video,) = ingest.facts({"uri": str(path)}, env)
    spans = split.spans(video, split.Params(clip_len_s=2, min_clip_length_s=0.1), env)
    made = clip.cut_unit(video | {"spans": spans}, clip.Params(crf=10), env)
    by_id = {row.get("clip_id") or row["failed_key"]: row for row in made}
    return video, spans, [by_id[span["clip_id"]] for span in spans]


def shown(path: Path) -> list[int]:
    """The numbers of all frames, by PyAV's own decode of the whole file."""
    with av.open(str(path)) as container:
        return [read_number(frame) for frame in container.decode(video=0)]


def check(path: Path, folder: Path) -> tuple[Row, list[Row], list[Row]]:
    """Cut a video, and compare what its clips show with what it shows; a frame that is held may be in several clips."""
    video, spans, clips = cut(path, folder)
    expected = shown(path)
    assert [row["failed_message"] for row in clips if "failed_message" in row] == []
    found = [numbers(row["uri"]) for row in clips]
    assert list(dict.fromkeys(np.concatenate(found).tolist())) == list(dict.fromkeys(expected))
    assert video["num_frames"] == pytest.approx(len(expected), abs=1)
    for span, row, frames in zip(spans, clips, found, strict=True):
        assert span["num_frames"] == pytest.approx(len(frames), abs=1)
        assert row["duration_s"] == pytest.approx(span["end_s"] - span["start_s"], abs=0.35)
    return video, spans, clips


@pytest.mark.parametrize(("suffix", "codec"), KINDS)
def test_even_frames_come_at_their_times(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_numbered(tmp_path / f"v.{suffix}", 135, 30, SMALL, codec, gop=30, options=OPTIONS.get(codec))
    video, _, _ = check(path, tmp_path)
    assert (video["framerate"], video["is_vfr"]) == (pytest.approx(30, rel=0.01), False)


@pytest.mark.parametrize(("suffix", "codec"), [kind for kind in KINDS if kind[0] in ("mp4", "mkv", "ts", "mpg", "avi")])
@pytest.mark.parametrize("fps", [Fraction(24_000, 1001), Fraction(25), Fraction(60_000, 1001)], ids=str)
def test_standard_rates_are_recognized(tmp_path: Path, suffix: str, codec: str, fps: Fraction) -> None:
    video, _, _ = check(write_numbered(tmp_path / f"v.{suffix}", 120, fps, SMALL, codec, gop=30), tmp_path)
    assert (video["framerate"], video["num_frames"]) == (
        pytest.approx(float(fps), rel=0.001),
        pytest.approx(120, abs=1),
    )


UNEVEN = [kind for kind in KINDS if kind[0] in VARIABLE and kind[1] not in EVEN_ONLY]


@pytest.mark.parametrize(("suffix", "codec"), UNEVEN)
@pytest.mark.parametrize("steps", STEPS)
def test_uneven_frames_come_at_their_times(tmp_path: Path, suffix: str, codec: str, steps: str) -> None:
    path = odd_times.write_uneven(tmp_path / f"v.{suffix}", STEPS[steps], codec)
    video, spans, _ = check(path, tmp_path)
    assert video["duration_s"] == pytest.approx(sum(STEPS[steps]), abs=0.6)
    assert (steps == "held") == any(span["held_s"] for span in spans) or steps == "slow"


COPIES: dict[str, Callable[[Path, Path], Path]] = {
    "faststart": lambda good, folder: odd_times.copy_packets(good, folder / "v.mp4", {"movflags": "faststart"}),
    "hybrid": lambda good, folder: odd_times.copy_packets(good, folder / "v.mp4", odd_times.HYBRID),
    "fragmented": lambda good, folder: odd_times.copy_packets(good, folder / "v.mp4", odd_times.FRAGMENTED),
    "every frame": lambda good, folder: odd_times.copy_packets(
        good, folder / "v.mp4", {"movflags": "frag_every_frame+empty_moov"}
    ),
    "live": lambda good, folder: odd_times.copy_packets(good, folder / "v.mkv", {"live": "1"}),
    "no cues": lambda good, folder: odd_times.copy_packets(
        good, folder / "v.mkv", {"write_crc32": "0", "reserve_index_space": "0"}
    ),
    "no duration": lambda good, folder: odd_times.copy_packets(
        good, folder / "v.flv", {"flvflags": "no_duration_filesize"}
    ),
    "late start": lambda good, folder: odd_times.copy_packets(good, folder / "v.mkv", offset_s=3600.0),
    "late start ts": lambda good, folder: odd_times.copy_packets(good, folder / "v.ts", offset_s=20_000.0),
    "wraps": lambda good, folder: odd_times.copy_packets(good, folder / "v.ts", offset_s=odd_times.WRAP_S - 2.5),
    "restarts": lambda good, folder: odd_times.write_joined(folder, good, -2.0),
    "restarts in little": lambda good, folder: odd_times.write_joined(folder, good, -0.5),
    "jumps": lambda good, folder: odd_times.write_joined(folder, good, 3600.0),
    "jumps in little": lambda good, folder: odd_times.write_joined(folder, good, 5.0),
    "jumps over the wrap": lambda good, folder: odd_times.write_joined(folder, good, odd_times.WRAP_S - 30.0),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four and a half seconds with sound, of which no packet before a key frame is needed behind it."""
    folder = tmp_path_factory.mktemp("good")
    options = {"bf": "2", "x264-params": "open-gop=0:scenecut=0"}
    return write_numbered(folder / "good.mp4", 135, 30, SMALL, audio="aac", gop=30, options=options)


@pytest.mark.parametrize("oddity", COPIES)
def test_containers_that_state_little_or_wrong_times_lose_no_frame(good: Path, tmp_path: Path, oddity: str) -> None:
    video, _, clips = check(COPIES[oddity](good, tmp_path), tmp_path)
    assert video["duration_s"] == pytest.approx(4.5, abs=0.15)
    assert {row["audio_codec"] for row in clips} == {"aac"}


@pytest.mark.parametrize("from_s", [0.01, 0.51, 1.0, 1.41, 2.99])
@pytest.mark.parametrize("mode", ["transcode", "copy"])
def test_what_an_edit_list_hides_is_in_no_clip(good: Path, tmp_path: Path, from_s: float, mode: str) -> None:
    path = odd_times.write_trimmed(good, tmp_path / "v.mp4", from_s)
    expected = shown(path)
    if mode == "transcode":
        check(path, tmp_path)
        return
    env = Env(media_root=str(tmp_path / "media"), fingerprint="f" * 16)
    (video,) = ingest.facts({"uri": str(path)}, env)
    spans = split.spans(video, split.Params(clip_len_s=2, min_clip_length_s=0.1), env)
    for row in clip.cut_unit(video | {"spans": spans}, clip.Params(mode="copy"), env):
        assert row.get("failed_code") in (None, "UNSUPPORTED", "PARTIAL")
        if row.get("uri"):
            with av.open(row["uri"]) as container:
                every = [read_number(frame) for packet in container.demux(video=0) for frame in packet.decode()]
            assert set(every) <= set(expected)


@pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "avi"])
@pytest.mark.parametrize("even", [True, False])
def test_of_a_file_cut_short_the_whole_clips_are_kept(tmp_path: Path, suffix: str, share: float, even: bool) -> None:
    steps = [1 / 30] * 150 if even or suffix == "avi" else [1 / 30 + (k * 7 % 11 - 5) / 1000 for k in range(150)]
    whole = odd_times.write_uneven(tmp_path / f"w.{suffix}", steps)
    if suffix == "mp4":
        whole = odd_times.copy_packets(whole, tmp_path / "fast.mp4", {"movflags": "faststart"})
    path = broken_files.cut_to(whole, tmp_path / f"v.{suffix}", int(whole.stat().st_size * share))
    video, spans, made = cut(path, tmp_path)
    complete = int(len(shown_until_damage(path)) / 60)
    assert video["num_frames"] >= 60 * complete
    kept = [row for row in made if row.get("uri")]
    assert len(kept) in (complete, complete + 1)
    for number, row in enumerate(kept[:complete]):
        first = spans[number]["start_frame"]
        assert numbers(row["uri"]) == list(range(first, first + row["num_frames"]))
    assert all(row["failed_code"] in ("PARTIAL", "CORRUPT") for row in made if not row.get("uri"))
    if suffix == "mp4":  # whose index says what is missing
        assert len(spans) == 3


def shown_until_damage(path: Path) -> list[int]:
    """The numbers of the frames before the first one that is damaged."""
    found: list[int] = []
    with suppress(av.error.FFmpegError, ValueError), av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.is_corrupt:
                break
            found.append(read_number(frame))
    return found
