"""Damaged, empty and misnamed files: the row names the fault, and the next file is not affected."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import pytest

from tests.support import broken_files, odd_streams, odd_times
from tests.support.footage import read_number, write_numbered
from tests.support.sandbox_probe import SMALL, code_of, decode_tally, probed_row
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.runtime import sandbox
from udfs.video import container, decode


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of H.264 with sound, the index at the end."""
    return write_numbered(tmp_path_factory.mktemp("good") / "good.mp4", 90, 30, SMALL, audio="aac", gop=30)


@pytest.fixture(scope="module")
def fast(good: Path) -> Path:
    """The same video with its index at the front."""
    return odd_times.copy_packets(good, good.with_name("fast.mp4"), {"movflags": "faststart"})


def test_moov_missing_is_corrupt(good: Path, tmp_path: Path) -> None:
    start_of_moov = broken_files.box(good.read_bytes(), b"moov")[0] - 8
    assert code_of(broken_files.cut_to(good, tmp_path / "v.mp4", start_of_moov)) == "CORRUPT"


def test_a_header_cut_to_406_bytes_leaves_the_child_alive(fast: Path, tmp_path: Path) -> None:
    before = sandbox.call(os.getpid, timeout_s=20, memory_mb=1024)
    assert code_of(broken_files.cut_to(fast, tmp_path / "v.mp4", 406)) in ("CORRUPT", "UNSUPPORTED")
    assert sandbox.call(os.getpid, timeout_s=20, memory_mb=1024) == before


