"""NVENC and NVDEC in tests: whether they work here, and a clip's signals decoded by NVDEC or not."""

from __future__ import annotations

from pathlib import Path

from tests.support import clips
from udfs import analyze
from udfs.runtime import sandbox
from udfs.runtime.context import Env, Row
from udfs.video import encoder_options, mp4_writer, nvdec

NVENC = encoder_options.Params(encoder="h264_nvenc")


def nvenc_works() -> bool:
    try:
        mp4_writer.check_encoder(NVENC)
    except mp4_writer.EncoderError:
        return False
    return True


def nvdec_works() -> bool:
    try:
        nvdec.check_decoder(0)
    except nvdec.DecoderError:
        return False
    return True


def forget() -> None:
    """Forget what was tried, here and in the decoding process."""
    for tried in (mp4_writer.usable_params, nvdec.accelerator):
        tried.cache_clear()
    sandbox.stop()


def analyzed(path: Path, env: Env, hwaccel: nvdec.Hwaccel, **facts: int) -> Row:
    """The signals of a clip."""
    (signals,) = analyze.measure_clip(clips.row(path) | facts, analyze.Settings(analyze.Params(hwaccel=hwaccel)), env)
    return signals
