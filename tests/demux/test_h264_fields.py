"""Second fields of H.264: found by slice headers of every profile, and never among frames."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.support import field_pictures
from tests.support.footage import write_numbered
from udfs.demux.h264_fields import FieldPairs


def second_fields(path: Path) -> list[bool]:
    with av.open(str(path)) as file:
        fields = FieldPairs(file.streams.video[0].codec_context.extradata or b"")
        return [fields.is_second(memoryview(packet)) for packet in file.demux(video=0) if packet.size]


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_of_fields_in_packets_of_their_own_each_other_one_is_a_second(tmp_path: Path, suffix: str) -> None:
    assert second_fields(field_pictures.write(tmp_path / f"v.{suffix}", 20, apart=True)) == [False, True] * 20


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
@pytest.mark.parametrize(
    ("pix_fmt", "options"),
    [
        ("yuv420p", {}),
        ("yuv420p", {"profile": "baseline"}),
        ("yuv444p", {}),
        ("yuv420p", {"flags": "+ildct+ilme"}),
        ("yuv420p", {"x264-params": "cqm=jvt"}),
    ],
)
def test_frames_are_no_second_fields(tmp_path: Path, suffix: str, pix_fmt: str, options: dict[str, str]) -> None:
    path = write_numbered(tmp_path / f"v.{suffix}", 20, 25, (160, 128), pix_fmt=pix_fmt, options=options)
    assert second_fields(path) == [False] * 20


@pytest.mark.parametrize(
    "junk", [b"", b"\x00\x00\x01", b"\x00\x00\x01\x67", b"\x00\x00\x01\x67\xff" + bytes(300), b"\x01"]
)
def test_damaged_headers_are_no_fields(junk: bytes) -> None:
    fields = FieldPairs(junk)
    assert not fields.is_second(memoryview(junk))
    assert not fields.is_second(memoryview(junk + b"\x00\x00\x01\x65\x80"))
