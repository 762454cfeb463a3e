"""access: which files may be read, and what identifies one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from udfs.core.errors import MediaError
from udfs.storage import access
from udfs.storage.settings import Params
from udfs.storage.uris import absolute_uri


@pytest.mark.parametrize("uri", [r"C:\videos\a.mp4", r"\\nas\share\a.mp4", "D:/a.mp4"])
def test_a_path_of_windows_is_said_to_be_one(uri: str) -> None:
    with pytest.raises(MediaError, match=r"NOT_FOUND: .*a Windows path"):
        access.checked_path(absolute_uri(uri), Params())


def test_a_root_may_be_spelled_as_spark_spells_it() -> None:
    nowhere = Params(
        roots=("s3a://b-1",), s3_endpoint="http://127.0.0.1:1", s3_anonymous=True, s3_region="x", retry_s=0.0
    )
    with pytest.raises(MediaError, match="UNREACHABLE"):
        access.checked_path("s3://b-1/k.mp4", nowhere)
    with pytest.raises(MediaError, match="DENIED"):
        access.checked_path("s3://b-2/k.mp4", nowhere)


def test_a_file_inside_the_roots_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x")
    assert access.checked_path(str(tmp_path / "v.mp4"), Params(roots=(str(tmp_path),))) == str(tmp_path / "v.mp4")


def test_equal_bytes_have_equal_tags_wherever_they_lie(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x" * 200_000)
    assert access.content_tag(str(tmp_path / "a")) == access.content_tag(str(tmp_path / "b"))


@pytest.mark.parametrize("offset", [0, 65_535, 200_000 - 65_536, 199_999])
def test_a_change_of_head_or_tail_changes_the_tag(tmp_path: Path, offset: int) -> None:
    path, data = tmp_path / "v", bytearray(200_000)
    path.write_bytes(data)
    before = access.content_tag(str(path))
    data[offset] = 1
    path.write_bytes(data)
    assert access.content_tag(str(path)) != before


def test_a_change_of_the_middle_changes_the_tag(tmp_path: Path) -> None:
    path, data = tmp_path / "v", bytearray(os.urandom(1_000_000))
    path.write_bytes(data)
    whole = access.content_tag(str(path))
    data[300_000:700_000] = bytes(400_000)
    path.write_bytes(data)
    laid_out = access.content_tag(str(path))
    assert laid_out != whole
    assert laid_out.split("-")[:2] == whole.split("-")[:2]


def test_what_was_taken_down_by_its_head_and_tail_alone_stays_so() -> None:
    assert access.is_tagged("9-ab-cd", {"9-ab"})
    assert access.is_tagged("9-ab-cd", {"9-ab-cd"})
    assert not access.is_tagged("9-ab-cd", {"9-ab-ef", "9-cd"})


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EIO, "UNREACHABLE"),
        (errno.ESTALE, "UNREACHABLE"),
        (errno.ENOENT, "NOT_FOUND"),
        (errno.ELOOP, "NOT_FOUND"),
        (errno.EACCES, "NOT_FOUND"),
    ],
)
@pytest.mark.parametrize("call", ["stat", "open"])
def test_an_error_of_looking_at_a_file_is_its_failure(
    number: int, code: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"x" * 200_000)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((os, "stat", fail) if call == "stat" else (access, "open_path", fail)))
    with pytest.raises(MediaError) as e:
        access.content_tag(access.checked_path(str(path), Params()))
    assert e.value.code == code


def test_version_tells_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"abc")
    os.utime(tmp_path / "v", ns=(0, 5))
    assert access.version(str(tmp_path / "v")) == "3-5"


def test_video_id_is_fixed() -> None:
    assert access.video_id("/a.mp4", "3-abc") == "0eaf3c61-80cf-570f-8087-4f0ea677a519"
