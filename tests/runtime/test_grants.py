"""What a call may reach: the files that its arguments name, and places for what it has finished."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.web_server import Page, serving
from udfs import clip
from udfs.core.errors import MediaError
from udfs.runtime import grants
from udfs.runtime.context import Env
from udfs.runtime.grants import Grant
from udfs.storage.remote_file import RemotePath, Stat
from udfs.storage.settings import Params as Sources

PRIVATE = Sources(http_private=True)


def answer(grant: Grant, *request: Any, folder: str = "") -> Any:
    """The answer to a request; its error is raised."""
    reply, handle = grant.answer(list(request), folder)
    result, error = reply if isinstance(reply, tuple) else (reply, None)
    if error is not None:
        raise error
    return result if handle is None else read_all(handle)


def read_all(handle: int) -> bytes:
    """What an open file holds; it is closed."""
    with open(handle, "rb") as file:
        return file.read()


def test_the_spans_of_a_unit_come_from_spark_as_an_array() -> None:
    spans = np.empty(2, dtype=object)
    spans[:] = [{"clip_id": "a"}, {"clip_id": "b"}]
    assert grants.of(clip.cut_unit, {"uri": "/v.mp4", "spans": spans}).names == {"a", "b"}


def test_a_call_reads_what_its_arguments_name(tmp_path: Path) -> None:
    named = {name: tmp_path / name for name in ("row", "proxy", "text", "path", "title")}
    for path in named.values():
        path.write_text(path.name)
    row = {
        "clip_id": "c",
        "uri": f"file://{named['row']}",
        "proxy_uri": str(named["proxy"]),
        "title": str(named["title"]),
    }
    grant = grants.of(partial(len, row), str(named["text"]), named["path"], 7, None)
    for name in ("row", "proxy", "text", "path"):
        assert answer(grant, "open", str(named[name])) == name.encode()
    with pytest.raises(PermissionError, match="may not read it"):
        answer(grant, "open", str(named["title"]))


def test_a_source_stays_inside_the_roots_even_where_its_path_becomes_a_link(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path, outside = tmp_path / "in" / "a.mp4", tmp_path / "outside"
    outside.write_text("outside")
    path.symlink_to(outside)
    env = Env("unused", "f", sources=Sources(roots=(str(tmp_path / "in"),)))
    with pytest.raises(MediaError, match=r"DENIED: outside sources\.roots"):
        answer(grants.of(partial(dict, env=env), {"uri": str(path)}), "open", str(path))
    assert (
        answer(grants.of(partial(dict, env=env), {"uri": str(path), "clip_id": "c"}), "open", str(path)) == b"outside"
    )


def test_what_is_no_regular_file_is_not_opened_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(MediaError, match="NOT_FOUND: not a regular file"):
            answer(grants.of(path), "open", str(path))


def test_remote_bytes_are_fetched_by_the_parents_settings() -> None:
    with serving({"/a.mp4": Page(b"0123456789")}) as site:
        uri = f"{site.url}/a.mp4"
        grant = grants.of({"uri": uri}, PRIVATE)
        size, version = answer(grant, "stat", uri)
        assert (size, answer(grant, "fetch", uri, 2, 5, version)) == (10, b"234")
        with pytest.raises(MediaError, match="DENIED"):  # an address of this machine
            answer(grants.of({"uri": uri}), "stat", uri)
        inside = Sources(http_private=True, roots=(f"{site.url}/in",))
        with pytest.raises(MediaError, match=r"DENIED: outside sources\.roots"):
            answer(grants.of({"uri": uri}, inside), "fetch", uri, 2, 5, version)
        for other in (f"{site.url}/b.mp4", "http://169.254.169.254/latest/meta-data"):
            with pytest.raises(PermissionError):
                answer(grant, "stat", other)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 2), (-1, 5), (0, grants.MAX_FETCH + 1)])
def test_only_ranges_of_some_bytes_are_fetched(start: int, end: int) -> None:
    path = RemotePath("s3://bucket/a", Stat(1 << 40, "1"), fetch_nothing)
    with pytest.raises(PermissionError, match="a range of no bytes"):
        answer(grants.of(path), "fetch", path.uri, start, end, "1")


def fetch_nothing(uri: str, start: int, end: int, version: str) -> bytes:
    raise AssertionError(uri)


@pytest.mark.parametrize("request_", [["exec", "ls"], ["open"], ["open", ["a"]], [], "open", None, ["put", "a"]])
def test_what_is_no_request_is_an_error_of_the_child(request_: object) -> None:
    (_, error), handle = Grant().answer(request_, "")
    assert (isinstance(error, Exception), handle) == (True, None)


def finished(tmp_path: Path, name: str = "a1") -> str:
    """A decoding process's folder with a finished file."""
    folder = tmp_path / "unfinished" / "own"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("finished")
    return str(folder)


def test_a_finished_file_goes_where_the_row_says_and_nowhere_else(tmp_path: Path) -> None:
    env = Env(f"{tmp_path}/media", "f").with_media()
    grant = grants.of(partial(clip.cut_unit, env=env), {"spans": [{"clip_id": "c1"}], "uri": "/v.mp4", "clip_id": "c0"})
    uri = f"{tmp_path}/media/clips/c1/c1-f.mp4"
    for path in ("a1", "deep/a1"):
        answer(grant, "put", path, uri, folder=finished(tmp_path, path))
        assert Path(uri).read_text() == "finished"
        Path(uri).unlink()
    grant.check([{"uri": uri, "previews": [{"uri": uri}]}])
    for name, other in (
        ("a1", f"{tmp_path}/media/clips/c2/c2-f.mp4"),
        ("a1", f"{tmp_path}/media/c1/../../x"),
        ("a1", f"{tmp_path}/c1"),
        ("../a1", uri),
        ("deep/../a1", uri),
        (f"{tmp_path}/unfinished/own/a1", uri),
        (".", uri),
        ("", uri),
    ):
        with pytest.raises(PermissionError, match="may not write it"):
            answer(grant, "put", name, other, folder=finished(tmp_path))
    with pytest.raises(PermissionError, match="may not write it"):
        answer(grants.of({"clip_id": "c1", "uri": "a"}, Env(f"{tmp_path}/media", "f")), "put", "a1", uri)


def test_links_are_not_taken_as_files(tmp_path: Path) -> None:
    grant = grants.of({"clip_id": "c1", "uri": "/a"}, Env(f"{tmp_path}/media", "f").with_media())
    folder = Path(finished(tmp_path))
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "deep").mkdir()
    (folder / "deep" / "link").symlink_to("/etc/passwd")
    for name in ("link", "deep"):
        with pytest.raises(PermissionError, match="no file, and no folder of files"):
            answer(grant, "put", name, f"{tmp_path}/media/c1", folder=str(folder))
    (folder / "way").symlink_to(tmp_path)
    (tmp_path / "other").touch()
    with pytest.raises(NotADirectoryError):
        answer(grant, "put", "way/other", f"{tmp_path}/media/c1", folder=str(folder))
    assert (tmp_path / "other").exists()
    assert not Path(tmp_path, "media", "c1").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["own"]


def test_an_answer_that_names_another_file_is_a_crash() -> None:
    grant = grants.of({"uri": "/a.mp4", "clip_id": "c"})
    grant.check([{"uri": "/a.mp4", "size": 1}, {"uri": None}])
    for result in ([{"uri": "/b.mp4"}], ([{"proxy_uri": "/b.mp4"}], 0.1), [{"previews": [{"uri": "/b.webp"}]}]):
        with pytest.raises(MediaError, match="CRASH: the decoding process answers with a"):
            grant.check(result)
