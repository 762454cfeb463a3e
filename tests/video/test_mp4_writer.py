"""Writing mp4 files: every frame at its time, with the quality and encoder of the settings."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.frame import VideoFrame

from tests.support.clip_units import (
    frame_times,
    write_frames,
)
from tests.support.footage import draw, numbers, read_number
from udfs.clip import Params
from udfs.core.errors import MediaError
from udfs.video import mp4_writer


def even(count: int, fps: float = 30.0) -> list[float]:
    return [k / fps for k in range(count)]


def works(params: Params) -> bool:
    try:
        mp4_writer.check_encoder(params)
    except mp4_writer.EncoderError:
        return False
    return True


@pytest.mark.parametrize("encoder", ["libx264", "libvpx-vp9", "libsvtav1"])
def test_the_wheels_encoders_work(encoder: str) -> None:
    assert works(Params(encoder=encoder))  # type: ignore[arg-type]


@pytest.mark.skipif(works(Params(encoder="h264_nvenc")), reason="this machine has NVENC")
def test_a_missing_gpu_is_one_line_that_names_another_encoder() -> None:
    with pytest.raises(mp4_writer.EncoderError, match=r"^h264_nvenc does not work here \(.*\): .*libx264.*$") as raised:
        mp4_writer.check_encoder(Params(encoder="h264_nvenc"))
    assert "\n" not in str(raised.value)


@pytest.mark.gpu
@pytest.mark.skipif(not works(Params(encoder="h264_nvenc")), reason="no NVENC on this machine")
def test_nvenc_encodes_every_frame(tmp_path: Path) -> None:
    assert numbers(write_frames(tmp_path / "a.mp4", Params(encoder="h264_nvenc"), even(20))) == list(range(20))


def test_an_unknown_preset_is_one_line_that_names_it() -> None:
    with pytest.raises(mp4_writer.EncoderError, match=r"libx264 .*fastest.*check preset"):
        mp4_writer.check_encoder(Params(preset="fastest"))


def test_a_higher_crf_makes_a_smaller_file(tmp_path: Path) -> None:
    good = write_frames(tmp_path / "good.mp4", Params(crf=18), even(30))
    poor = write_frames(tmp_path / "poor.mp4", Params(crf=40), even(30))
    assert poor.stat().st_size < good.stat().st_size * 0.7


def test_a_bit_rate_is_kept_to(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.mp4", Params(), even(90), bit_rate_k=100)
    assert 100 / 2 < path.stat().st_size * 8 / 1000 / 3 < 100 * 2


@pytest.mark.parametrize("fps", [Fraction(30), Fraction(30000, 1001), Fraction(10_000_000, 417_083)])
def test_times_rounded_to_milliseconds_return_to_the_grid(tmp_path: Path, fps: Fraction) -> None:
    rounded = [round(k / float(fps), 3) + 7 for k in range(40)]
    path = write_frames(tmp_path / "a.mp4", Params(), rounded, fps, 7 + 40 / float(fps))
    assert frame_times(path) == pytest.approx([k / float(fps) for k in range(40)], abs=1e-4)


def test_uneven_times_are_kept_and_the_last_frame_stays(tmp_path: Path) -> None:
    uneven = [0.0, 0.1, 0.15, 0.3, 0.5, 0.6, 0.61, 0.9, 1.5, 2.0]
    path = write_frames(tmp_path / "a.mp4", Params(), uneven, end_s=2.5)
    assert frame_times(path) == pytest.approx(uneven, abs=1e-3)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float((stream.duration or 0) * (stream.time_base or 0)) == pytest.approx(2.5, abs=1e-3)


def test_two_frames_of_one_time_are_both_encoded(tmp_path: Path) -> None:
    assert numbers(write_frames(tmp_path / "a.mp4", Params(), [0.0, 0.1, 0.1, 0.1, 0.2])) == [0, 1, 2, 3, 4]


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    fps = Fraction(30000, 1001)
    made = [write_frames(tmp_path / f"{run}.mp4", Params(), even(30, float(fps)), fps).read_bytes() for run in range(8)]
    assert len(set(made)) == 1


def test_a_frame_of_the_sources_key_frame_type_is_no_key_frame(tmp_path: Path) -> None:
    frame = VideoFrame.from_ndarray(draw(0, (320, 240)), format="rgb24").reformat(format="yuv420p")
    writer = mp4_writer.Writer(str(tmp_path / "a.mp4"), Params(), frame, Fraction(30))
    for k in range(10):
        frame.pict_type = 1
        writer.add(k / 30, frame)
    writer.close(0.0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) == 1


def test_a_frame_too_small_for_its_colour_is_refused(tmp_path: Path) -> None:

    with pytest.raises(MediaError, match="UNSUPPORTED: a frame of 1x40 pixels"):
        mp4_writer.Writer(str(tmp_path / "a.mp4"), Params(), VideoFrame(1, 40, "yuv444p"), Fraction(30))


def test_the_pictures_are_the_ones_given(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.mp4", Params(crf=10), even(5))
    with av.open(str(path)) as container:
        last = list(container.decode(video=0))[-1]
    assert read_number(last) == 4
    error = last.to_ndarray(format="rgb24").astype(int) - draw(4, (320, 240)).astype(int)
    assert abs(error).mean() < 4
