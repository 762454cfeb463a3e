"""URIs: spellings of a path or an address, and the one normal form of each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from udfs.core.errors import MediaError
from udfs.storage.uris import absolute_uri, existing_uri, is_remote, is_web, local_path, path_uri, redacted


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
    assert local_path(uri) == path


@pytest.mark.parametrize(
    ("uri", "code"),
    [("file://elsewhere/a.mp4", "DENIED"), ("http://127.0.0.1/a.mp4", "UNSUPPORTED"), ("ftp://host/a.mp4", "DENIED")],
)
def test_addresses_without_a_reader(uri: str, code: str) -> None:
    with pytest.raises(MediaError, match=code):
        local_path(uri)


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
    assert absolute_uri(uri, "/a") == absolute


@pytest.mark.parametrize(
    ("spellings", "one"),
    [
        (
            [
                "/x/b c.mp4",
                "//x/b c.mp4",
                "/x//b c.mp4",
                "/x/./b c.mp4",
                "/x/y/../b c.mp4",
                "/x/b c.mp4/",
                "../x/b c.mp4",
            ],
            "/x/b c.mp4",
        ),
        (
            ["file:///x/b%20c.mp4", "file:/x/b%20c.mp4", "FILE://localhost/x//b%20c.mp4", "file:///x/b c.mp4"],
            "/x/b c.mp4",
        ),
        ([" /x/b c.mp4", "/x/b c.mp4\t", "/x/b c.mp4\r\n", "\ufeff/x/b c.mp4", "\u200b/x/b c.mp4\u00a0"], "/x/b c.mp4"),
        (["dbfs:/mnt/a.mp4", "/dbfs/mnt/a.mp4", "dbfs:///mnt/a.mp4", "file:///dbfs/mnt/a.mp4"], "/dbfs/mnt/a.mp4"),
        (["dbfs:/Volumes/c/s/v/a.mp4", "/Volumes/c/s/v/a.mp4"], "/Volumes/c/s/v/a.mp4"),
        (["s3://b-1/k/a.mp4", "s3a://b-1/k/a.mp4", "S3://b-1/k/a.mp4 "], "s3://b-1/k/a.mp4"),
        (["https://host/A.mp4?Sig=1", "HTTPS://Host/A.mp4?Sig=1"], "https://host/A.mp4?Sig=1"),
    ],
)
def test_one_file_under_several_spellings_has_one_uri(spellings: list[str], one: str) -> None:
    assert {absolute_uri(spelling, "/a") for spelling in spellings} == {one}
    assert absolute_uri(one) == one


@pytest.mark.parametrize(
    ("uri", "meant"),
    [("../v/a.mp4", "s3://b-1/v/a.mp4"), ("./a.mp4", "s3://b-1/x/a.mp4"), ("../../../a.mp4", "s3://b-1/a.mp4")],
)
def test_a_relative_address_never_leaves_the_bucket(uri: str, meant: str) -> None:
    assert absolute_uri(uri, "s3a://b-1/x/") == meant


def test_a_name_written_by_another_system_is_found(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    nfd, nfc = "day/cafe\u0301.mp4", "day/caf\u00e9.mp4"
    (tmp_path / nfd).write_bytes(b"x")
    for spelling in (nfc, nfd, "day\\cafe\u0301.mp4", "day\\caf\u00e9.mp4"):
        assert existing_uri(f"{tmp_path}/{spelling}") == f"{tmp_path}/{nfd}"
    assert existing_uri(f"{tmp_path}/gon\u00e9.mp4") == f"{tmp_path}/gon\u00e9.mp4"


@pytest.mark.parametrize(
    ("uri", "remote", "web"),
    [
        ("s3://b/k.mp4", True, False),
        ("S3A://b/k.mp4", True, False),
        ("https://h/v.mp4", True, True),
        ("HTTP://h/v.mp4", True, True),
        ("file:///v.mp4", False, False),
        ("/s3/v.mp4", False, False),
        ("ftp://h/v.mp4", False, False),
    ],
)
def test_s3_and_web_servers_are_remote(uri: str, remote: bool, web: bool) -> None:
    assert (is_remote(uri), is_web(uri)) == (remote, web)


@pytest.mark.parametrize(
    ("path", "uri"), [("//a.mp4", "/a.mp4"), ("/a.mp4 ", "file:///a.mp4%20"), ("/\udcff.mp4", "file:///%FF.mp4")]
)
def test_the_uri_of_a_path_names_that_path(path: str, uri: str) -> None:
    assert path_uri(path) == uri
    assert local_path(uri) == "/" + path.lstrip("/")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://me:s3cret@h.org/v.mp4?sign=AKIA#x", "https://h.org/v.mp4"),
        ("HTTP://a@b@h/v", "HTTP://h/v"),
        ("https://h/v@2.mp4", "https://h/v@2.mp4"),
        ("/local/v.mp4?x", "/local/v.mp4?x"),
    ],
)
def test_an_address_can_be_shown_without_its_secrets(uri: str, shown: str) -> None:
    assert redacted(uri) == shown
