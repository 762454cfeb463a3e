"""export: what cannot be exported is refused before Spark starts; a folder takes one export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs import cli, export
from jobs.config.errors import UsageError
from jobs.config.settings import load
from jobs.exports import release
from udfs.storage.settings import Params


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder that looks like an output; Spark would find nothing in it."""
    (tmp_path / "output/tables").mkdir(parents=True)
    return tmp_path / "output"


def told(output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """The line that an export that is refused says."""
    monkeypatch.setenv("JAVA_HOME", "/nowhere")  # Spark could not start
    assert cli.main(["export", "--output", str(output), "--to", str(output.parent / "to"), *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--format: say which, or name a release"),
        (("--format", "frames", "--query", "select 1"), "takes neither --query nor --as-of"),
        (("--release", "/nowhere.json"), "/nowhere.json: No such file or directory"),
        (("--release", "/nowhere.json", "--format", "nemo"), "--release says what to export"),
        (("--format", "parquet", "--to", "http://host/x"), "--to http://host/x: http(s) addresses can only be read"),
        (
            ("--format", "webdataset", "--set", "export.webdataset.shard_mb=0"),
            "export.webdataset.shard_mb: Input should be greater",
        ),
        (
            ("--format", "webdataset", "--set", "export.webdataset.shard_m=1"),
            "did you mean export.webdataset.shard_mb?",
        ),
    ],
)
def test_wrong_usage(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    assert said in told(output, capsys, monkeypatch, *words)


def test_a_package_that_is_missing_is_named(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert "pip install 'reelmill[export]'" in told(output, capsys, monkeypatch, "--format", "lance")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"format": "nemo"}', '{"format": "zip", "query": "", "tables": {}, "settings": {}}']
)
def test_a_file_that_is_no_release_is_refused(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / "r.json").write_text(content)
    assert str(tmp_path / "r.json") in told(output, capsys, monkeypatch, "--release", str(tmp_path / "r.json"))


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01"])
def test_a_time_that_is_none_is_a_wrong_usage(output: Path, capsys: pytest.CaptureFixture[str], time: str) -> None:
    with pytest.raises(SystemExit) as e:
        cli.main(["export", "--output", str(output), "--to", "x", "--format", "parquet", "--as-of", time])
    assert e.value.code == 2
    assert "is no time: write it as" in capsys.readouterr().err


def asked(*overrides: str, **options: Any) -> release.Request:
    """What a command line asks for."""
    given = {"output": "", "to": "x", "format": "parquet"} | options
    return release.request(export.Options(**given), load([], list(overrides)))


def begin(to: Path, wanted: release.Request) -> None:
    """What an export that was begun has left in its folder."""
    settings = wanted.settings(load([], []))
    release.write(
        str(to),
        {"format": wanted.format, "query": wanted.query, "tables": {}, "settings": json.loads(told_of(settings))},
        Params(),
    )


def told_of(settings: Any) -> str:
    from dataclasses import asdict

    from pydantic import TypeAdapter

    return TypeAdapter(dict).dump_json(asdict(settings)).decode()


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
    exported |= exported.pop("frames")
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


def test_parts_that_were_made_again_are_compared_by_their_hashes() -> None:
    old = {"parts": [{"part": "a", "sha256": "1"}, {"part": "b", "sha256": "2"}]}
    new = {"parts": [{"part": "a", "sha256": "1"}, {"part": "b", "sha256": "3"}, {"part": "c", "sha256": "4"}]}
    assert release.differing(old, new) == ["b", "c"]
