"""source: a uri is a path or an address, and what names the same file gives the same id."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from udfs.core.errors import MediaError
from udfs.storage import access
from udfs.storage.access import Params


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
    assert access.local_path(uri) == path


@pytest.mark.parametrize(
    ("uri", "code"),
    [("file://elsewhere/a.mp4", "DENIED"), ("http://127.0.0.1/a.mp4", "UNSUPPORTED"), ("ftp://host/a.mp4", "DENIED")],
)
def test_addresses_without_a_reader(uri: str, code: str) -> None:
    with pytest.raises(MediaError, match=code):
        access.local_path(uri)


@pytest.mark.parametrize(
    ("uri", "absolute"),
    [
        ("b.mp4", "/a/b.mp4"),
        ("../b.mp4", "/b.mp4"),
        ("/b.mp4", "/b.mp4"),
        ("s3://bucket/b.mp4", "s3://bucket/b.mp4"),
        ("\udcff%.mp4", "file:///a/%FF%25.mp4"),
        ("s3://bucket/x//../b%20c.mp4", "s3://bucket/x//../b%20c.mp4"),  # a key is what it is
        ("https://h/x/../a%20b.mp4?sig=A", "https://h/x/../a%20b.mp4?sig=A"),
        ("ftp://h/b.mp4", "ftp://h/b.mp4"),
        ("file://elsewhere/b.mp4", "file://elsewhere/b.mp4"),
        ("file:///x/b.mp4%20", "file:///x/b.mp4%20"),  # a blank that is part of the name
    ],
)
def test_absolute_means_the_same_in_every_process(uri: str, absolute: str) -> None:
    assert access.absolute(uri, "/a") == absolute


@pytest.mark.parametrize(
    ("spellings", "one"),
    [
        (
            ["/x/b c.mp4", "//x/b c.mp4", "/x//b c.mp4", "/x/./b c.mp4", "/x/y/../b c.mp4", "/x/b c.mp4/", "../x/b c.mp4"],
            "/x/b c.mp4",
        ),
        (["file:///x/b%20c.mp4", "file:/x/b%20c.mp4", "FILE://localhost/x//b%20c.mp4", "file:///x/b c.mp4"], "/x/b c.mp4"),
        ([" /x/b c.mp4", "/x/b c.mp4\t", "/x/b c.mp4\r\n", "\ufeff/x/b c.mp4", "\u200b/x/b c.mp4\u00a0"], "/x/b c.mp4"),
        (["dbfs:/mnt/a.mp4", "/dbfs/mnt/a.mp4", "dbfs:///mnt/a.mp4", "file:///dbfs/mnt/a.mp4"], "/dbfs/mnt/a.mp4"),
        (["dbfs:/Volumes/c/s/v/a.mp4", "/Volumes/c/s/v/a.mp4"], "/Volumes/c/s/v/a.mp4"),
        (["s3://b-1/k/a.mp4", "s3a://b-1/k/a.mp4", "S3://b-1/k/a.mp4 "], "s3://b-1/k/a.mp4"),
        (["https://host/A.mp4?Sig=1", "HTTPS://Host/A.mp4?Sig=1"], "https://host/A.mp4?Sig=1"),
    ],
)
def test_one_file_under_several_spellings_has_one_uri(spellings: list[str], one: str) -> None:
    assert {access.absolute(spelling, "/a") for spelling in spellings} == {one}
    assert access.absolute(one) == one


@pytest.mark.parametrize(
    ("uri", "meant"),
    [("../v/a.mp4", "s3://b-1/v/a.mp4"), ("./a.mp4", "s3://b-1/x/a.mp4"), ("../../../a.mp4", "s3://b-1/a.mp4")],
)
def test_a_relative_address_never_leaves_the_bucket(uri: str, meant: str) -> None:
    assert access.absolute(uri, "s3a://b-1/x/") == meant


def test_a_name_written_by_another_system_is_found(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    nfd, nfc = "day/cafe\u0301.mp4", "day/caf\u00e9.mp4"
    (tmp_path / nfd).write_bytes(b"x")
    for spelling in (nfc, nfd, "day\\cafe\u0301.mp4", "day\\caf\u00e9.mp4"):
        assert access.existing_uri(f"{tmp_path}/{spelling}") == f"{tmp_path}/{nfd}"
    assert access.existing_uri(f"{tmp_path}/gon\u00e9.mp4") == f"{tmp_path}/gon\u00e9.mp4"


@pytest.mark.parametrize("uri", [r"C:\videos\a.mp4", r"\\nas\share\a.mp4", "D:/a.mp4"])
def test_a_path_of_windows_is_said_to_be_one(uri: str) -> None:
    with pytest.raises(MediaError, match=r"NOT_FOUND: .*a path of Windows"):
        access.checked_path(access.absolute(uri), Params())


def test_a_root_may_be_spelled_as_spark_spells_it() -> None:
    nowhere = Params(roots=("s3a://b-1",), s3_endpoint="http://127.0.0.1:1", s3_anonymous=True, s3_region="x", retry_s=0.0)
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


def test_75_a_change_of_the_middle_changes_the_tag(tmp_path: Path) -> None:
    path, data = tmp_path / "v", bytearray(os.urandom(1_000_000))
    path.write_bytes(data)
    whole = access.content_tag(str(path))
    data[300_000:700_000] = bytes(400_000)
    path.write_bytes(data)
    laid_out = access.content_tag(str(path))
    assert laid_out != whole
    assert laid_out.split("-")[:2] == whole.split("-")[:2]


def test_what_was_taken_down_by_its_head_and_tail_alone_stays_so() -> None:
    assert access.matches("9-ab-cd", {"9-ab"})
    assert access.matches("9-ab-cd", {"9-ab-cd"})
    assert not access.matches("9-ab-cd", {"9-ab-ef", "9-cd"})


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
def test_73_an_error_of_looking_at_a_file_is_its_failure(
    number: int, code: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"x" * 200_000)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((os, "stat", fail) if call == "stat" else (access, "opened", fail)))
    with pytest.raises(MediaError) as e:
        access.content_tag(access.checked_path(str(path), Params()))
    assert e.value.code == code


def test_version_tells_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"abc")
    os.utime(tmp_path / "v", ns=(0, 5))
    assert access.version(str(tmp_path / "v")) == "3-5"


def test_video_id_is_fixed() -> None:
    assert access.video_id("/a.mp4", "3-abc") == "0eaf3c61-80cf-570f-8087-4f0ea677a519"
