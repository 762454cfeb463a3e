"""Encoder options: settings become FFmpeg's options, or one line that says what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import pytest
from pydantic import ValidationError

from tests.support.clip_units import (
    frame_times,
    write_frames,
)
from tests.support.footage import numbers
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


def has_libopenh264() -> bool:
    try:
        return bool(encoder_options.ffmpeg_program(Params(encoder="libopenh264")))
    except mp4_writer.EncoderError:
        return False


def test_an_unknown_encoder_is_refused_with_the_settings() -> None:
    with pytest.raises(ValidationError, match="libx264"):
        Params(encoder="libx265")  # type: ignore[arg-type]


def test_options_are_for_constant_quality_or_for_a_bit_rate() -> None:
    assert encoder_options.options(Params(), None)["crf"] == "20"
    assert encoder_options.options(Params(crf=30), None)["crf"] == "30"
    assert encoder_options.options(Params(encoder="h264_nvenc"), None) | {
        "cq": "21",
        "rc": "vbr",
    } == encoder_options.options(Params(encoder="h264_nvenc"), None)
    # Else its crf is a bound, not an aim.
    assert encoder_options.options(Params(encoder="libvpx-vp9"), None)["b"] == "0"
    rated = encoder_options.options(Params(crf=30), 900)
    assert rated["b"] == "900k"
    assert "crf" not in rated


def test_the_encoders_preset_has_its_own_name() -> None:
    assert encoder_options.options(Params(preset="medium"), None)["preset"] == "medium"
    assert encoder_options.options(Params(encoder="libvpx-vp9", preset="8"), None)["cpu-used"] == "8"


def test_no_ffmpeg_program_is_one_line_that_names_the_setting() -> None:
    with pytest.raises(mp4_writer.EncoderError, match=r"there is no /nowhere/ffmpeg: set clip\.ffmpeg or use libx264"):
        mp4_writer.check_encoder(Params(encoder="libopenh264", ffmpeg="/nowhere/ffmpeg"))


def test_a_program_without_the_encoder_is_one_line(tmp_path: Path) -> None:
    without = program(tmp_path, "#!/bin/sh\necho ' V....D libx264'\n")
    with pytest.raises(mp4_writer.EncoderError, match="was built without libopenh264"):
        mp4_writer.check_encoder(Params(encoder="libopenh264", ffmpeg=without))


def test_a_program_that_fails_is_one_line_with_its_own_words(tmp_path: Path) -> None:
    failing = program(
        tmp_path,
        "#!/bin/sh\ncase \"$*\" in *-encoders*) echo ' V libopenh264 x';; *) echo no luck >&2; exit 1;; esac\n",
    )
    with pytest.raises(mp4_writer.EncoderError, match="no luck"):
        mp4_writer.check_encoder(Params(encoder="libopenh264", ffmpeg=failing))


@pytest.mark.skipif(subprocess.call("command -v ffmpeg >/dev/null", shell=True) != 0, reason="no ffmpeg program")
def test_an_external_program_gets_every_frame_and_time(tmp_path: Path) -> None:
    params = Params(encoder="libopenh264", crf=3, ffmpeg=program(tmp_path, STAND_IN))
    mp4_writer.check_encoder(params)
    uneven = [0.0, 0.1, 0.2, 0.25, 0.5]
    path = write_frames(tmp_path / "a.mp4", params, uneven, end_s=0.6)
    assert numbers(path) == [0, 1, 2, 3, 4]
    assert frame_times(path) == pytest.approx(uneven, abs=1e-3)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert [found.name for found in tmp_path.glob("*.lossless")] == []


@pytest.mark.skipif(not has_libopenh264(), reason="no ffmpeg program with libopenh264 on PATH")
def test_libopenh264_encodes_every_frame(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.mp4", Params(encoder="libopenh264"), [k / 30 for k in range(20)])
    assert numbers(path) == list(range(20))


def program(folder: Path, script: str) -> str:
    """A program for the test to find."""
    path = folder / "ffmpeg-stand-in"
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)
    return str(path)
