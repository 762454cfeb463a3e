"""Media files: a new one appears complete or not at all, and leftovers of killed runs are deleted."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.s3 import Proxy, Server
from udfs.core.errors import MediaError
from udfs.storage import media_store, s3
from udfs.storage.settings import Params

# Writes one file after the other, each in many pieces.
WRITER = """
import sys, uuid
from udfs.storage import media_store
from udfs.storage.settings import Params
print("on", flush=True)
while True:
    uri = media_store.media_uri(sys.argv[1], "clips", uuid.uuid4().hex, "f" * 8, ".mp4")
    with media_store.write_to(uri, Params()) as path:
        with open(path, "wb", buffering=0) as file:
            for _ in range(1024):
                file.write(b"x" * 1024)
"""
OLD_S = media_store.LOCAL_LEFTOVER_S + 60


def written(root: Path, content: bytes) -> Path:
    uri = media_store.media_uri(str(root), "clips", "abcd", "f" * 16, ".mp4")
    before = Path(uri).read_bytes() if Path(uri).exists() else None
    with media_store.write_to(uri, Params()) as path:
        assert path.endswith(".mp4")  # muxers choose the format by it
        Path(path).write_bytes(content)
        assert (Path(uri).read_bytes() if Path(uri).exists() else None) == before
    return Path(uri)


def test_a_file_takes_its_place_at_the_end_and_may_be_read(tmp_path: Path) -> None:
    path = written(tmp_path / "media", b"one")
    assert path == tmp_path / "media" / "clips" / "ab" / "abcd-ffffffff.mp4"
    assert (path.read_bytes(), path.stat().st_mode & 0o444) == (b"one", 0o444)
    assert list((tmp_path / "media" / media_store.UNFINISHED).iterdir()) == []


def test_a_retry_takes_the_place_of_what_is_there(tmp_path: Path) -> None:
    assert written(tmp_path / "media", b"one") == written(tmp_path / "media", b"two")
    assert written(tmp_path / "media", b"three").read_bytes() == b"three"


def test_a_mount_is_written_to_from_beginning_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still being written, with steps back, lies elsewhere."""
    monkeypatch.setattr(media_store, "MOUNTS", (str(tmp_path),))
    with media_store.unfinished_folder(str(tmp_path / "media")) as folder:
        assert not Path(folder).is_relative_to(tmp_path)
    assert written(tmp_path / "media", b"one").read_bytes() == b"one"
    assert list((tmp_path / "media" / media_store.UNFINISHED).iterdir()) == []


def test_a_folder_is_copied_to_a_mount_into_which_nothing_can_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount, rename = tmp_path / "mount", os.rename

    def rename_within(old: str, new: str) -> None:
        if Path(old).is_relative_to(mount) != Path(new).is_relative_to(mount):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(old, new)

    monkeypatch.setattr(media_store, "MOUNTS", (str(mount),))
    monkeypatch.setattr(os, "rename", rename_within)
    for content in ("one", "two"):
        folder = tmp_path / content
        folder.mkdir()
        (folder / "0.jpg").write_text(content)
        media_store.place(str(folder), f"{mount}/frames/c1/1fps", f"{mount}/frames", Params())
        assert [path.read_text() for path in (mount / "frames/c1/1fps").iterdir()] == [content]
    assert list((mount / "frames" / media_store.UNFINISHED).iterdir()) == []


def test_a_local_leftover_of_an_upload_is_deleted_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    media_store._upload_folder.cache_clear()
    room = Path(media_store._upload_folder())
    for name, age_s in (("killed", OLD_S), ("busy", 60.0)):
        (room / name).mkdir()
        os.utime(room / name, times=(time.time() - age_s,) * 2)
    media_store._upload_folder.cache_clear()
    media_store._upload_folder()
    assert [path.name for path in room.iterdir()] == ["busy"]
    assert room.stat().st_mode & 0o77 == 0
    media_store._upload_folder.cache_clear()


