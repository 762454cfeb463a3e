"""Manifests: folders, globs, lists and videos name files in a fixed order, or are refused."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from jobs.flow.manifest import address
from udfs.runtime import sandbox
from udfs.storage import manifest, omissions
from udfs.storage.manifest import Listing, ManifestError
from udfs.storage.settings import Params


def listing(name: str) -> list[str]:
    """What a manifest names."""
    return full_listing(name).uris


def full_listing(name: str) -> Listing:
    """What a manifest names, and what it leaves out."""
    listing = manifest.examine(name, Params()).listing
    assert listing is not None
    return listing


def kind(name: str) -> str:
    """What a manifest is."""
    return manifest.examine(name, Params()).kind


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Videos at three depths, in no order, among other files."""
    for name in ("b.mp4", "a/c.MKV", "a/b/d.webm", "notes.txt", "a/e.mp4.part"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "in"


def test_a_folder_names_its_videos_at_every_depth(folder: Path) -> None:
    assert listing(str(folder)) == [str(folder / name) for name in ("a/b/d.webm", "a/c.MKV", "b.mp4")]


def test_what_a_folder_holds_beside_videos_is_counted(folder: Path) -> None:
    names = [
        "._b.mp4",
        ".git/x.mp4",
        ".Trash-1000/files/x.mp4",
        "$RECYCLE.BIN/x.mp4",
        "a/@eaDir/b.mp4/thumb.mp4",
        "a/readme.md",
    ]
    for name in [*names, "__MACOSX/._b.mp4", "System Volume Information/x.mp4", "lost+found/x.mp4"]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    uris, left_out = full_listing(str(folder))
    assert uris == [str(folder / name) for name in ("a/b/d.webm", "a/c.MKV", "b.mp4")]
    assert left_out == {"suffix": 3, "hidden": 2, "trash": 6}
    assert omissions.summary(3, left_out) == (
        "3 files found, 11 left out (3 not a video by their suffix, 2 hidden, 6 in trash folders)"
    )


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/v.mp4").write_bytes(b"x")
    assert listing(str(tmp_path / ".cache")) == [str(tmp_path / ".cache/v.mp4")]


def test_linked_folders_are_entered_once_and_by_their_own_name_first(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/deep/x.mp4").write_bytes(b"x")
    (folder / "0").symlink_to(tmp_path / "elsewhere")
    (folder / "1").symlink_to(tmp_path / "elsewhere/deep")
    (folder / "2").symlink_to(folder / "a")
    (folder / "a/up").symlink_to(folder)
    (tmp_path / "elsewhere/deep/loop").symlink_to(tmp_path / "elsewhere")
    (folder / "broken").symlink_to(tmp_path / "gone")
    uris, left_out = full_listing(str(folder))
    assert uris == [str(folder / name) for name in ("0/deep/x.mp4", "a/b/d.webm", "a/c.MKV", "b.mp4")]
    assert left_out == {"suffix": 3, "link": 4}


def test_a_link_to_a_file_that_is_listed_is_the_same_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"x")
    for name, target in {"0.mp4": folder / "b.mp4", "y.mp4": tmp_path / "blob", "a/z.mp4": tmp_path / "blob"}.items():
        (folder / name).symlink_to(target)
    (folder / "gone.mp4").symlink_to(tmp_path / "gone")
    uris, left_out = full_listing(str(folder))
    assert uris == [str(folder / name) for name in ("a/b/d.webm", "a/c.MKV", "a/z.mp4", "b.mp4", "gone.mp4")]
    assert left_out["link"] == 2


def test_a_folder_that_cannot_be_read_costs_only_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the call itself: root may read everything, and no file system here fails on demand."""
    scan = os.scandir

    def failing(path: str) -> Any:
        if path.endswith("/a"):
            raise OSError(errno.ESTALE, "Stale file handle", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", failing)
    uris, left_out = full_listing(str(folder))
    assert (uris, left_out) == ([str(folder / "b.mp4")], {"suffix": 1, "unreadable": 1})
    with pytest.raises(ManifestError, match="Stale file handle"):
        listing(str(folder / "a"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_folder_without_permission_is_counted() -> None:
    with tempfile.TemporaryDirectory() as top:  # those of pytest are closed to others
        os.chmod(top, 0o755)
        Path(top, "closed").mkdir(mode=0)
        Path(top, "v.mp4").write_bytes(b"x")
        assert sandbox.call(left_out_for_anyone, top, timeout_s=20, memory_mb=512) == {"unreadable": 1}
    sandbox.stop()


def left_out_for_anyone(path: str) -> dict[str, int]:
    """What a listing leaves out for a process that is not root."""
    os.setuid(65534)
    return dict(full_listing(path).left_out)


def test_a_glob_through_linked_folders_names_each_file_once(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    uris, left_out = full_listing(f"{folder}/**/*.webm")
    assert uris == [str(folder / "a/b/d.webm")]
    assert left_out["link"] > 0


@pytest.mark.parametrize(
    "suffix", [".vob", ".asf", ".3g2", ".f4v", ".mxf", ".m2v", ".dv", ".MOD", ".insv", ".rmvb", ".h264"]
)
def test_suffixes_of_cameras_and_broadcast_are_videos(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"v{suffix}").write_bytes(b"x")
    assert listing(str(tmp_path)) == [str(tmp_path / f"v{suffix}")]


def test_a_very_deep_folder_ends_no_listing(tmp_path: Path) -> None:
    """Paths of more than PATH_MAX bytes cannot be asked for by their name."""
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(20):
            os.mkdir("x" * 250)
            os.chdir("x" * 250)
    finally:
        os.chdir(here)
    (tmp_path / "v.mp4").write_bytes(b"x")
    uris, left_out = full_listing(str(tmp_path))
    assert (uris, left_out) == ([str(tmp_path / "v.mp4")], {"unreadable": 1})


@pytest.mark.parametrize("name", ["list.json", "m.csv", "v.mp4"])
def test_a_pipe_is_no_manifest(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ManifestError, match="a pipe or a device, not a regular file: write it to a file first"):
        listing(str(tmp_path / name))


def test_an_empty_name_is_no_manifest() -> None:
    with pytest.raises(ManifestError, match="an empty name"):
        listing("")


@pytest.mark.parametrize("text", ["[" * 100_000, '[{"a":' * 50_000])
def test_a_list_nested_without_end_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ManifestError, match="nested too deeply"):
        listing(str(tmp_path / "list.json"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_may_be_written_by_any_editor(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "list.json").write_text(' ["/ä.mp4 ", "/x/../ä.mp4"]', encoding=encoding)
    assert full_listing(str(tmp_path / "list.json")) == (["/ä.mp4"], {"duplicate": 1})


def test_a_glob_names_what_matches(folder: Path) -> None:
    assert listing(f"{folder}/**/*.[mw]*") == [str(folder / name) for name in ("a/b/d.webm", "a/e.mp4.part", "b.mp4")]


def test_a_video_names_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert listing("b.mp4") == listing(f"file://{folder}/b.mp4") == [str(folder / "b.mp4")]


def test_a_name_that_looks_like_a_glob_is_still_a_name(tmp_path: Path) -> None:
    (tmp_path / "take[1].mp4").write_bytes(b"x")
    assert listing(str(tmp_path / "take[1].mp4")) == [str(tmp_path / "take[1].mp4")]


def test_a_list_names_its_uris_once_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("\ufeff" + json.dumps(["/z.mp4", "rel.mp4", "/a.mp4", "/z.mp4", "s3://b/k.mp4"]), encoding="utf-8")
    assert listing(str(path)) == ["/z.mp4", str(tmp_path / "rel.mp4"), "/a.mp4", "s3://b/k.mp4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "Expecting value"),
        ('["/a.mp4", 3]', "entry 1 of the list is no uri: 3"),
        ('["/a.mp4", ""]', 'entry 1 of the list is no uri: ""'),
        ('["\\ud800.mp4"]', "entry 0 of the list is no uri"),
        ("[]", "no video there"),
    ],
)
def test_a_broken_list_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(ManifestError, match=message) as raised:
        listing(str(tmp_path / "list.json"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["gone", "gone/*.mp4", "empty", "notes.txt"])
def test_a_manifest_of_nothing_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_bytes(b"x")
    with pytest.raises(ManifestError, match=name.replace("*", r"\*")):
        listing(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("m.jsonl", "jsonl"), ("m.ndjson", "jsonl"), ("m.CSV", "csv"), ("m.parquet", "parquet"), ("m.json", "jsonl")],
)
def test_tables_are_told_by_their_suffix(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).write_text('{"uri": "/a.mp4"}\n')
    assert kind(str(tmp_path / name)) == expected


def test_a_folder_with_a_delta_log_is_a_table(tmp_path: Path) -> None:
    os.makedirs(tmp_path / "table" / "_delta_log")
    assert kind(str(tmp_path / "table")) == "delta"


@pytest.mark.parametrize(
    ("given", "elsewhere", "on_databricks"),
    [
        ("/x/m.csv", "file:/x/m.csv", "file:/x/m.csv"),
        ("file:///x/m%20n.csv", "file:/x/m n.csv", "file:/x/m n.csv"),
        ("/dbfs/x/m.csv", "file:/dbfs/x/m.csv", "dbfs:/x/m.csv"),
        ("dbfs:/x/m.csv", "file:/dbfs/x/m.csv", "dbfs:/x/m.csv"),
        ("/Volumes/c/s/v/m.parquet", "file:/Volumes/c/s/v/m.parquet", "dbfs:/Volumes/c/s/v/m.parquet"),
        ("s3://b-1/x y/m.parquet", "s3a://b-1/x y/m.parquet", "s3a://b-1/x y/m.parquet"),
    ],
)
def test_spark_is_told_of_which_file_system_a_manifest_is(
    monkeypatch: pytest.MonkeyPatch, given: str, elsewhere: str, on_databricks: str
) -> None:
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    assert address(given) == elsewhere
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    assert address(given) == on_databricks