def test_half_the_data_is_partial(fast: Path, tmp_path: Path) -> None:
    tally = decode_tally(broken_files.cut_to(fast, tmp_path / "v.mp4", fast.stat().st_size // 2))
    assert 20 < tally.frames < 70
    with pytest.raises(MediaError, match="PARTIAL"):
        tally.check(90, Limits(max_corrupt_share=0.2))


def test_twenty_flipped_bits_are_counted_as_damage(good: Path, tmp_path: Path) -> None:
    mdat = broken_files.box(good.read_bytes(), b"mdat")
    tally = decode_tally(broken_files.flip_bits(good, tmp_path / "v.mp4", mdat, flips=20, seed=6))
    assert tally.corrupt + tally.errors > 0
    with pytest.raises(MediaError, match="CORRUPT"):
        tally.check(90, Limits(max_corrupt_share=0))


def test_bits_flipped_in_the_index_never_crash_or_hang(good: Path, tmp_path: Path) -> None:
    moov = broken_files.box(good.read_bytes(), b"moov")
    before = sandbox.call(os.getpid, timeout_s=20, memory_mb=1024)
    codes = {code_of(broken_files.flip_bits(good, tmp_path / "v.mp4", moov, 1 + seed % 8, seed)) for seed in range(200)}
    assert codes <= {None, "CORRUPT", "UNSUPPORTED", "NO_VIDEO", "TOO_SHORT", "TOO_LARGE", "OOM"}
    assert sandbox.call(os.getpid, timeout_s=20, memory_mb=1024) == before


def test_a_tail_of_zeros_is_damage(good: Path, tmp_path: Path) -> None:
    start, end = broken_files.box(good.read_bytes(), b"mdat")
    half = (end - start) // 2
    tally = decode_tally(broken_files.patch(good, tmp_path / "v.mp4", end - half, bytes(half)))
    with pytest.raises(MediaError, match=r"CORRUPT|PARTIAL"):
        tally.check(90, Limits())


@pytest.mark.parametrize(("name", "cover"), [("v.mp4", False), ("v.m4a", False), ("v.mp4", True)])
def test_sound_alone_or_with_a_cover_is_no_video(tmp_path: Path, name: str, cover: bool) -> None:
    assert code_of(odd_streams.write_sound(tmp_path / name, cover)) == "NO_VIDEO"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_a_single_frame_is_too_short(tmp_path: Path, suffix: str) -> None:
    assert code_of(write_numbered(tmp_path / f"v{suffix}", 1, 30, SMALL)) == "TOO_SHORT"


def test_a_frame_of_8192_squared_is_too_large_before_it_is_decoded(tmp_path: Path) -> None:
    path = odd_streams.write_flat(tmp_path / "v.mov", (8192, 8192), "png", "gray", num_frames=2)
    assert path.stat().st_size < 300_000
    assert code_of(path, memory_mb=300) == "TOO_LARGE"


def test_a_header_of_a_thousand_million_frames_is_not_believed(good: Path, tmp_path: Path) -> None:
    stts = broken_files.box(good.read_bytes(), b"stts")[0]
    path = broken_files.patch(good, tmp_path / "v.mp4", stts + 8, struct.pack(">I", 10**9))
    facts = container.probe(str(path), Limits())
    assert (facts["num_frames"], facts["header_num_frames"]) == (90, 10**9)
    assert facts["duration_s"] == pytest.approx(3)


def test_more_frames_than_the_limit_are_too_large(good: Path) -> None:
    with pytest.raises(MediaError, match="TOO_LARGE"):
        container.probe(str(good), Limits(max_frames=89))


def test_a_hundred_hours_are_too_large(tmp_path: Path) -> None:
    assert code_of(write_numbered(tmp_path / "v.mp4", 100, Fraction(1, 3600), SMALL)) == "TOO_LARGE"


def test_encrypted_video_is_unsupported(good: Path, tmp_path: Path) -> None:
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "00" * 16, "encryption_kid": "11" * 16}
    assert code_of(odd_times.copy_packets(good, tmp_path / "v.mp4", key)) == "UNSUPPORTED"


def test_a_good_video_is_still_good(good: Path) -> None:
    assert probed_row(good)["num_frames"] == 90


# Container or stream by its suffix, the codec it is made with, its sound, and its size: DV knows only its own.
KINDS = [
    (".vob", "mpeg2video", "mp2", SMALL),
    (".asf", "wmv2", "wmav2", SMALL),
    (".3g2", "libx264", "aac", SMALL),
    (".f4v", "libx264", "aac", SMALL),
    (".mxf", "mpeg2video", "pcm_s16le", SMALL),
    (".gxf", "mpeg2video", "pcm_s16le", (720, 576)),
    (".dv", "dvvideo", None, (720, 576)),
    (".rm", "rv20", None, (176, 144)),
    (".wtv", "mpeg2video", "mp2", SMALL),
    (".nut", "libx264", "aac", SMALL),
    (".ivf", "libvpx", None, SMALL),
    (".y4m", "wrapped_avframe", None, SMALL),
    (".m2v", "mpeg2video", None, SMALL),
]


@pytest.mark.parametrize(("suffix", "codec", "audio", "size"), KINDS, ids=[kind[0] for kind in KINDS])
def test_containers_of_cameras_and_broadcast_are_read(
    tmp_path: Path, suffix: str, codec: str, audio: str | None, size: tuple[int, int]
) -> None:
    fps = 25 if suffix in (".dv", ".gxf") else 30  # the others' own rate, which bare streams are not counted by unasked
    path = write_numbered(tmp_path / f"v{suffix}", 50, fps, size, codec, audio=audio)
    row = probed_row(path)
    lost = 1.1 if suffix == ".gxf" else 0.1  # frames of time: GXF stamps its last frame a field after the one before
    assert row["num_frames"] == 50
    assert row["duration_s"] == pytest.approx(50 / fps, abs=lost / fps)
    assert row["framerate"] == pytest.approx(fps, rel=0.03 if suffix == ".gxf" else 0.001)
    assert bool(row["audio_codec"]) == bool(audio)
    with container.open_video(str(path), Limits()) as video:
        shown = [(read_number(frame), at) for at, frame in decode.frames(video, 20 / fps, 30 / fps)]
    assert [number for number, _ in shown] == list(range(20, 30))
    assert [at for _, at in shown] == pytest.approx([k / fps for k in range(20, 30)], abs=0.001)


@pytest.mark.parametrize("suffix", [".mxf", ".gxf", ".vob"])
def test_a_container_whose_header_is_lost_is_not_read_as_a_stream_without_sound(tmp_path: Path, suffix: str) -> None:
    good = write_numbered(tmp_path / f"good{suffix}", 50, 25, (720, 576), "mpeg2video")
    for at in (1, 13):
        data = good.read_bytes()
        (tmp_path / f"v{suffix}").write_bytes(bytes(at) + b"x" * (400 - at) + data[400:])
        row_or_code = code_of(tmp_path / f"v{suffix}") or probed_row(tmp_path / f"v{suffix}")["container"]
        assert row_or_code != "mpegvideo"
