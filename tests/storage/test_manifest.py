"""Manifests: folders, globs, lists and videos name files in a fixed order, or are refused."""

from __future__ import annotations

import errno
import glob
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.flow.manifest import address
from udfs.storage import glob_paths, manifest
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


def test_a_folder_names_its_videos_and_counts_the_rest(folder: Path) -> None:
    assert full_listing(str(folder)) == (
        [str(folder / name) for name in ("a/b/d.webm", "a/c.MKV", "b.mp4")],
        {"suffix": 2},
    )


def test_a_folder_that_cannot_be_read_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the call itself: root may read everything, and no file system here fails on demand."""

    def failing(path: str) -> Any:
        raise OSError(errno.ESTALE, "Stale file handle", path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(ManifestError, match="Stale file handle") as raised:
        listing(str(folder))
    assert "\n" not in str(raised.value)


def test_a_folder_without_videos_says_what_it_holds(tmp_path: Path) -> None:
    for name in ("notes.txt", ".v.mp4"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ManifestError, match=r"no video there \(2 left out \(1 not a video by its suffix, 1 hidden\): "):
        listing(str(tmp_path))


def test_a_glob_through_linked_folders_names_each_file_once(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    uris, left_out = full_listing(f"{folder}/**/*.webm")
    assert uris == [str(folder / "a/b/d.webm")]
    assert left_out == {}


@pytest.mark.parametrize("name", ["list.json", "m.csv", "v.mp4"])
def test_a_pipe_is_no_manifest(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ManifestError, match="a pipe or a device, not a regular file: write it to a file first"):
        listing(str(tmp_path / name))


def test_an_empty_name_is_no_manifest() -> None:
    with pytest.raises(ManifestError, match="an empty name"):
        listing("")


@pytest.mark.parametrize("text", ["[" * 100_000, '[{"a":' * 50_000, "[" + "[{}," * 1_000_000])
def test_a_list_nested_without_end_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ManifestError, match=r"entry 0 of the list is no uri: \"[\[{]"):
        listing(str(tmp_path / "list.json"))


def test_a_list_takes_memory_for_its_texts_alone(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('["/a.mp4", ' + "{}," * 2_000_000)
    tracemalloc.start()
    with pytest.raises(ManifestError, match="entry 1 of the list is no uri"):
        listing(str(tmp_path / "list.json"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # twice the text; a dictionary per entry would take 150 MB


def test_a_list_that_is_too_long_to_be_read_at_once_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "list.json", "wb") as file:
        file.write(b"[")
        file.truncate(manifest.MAX_TEXT_BYTES + 1)  # without its bytes on the disk
    with pytest.raises(ManifestError, match=r"read at once: write it as JSON lines \(\.jsonl\), CSV or Parquet"):
        listing(str(tmp_path / "list.json"))


@pytest.mark.parametrize("pattern", ["**/*.mp4", "*/**/v.mp4", "**/l1/**/v.mp4", "**"])
def test_a_glob_through_loops_of_links_ends(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/v.mp4").write_bytes(b"x")
    for number in range(10):  # as many ways as 10 to the power of 40
        (tmp_path / f"a/l{number}").symlink_to(tmp_path / "a")
    assert [Path(uri).name for uri in listing(f"{tmp_path}/{pattern}")] == ["v.mp4"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files at several depths, some of them hidden."""
    top = tmp_path_factory.mktemp("tree")
    for name in ("a/b1/v.mp4", "a/.h/v.mp4", "b1/b2/b3/w.mp4", "v.mp4", ".v.mp4", "b2/a/x"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"x")
    return top


@given(parts=st.lists(st.sampled_from(["**", "*", "a", "b?", "[ab]*", ".*", "*.mp4"]), min_size=1, max_size=4))
def test_a_glob_matches_as_pythons_does(tree: Path, parts: list[str]) -> None:
    pattern = "/".join([str(tree), *parts])
    ours, theirs = glob_paths.expand(pattern), glob.iglob(pattern, recursive=True)
    assert {*filter(os.path.isfile, ours)} == {*filter(os.path.isfile, theirs)}


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_file_lists_an_address_per_line(tmp_path: Path, encoding: str) -> None:
    lines = "a.mp4\r\n\r\n  /v/ü b.mp4 \r\ns3://films/c.mp4\r\n/v/Ã\x85ngstrom.mp4\n/v/a\u2028b.mp4\r./a.mp4"
    (tmp_path / "list.txt").write_bytes(lines.encode(encoding))
    listing = manifest.examine(str(tmp_path / "list.txt"), Params()).listing
    assert listing is not None
    odd = ["/v/Ã\x85ngstrom.mp4", "/v/a\u2028b.mp4"]
    assert listing.uris == [f"{tmp_path}/a.mp4", "/v/ü b.mp4", "s3://films/c.mp4", *odd]
    assert listing.left_out == {"duplicate": 1}


def test_a_list_names_its_uris_once_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("\ufeff" + json.dumps(["/z.mp4", "rel.mp4", "/a.mp4", "/z.mp4", "s3://b/k.mp4"]), encoding="utf-8")
    assert listing(str(path)) == ["/z.mp4", str(tmp_path / "rel.mp4"), "/a.mp4", "s3://b/k.mp4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "the list ends within, after 0 entries"),
        ('["/a.mp4"', "no comma or ] after entry 0 of the list"),
        ('["/a.mp4" "/b.mp4"]', "no comma or ] after entry 0 of the list"),
        ('["/a.mp4",]', "entry 1 of the list is no uri"),
        ('["/a.mp4"] ["/b.mp4"]', "more after the list"),
        ('["/a\\x.mp4"]', "Invalid"),
        ('["/a.mp4', "Unterminated string"),
        ('["/a.mp4", 3]', 'entry 1 of the list is no uri: "3'),
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


@pytest.mark.parametrize("name", ["gone", "gone/*.mp4", "empty", "notes.doc"])
def test_a_manifest_of_nothing_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.doc").write_bytes(b"x")
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