def test_unfinished_files_of_a_folder_are_deleted(tmp_path: Path) -> None:
    for name in (
        "media/.writing/half.mp4",
        "media/clips/ab/whole.mp4",
        "tables/.landing/run/part",
        "tables/clips/part",
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
    media_store.remove_leftovers(str(tmp_path), "tables/.landing", Params())
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["part", "whole.mp4"]
    assert not (tmp_path / "tables" / ".landing").exists()


def test_old_unfinished_files_of_a_store_are_deleted(
    s3_server: Server, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    kept = [
        f"s3://swept/out/{name}" for name in ("media/clips/whole.mp4", "tables/clips/part", "tables/.landing-not/part")
    ]
    for uri in (*kept, "s3://swept/out/tables/.landing/run/part"):
        s3_server.put(uri, tmp_path / "x")
    client: Any = s3.client(proxy.params())
    begun = {"Bucket": "swept", "Key": "out/media/clips/half.mp4"}
    upload = client.create_multipart_upload(**begun)["UploadId"]
    client.upload_part(**begun, UploadId=upload, PartNumber=1, Body=b"x")
    media_store.remove_leftovers("s3://swept/out", "tables/.landing", proxy.params())  # all of it is of today
    assert (len(keys(client)), unfinished(client)) == (4, 1)
    monkeypatch.setattr(
        s3, "_age_s", lambda time: (datetime.now(UTC) - time).total_seconds() + media_store.STORE_LEFTOVER_S
    )
    media_store.remove_leftovers("s3://swept/out", "tables/.landing", proxy.params())
    assert (keys(client), unfinished(client)) == (sorted(uri.removeprefix("s3://swept/") for uri in kept), 0)


def test_a_takedown_deletes_what_was_left_a_moment_ago(s3_server: Server, proxy: Proxy, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    s3_server.put("s3://swept/late/tables/.landing/run/part", tmp_path / "x")
    client: Any = s3.client(proxy.params())
    client.create_multipart_upload(Bucket="swept", Key="late/media/clips/half.mp4")
    media_store.remove_leftovers("s3://swept/late", "tables/.landing", proxy.params(), media_store.ANY_AGE_S)
    assert not media_store.holds("s3://swept/late/tables", proxy.params())
    assert unfinished(client) == 0


def keys(client: Any) -> list[str]:
    return sorted(
        item["Key"] for item in client.list_objects_v2(Bucket="swept")["Contents"] if "half" not in item["Key"]
    )


def unfinished(client: Any) -> int:
    return len(client.list_multipart_uploads(Bucket="swept").get("Uploads", []))


def test_uploads_that_a_store_does_not_let_us_list_stay_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise MediaError("DENIED", "the store says AccessDenied (status 403)")

    monkeypatch.setattr(s3, "abort_uploads", refuse)
    media_store.remove_unfinished("s3://swept/out/media", Params())
    assert "left at s3://swept/out/media stay: DENIED: the store says AccessDenied" in caplog.text


def test_whether_anything_is_there(s3_server: Server, proxy: Proxy, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    s3_server.put("s3://swept/other/tables/part", Path(__file__))
    assert media_store.holds(str(tmp_path / "tables"), Params())
    assert not media_store.holds(str(tmp_path / "none"), Params())
    assert media_store.holds("s3://swept/other/tables", proxy.params())
    assert not media_store.holds("s3://swept/other/table", proxy.params())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_42_a_process_that_is_ended_while_it_writes_leaves_whole_files_alone(tmp_path: Path, number: int) -> None:
    moments = random.Random(42)
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "media")]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"on\n"
        time.sleep(moments.uniform(0.0, 0.2))
        writer.send_signal(number)
        assert writer.wait(timeout=20) == -number
        writer.stdout.close()
    unfinished = tmp_path / "media" / media_store.UNFINISHED
    whole = [path for path in (tmp_path / "media").rglob("*.mp4") if unfinished not in path.parents]
    assert whole
    assert {(path.stat().st_size, path.read_bytes().strip(b"x")) for path in whole} == {(1 << 20, b"")}
    media_store.remove_leftovers(str(tmp_path), "tables/none", Params())
    assert [path for path in unfinished.rglob("*") if path.is_file()] == []
