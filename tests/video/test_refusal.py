"""Files that do not open: the error names what they are."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.footage import write_numbered
from tests.support.sandbox_probe import SMALL, code_of, probed_row
from udfs.core.errors import MediaError


@pytest.mark.parametrize(
    ("head", "code", "said"),
    [
        (b"<!DOCTYPE html><html>", "UNSUPPORTED", "a web page: a download that failed"),
        (b"version https://git-lfs.github.com/spec/v1\n", "UNSUPPORTED", "a pointer of Git LFS"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "UNSUPPORTED", "a picture (JPEG)"),
        (b"PK\x03\x04", "UNSUPPORTED", "an archive (ZIP)"),
        (bytes(1000), "CORRUPT", "nothing but zeros"),
        (b"\xef\xbb\xbf#EXTM3U\n", "DENIED", "a playlist"),
        (b"\x06\x0e+4\x02\x05\x01\x01\r\x01\x02" + b"x" * 100, "CORRUPT", "a video container that does not open"),
    ],
)
def test_what_lies_under_a_videos_name_is_named(tmp_path: Path, head: bytes, code: str, said: str) -> None:
    (tmp_path / "v.mp4").write_bytes(head)
    with pytest.raises(MediaError) as e:
        probed_row(tmp_path / "v.mp4")
    assert e.value.code == code
    assert said in e.value.message


def test_no_bytes_is_empty(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").touch()
    assert code_of(tmp_path / "v.mp4") == "EMPTY"


@pytest.mark.parametrize(
    "content",
    [b"a", b"hello world\n" * 100, *(random.Random(seed).randbytes(100_000) for seed in range(20))],
    ids=["one byte", "text", *(f"random {seed}" for seed in range(20))],
)
def test_what_is_no_video_is_unsupported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.mp4").write_bytes(content)
    assert code_of(tmp_path / "v.mp4") == "UNSUPPORTED"


def test_sound_in_riff_is_unsupported_not_a_broken_avi(tmp_path: Path) -> None:
    (tmp_path / "v.avi").write_bytes(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + bytes(1000))
    assert code_of(tmp_path / "v.avi") == "UNSUPPORTED"


@pytest.mark.parametrize(("suffix", "codec", "name"), [(".h264", "libx264", "H.264"), (".hevc", "libx265", "HEVC")])
def test_a_bare_stream_without_times_is_refused_with_the_way_out(
    tmp_path: Path, suffix: str, codec: str, name: str
) -> None:
    path = write_numbered(tmp_path / f"v{suffix}", 30, 30, SMALL, codec)
    with pytest.raises(MediaError, match=f"UNSUPPORTED: a bare {name} stream, which holds no times"):
        probed_row(path)
