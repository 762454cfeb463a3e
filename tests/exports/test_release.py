"""release.json: what was asked for can be asked again; a folder takes no other export."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from jobs.config.errors import UsageError
from jobs.config.settings import Settings, load
from jobs.exports import release
from jobs.exports.options import Options
from jobs.queries import statement
from udfs.exports.shards import Summary
from udfs.storage.settings import Params


def asked(*overrides: str, **options: Any) -> release.Request:
    """What a command line asks for."""
    given = {"output": "", "to": "x", "format": "parquet"} | options
    return release.request(Options(**given), load([], list(overrides)))


def begin(to: Path, wanted: release.Request) -> None:
    """What an export that was begun has left in its folder."""
    settings = wanted.settings(load([], []))
    release.write(
        str(to),
        {"format": wanted.format, "query": wanted.query, "tables": {}, "settings": as_json(settings)},
        Params(),
    )


def as_json(settings: Settings) -> dict[str, Any]:
    """The settings as a release has them."""
    return dict(json.loads(TypeAdapter(dict).dump_json(asdict(settings))))


def test_a_release_says_all_that_was_asked(tmp_path: Path) -> None:
    wanted = asked(
        "export.webdataset.shard_clips=7",
        "export.where=height > 4",
        "filter.aesthetic_reduction=mean",
        format="webdataset",
    )
    begin(tmp_path, wanted)
    assert asked(format=None, release=str(tmp_path / "release.json")) == wanted


def test_a_release_of_before_frames_had_a_section_is_taken_up(tmp_path: Path) -> None:
    begin(tmp_path, asked("export.frames.fps=[3]"))
    path = tmp_path / "release.json"
    there = json.loads(path.read_text())
    exported = there["settings"]["export"]
    del exported["paths"]
    kept = exported.pop("frames")
    exported |= {name: kept[name] for name in ("policy", "fps", "target_res", "encoding", "quality")}
    path.write_text(json.dumps(there))
    assert asked(format=None, release=str(path)) == asked("export.frames.fps=[3]", "export.paths=absolute")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("export.paths=none", "export.paths"),
        ("export.where=height > 4", "query, export.where"),
        ("export.parquet.rows_per_file=5", "export.parquet"),
        ("filter.aesthetic_reduction=mean", "filter.aesthetic_reduction"),
    ],
)
def test_a_folder_takes_no_second_export(tmp_path: Path, override: str, named: str) -> None:
    begin(tmp_path, asked())
    assert release.begun(str(tmp_path), asked(), Params()) is not None
    with pytest.raises(UsageError, match=f"with another {named};"):
        release.begun(str(tmp_path), asked(override), Params())


@pytest.mark.parametrize(
    ("format", "what", "view"),
    [("nemo", "auto", "current_clips"), ("parquet", "auto", "curated"), ("parquet", "videos", "current_videos")],
)
def test_without_a_query_settings_say_which_rows(format: str, what: str, view: str) -> None:
    assert asked(f"export.what={what}", format=format).query == f"SELECT * FROM (SELECT * FROM {view}\n) WHERE true"


@pytest.mark.parametrize("query", ["select uri from clips", "select uri from clips;", "select uri from clips ;\n"])
def test_a_query_may_end_with_a_semicolon(query: str) -> None:
    told = asked(query=query).query
    assert statement.query_of("the query", told).text == told
    assert ";" not in told


def test_parts_that_were_made_again_are_compared_by_their_hashes() -> None:
    old = {"parts": [{"part": "a", "sha256": "1"}, {"part": "b", "sha256": "2"}]}
    new = {"parts": [{"part": "a", "sha256": "1"}, {"part": "b", "sha256": "3"}, {"part": "c", "sha256": "4"}]}
    assert release.differing(old, new) == ["b", "c"]


def test_a_part_that_only_one_release_has_differs() -> None:
    parts = {"parts": [{"part": "a", "sha256": "1"}]}
    assert release.differing(parts, {}) == release.differing({}, parts) == ["a"]
    assert release.differing(parts, parts) == []


def test_a_folder_without_a_release_is_free(tmp_path: Path) -> None:
    assert release.begun(str(tmp_path / "none"), asked(), Params()) is None


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{", "Expecting property name"),
        ("[]", "is no release"),
        ('{"format": "nemo"}', "is no release"),
        ('{"format": "zip", "query": "", "tables": {}, "settings": {}}', "is no release"),
        ('{"format": "nemo", "query": "", "tables": {}, "settings": []}', "is no release"),
        ('{"format": "nemo", "query": "", "tables": {}, "settings": {"export": []}}', "is no release"),
        ('{"format": "nemo", "query": "", "tables": {"clips": "0 join x"}, "settings": {}}', "is no release"),
        ('{"format": "nemo", "query": "", "tables": {"clips": true}, "settings": {}}', "is no release"),
        ('{"format": "nemo", "query": 1, "tables": {}, "settings": {}}', "is no release"),
        ('{"format": "nemo", "query": "", "tables": {}, "settings": {}}', "its settings are not those of this version"),
    ],
)
def test_a_file_that_is_no_release_is_refused_by_its_name(tmp_path: Path, content: str, line: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=f"^{path}: {line}"):
        asked(format=None, release=str(path))


@pytest.mark.parametrize(
    "options",
    [{"format": "nemo"}, {"format": None, "query": "select 1"}, {"format": None, "as_of": "2026-05-01"}],
    ids=["format", "query", "as of"],
)
def test_a_release_is_not_combined_with_what_it_says_itself(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^--release says what to export"):
        asked(release="/nowhere.json", **options)


def test_a_finished_release_counts_its_parts_in_order() -> None:
    parts = {
        "00001": Summary("b.tar", 3, 1, 300, "bb", {"num_failed": 2}),
        "00000": Summary("a.tar", 4, 1, 400, "aa", {"num_failed": 0}),
    }
    done = release.finished({"format": "webdataset"}, parts)
    assert done["format"] == "webdataset"
    assert done["counts"] == {"num_clips": 7, "num_files": 2, "num_bytes": 700, "num_failed": 2}
    assert [(part["part"], part["sha256"]) for part in done["parts"]] == [("00000", "aa"), ("00001", "bb")]
    assert all("note" not in part for part in done["parts"])


def test_the_code_of_a_checkout_is_its_commit() -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert (release.revision() or "").removesuffix("-dirty") == head.stdout.strip()
