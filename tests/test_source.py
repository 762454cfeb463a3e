"""source: a uri is a path or an address, and what names the same file gives the same id."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from udfs import source
from udfs.errors import MediaError
from udfs.source import Params


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/a/b.mp4", "/a/b.mp4"),
        ("/a/../b.mp4", "/b.mp4"),
        ("/a/b%20c.mp4", "/a/b%20c.mp4"),
        ("/a/b://c.mp4", "/a/b:/c.mp4"),
        ("file:///a/b%20c%25.mp4", "/a/b c%.mp4"),
        ("file:///a/%FF.mp4", "/a/\udcff.mp4"),
        ("file://localhost/a.mp4", "/a.mp4"),
        ("file:/a.mp4", "/a.mp4"),
        ("FILE:///a.mp4", "/a.mp4"),
        ("dbfs:/mnt/a b%20.mp4", "/dbfs/mnt/a b%20.mp4"),
        ("dbfs:///mnt/a.mp4", "/dbfs/mnt/a.mp4"),
        ("dbfs:/Volumes/main/raw/films/a.mp4", "/Volumes/main/raw/films/a.mp4"),
        ("/Volumes/main/raw/films/a.mp4", "/Volumes/main/raw/films/a.mp4"),
        ("file:///a?b#c.mp4", "/a?b#c.mp4"),
        ("Episode: one.mp4", os.path.abspath("Episode: one.mp4")),
    ],
)
def test_local_path(uri: str, path: str) -> None:
    assert source.local_path(uri) == path


@pytest.mark.parametrize(
    ("uri", "code"),
    [("file://elsewhere/a.mp4", "DENIED"), ("http://127.0.0.1/a.mp4", "UNSUPPORTED"), ("ftp://host/a.mp4", "DENIED")],
)
def test_addresses_without_a_reader(uri: str, code: str) -> None:
    with pytest.raises(MediaError, match=code):
        source.local_path(uri)


@pytest.mark.parametrize(
    ("uri", "absolute"),
    [
        ("b.mp4", "/a/b.mp4"),
        ("../b.mp4", "/b.mp4"),
        ("/b.mp4", "/b.mp4"),
        ("s3://bucket/b.mp4", "s3://bucket/b.mp4"),
        ("\udcff%.mp4", "file:///a/%FF%25.mp4"),
    ],
)
def test_absolute_means_the_same_in_every_process(uri: str, absolute: str) -> None:
    assert source.absolute(uri, "/a") == absolute


def test_a_file_inside_the_roots_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x")
    assert source.checked_path(str(tmp_path / "v.mp4"), Params(roots=(str(tmp_path),))) == str(tmp_path / "v.mp4")


def test_equal_bytes_have_equal_tags_wherever_they_lie(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x" * 200_000)
    assert source.content_tag(str(tmp_path / "a")) == source.content_tag(str(tmp_path / "b"))


@pytest.mark.parametrize("offset", [0, 65_535, 200_000 - 65_536, 199_999])
def test_a_change_of_head_or_tail_changes_the_tag(tmp_path: Path, offset: int) -> None:
    path, data = tmp_path / "v", bytearray(200_000)
    path.write_bytes(data)
    before = source.content_tag(str(path))
    data[offset] = 1
    path.write_bytes(data)
    assert source.content_tag(str(path)) != before


def test_version_tells_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"abc")
    os.utime(tmp_path / "v", ns=(0, 5))
    assert source.version(str(tmp_path / "v")) == "3-5"


def test_video_id_is_fixed() -> None:
    assert source.video_id("/a.mp4", "3-abc") == "0eaf3c61-80cf-570f-8087-4f0ea677a519"
