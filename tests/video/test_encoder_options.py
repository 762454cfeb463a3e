"""Settings -> encoders that really encode, or one line that says what to do."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.frame import VideoFrame
from pydantic import ValidationError

from tests.support.footage import draw, numbers, read_number
from udfs.video import encoder_options, mp4_writer
from udfs.video.encoder_options import Params

STAND_IN = """#!/bin/sh
# Lists libopenh264 and encodes with mpeg4 in its place.
case "$*" in *-encoders*) echo ' V....D libopenh264          OpenH264'; exit 0;; esac
for a in "$@"; do
  shift
  case "$a" in
    libopenh264) a=mpeg4 ;;
    -rc_mode:v) skip=1; continue ;;
  esac
  if [ -n "$skip" ]; then skip=; continue; fi
  set -- "$@" "$a"
done
exec ffmpeg "$@"
"""


def write(
    path: Path,
    params: Params,
    times_s: list[float],
    fps: Fraction = Fraction(30),
    end_s: float = 0.0,
    bit_rate_k: int | None = None,
) -> Path:
    """Encode numbered pictures that are shown at the given times."""
    pictures = [VideoFrame.from_ndarray(draw(k, (320, 240)), format="rgb24") for k in range(len(times_s))]
    writer = mp4_writer.Writer(str(path), params, pictures[0], fps, bit_rate_k)
    for at_s, picture in zip(times_s, pictures, strict=True):
        writer.add(at_s, picture)
    writer.close(end_s)
    return path


def times(path: Path) -> list[float | None]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def even(count: int, fps: float = 30.0) -> list[float]:
    return [k / fps for k in range(count)]


def has_libopenh264() -> bool:
    try:
        return bool(encoder_options.ffmpeg_program(Params(encoder="libopenh264")))
    except mp4_writer.EncoderError:
        return False


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
    assert numbers(write(tmp_path / "a.mp4", Params(encoder="h264_nvenc"), even(20))) == list(range(20))


def test_an_unknown_preset_is_one_line_that_names_it() -> None:
    with pytest.raises(mp4_writer.EncoderError, match=r"libx264 .*fastest.*check preset"):
        mp4_writer.check_encoder(Params(preset="fastest"))


def test_an_unknown_encoder_is_refused_with_the_settings() -> None:
    with pytest.raises(ValidationError, match="libx264"):
        Params(encoder="libx265")  # type: ignore[arg-type]


def test_options_are_for_constant_quality_or_for_a_bit_rate() -> None:
    assert encoder_options.options(Params(), None)["crf"] == "20"
    assert encoder_options.options(Params(crf=30), None)["crf"] == "30"
    assert encoder_options.options(Params(encoder="h264_nvenc"), None) | {"cq": "21", "rc": "vbr"} == encoder_options.options(
        Params(encoder="h264_nvenc"), None
    )
    assert encoder_options.options(Params(encoder="libvpx-vp9"), None)["b"] == "0"  # else its crf is a bound, not an aim
    rated = encoder_options.options(Params(crf=30), 900)
    assert rated["b"] == "900k"
    assert "crf" not in rated


def test_the_encoders_preset_has_its_own_name() -> None:
    assert encoder_options.options(Params(preset="medium"), None)["preset"] == "medium"
    assert encoder_options.options(Params(encoder="libvpx-vp9", preset="8"), None)["cpu-used"] == "8"


def test_a_higher_crf_makes_a_smaller_file(tmp_path: Path) -> None:
    good = write(tmp_path / "good.mp4", Params(crf=18), even(30))
    poor = write(tmp_path / "poor.mp4", Params(crf=40), even(30))
    assert poor.stat().st_size < good.stat().st_size * 0.7


def test_a_bit_rate_is_kept_to(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Params(), even(90), bit_rate_k=100)
    assert 100 / 2 < path.stat().st_size * 8 / 1000 / 3 < 100 * 2


@pytest.mark.parametrize("fps", [Fraction(30), Fraction(30000, 1001), Fraction(10_000_000, 417_083)])
def test_times_rounded_to_milliseconds_return_to_the_grid(tmp_path: Path, fps: Fraction) -> None:
    rounded = [round(k / float(fps), 3) + 7 for k in range(40)]
    path = write(tmp_path / "a.mp4", Params(), rounded, fps, 7 + 40 / float(fps))
    assert times(path) == pytest.approx([k / float(fps) for k in range(40)], abs=1e-4)


def test_uneven_times_are_kept_and_the_last_frame_stays(tmp_path: Path) -> None:
    uneven = [0.0, 0.1, 0.15, 0.3, 0.5, 0.6, 0.61, 0.9, 1.5, 2.0]
    path = write(tmp_path / "a.mp4", Params(), uneven, end_s=2.5)
    assert times(path) == pytest.approx(uneven, abs=1e-3)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float((stream.duration or 0) * (stream.time_base or 0)) == pytest.approx(2.5, abs=1e-3)


def test_two_frames_of_one_time_are_both_encoded(tmp_path: Path) -> None:
    assert numbers(write(tmp_path / "a.mp4", Params(), [0.0, 0.1, 0.1, 0.1, 0.2])) == [0, 1, 2, 3, 4]


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    fps = Fraction(30000, 1001)
    made = [write(tmp_path / f"{run}.mp4", Params(), even(30, float(fps)), fps).read_bytes() for run in range(8)]
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


def test_no_ffmpeg_program_is_one_line_that_names_the_setting() -> None:
    with pytest.raises(mp4_writer.EncoderError, match=r"there is no /nowhere/ffmpeg: set clip\.ffmpeg or use libx264"):
        mp4_writer.check_encoder(Params(encoder="libopenh264", ffmpeg="/nowhere/ffmpeg"))


def test_a_program_without_the_encoder_is_one_line(tmp_path: Path) -> None:
    without = program(tmp_path, "#!/bin/sh\necho ' V....D libx264'\n")
    with pytest.raises(mp4_writer.EncoderError, match="was built without libopenh264"):
        mp4_writer.check_encoder(Params(encoder="libopenh264", ffmpeg=without))


def test_a_program_that_fails_is_one_line_with_its_own_words(tmp_path: Path) -> None:
    failing = program(
        tmp_path, "#!/bin/sh\ncase \"$*\" in *-encoders*) echo ' V libopenh264 x';; *) echo no luck >&2; exit 1;; esac\n"
    )
    with pytest.raises(mp4_writer.EncoderError, match="no luck"):
        mp4_writer.check_encoder(Params(encoder="libopenh264", ffmpeg=failing))


@pytest.mark.skipif(subprocess.call("command -v ffmpeg >/dev/null", shell=True) != 0, reason="no ffmpeg program")
def test_an_external_program_gets_every_frame_and_time(tmp_path: Path) -> None:
    params = Params(encoder="libopenh264", crf=3, ffmpeg=program(tmp_path, STAND_IN))
    mp4_writer.check_encoder(params)
    uneven = [0.0, 0.1, 0.2, 0.25, 0.5]
    path = write(tmp_path / "a.mp4", params, uneven, end_s=0.6)
    assert numbers(path) == [0, 1, 2, 3, 4]
    assert times(path) == pytest.approx(uneven, abs=1e-3)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert [found.name for found in tmp_path.glob("*.lossless")] == []


@pytest.mark.skipif(not has_libopenh264(), reason="no ffmpeg program with libopenh264 on PATH")
def test_libopenh264_encodes_every_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Params(encoder="libopenh264"), even(20))
    assert numbers(path) == list(range(20))


def test_a_frame_too_small_for_its_colour_is_refused(tmp_path: Path) -> None:
    from udfs.core.errors import MediaError

    with pytest.raises(MediaError, match="UNSUPPORTED: a frame of 1x40 pixels"):
        mp4_writer.Writer(str(tmp_path / "a.mp4"), Params(), VideoFrame(1, 40, "yuv444p"), Fraction(30))


def program(folder: Path, script: str) -> str:
    """A program for the test to find."""
    path = folder / "ffmpeg-stand-in"
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_the_pictures_are_the_ones_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Params(crf=10), even(5))
    with av.open(str(path)) as container:
        last = list(container.decode(video=0))[-1]
    assert read_number(last) == 4
    error = last.to_ndarray(format="rgb24").astype(int) - draw(4, (320, 240)).astype(int)
    assert abs(error).mean() < 4
