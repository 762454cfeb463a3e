"""Encoder options: settings become FFmpeg's options, or one line that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from udfs.video import encoder_options
from udfs.video.encoder_options import Params


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"encoder": "libopenh264", "preset": "fast"}, "libopenh264 has none"),
        ({"encoder": "libopenh264", "crf": 52}, "libopenh264 allows at most 51"),
        ({"encoder": "h264_nvenc", "crf": 52}, "h264_nvenc allows at most 51"),
    ],
)
def test_what_an_encoder_lacks_is_refused_with_the_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Params(**settings)
