"""Options of export: which rows go where, as the command line says it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs import cli
from jobs.config import arguments
from jobs.exports import files
from jobs.exports.options import FORMATS, Options


def given(*words: str) -> Options:
    """The options of a command line."""
    return arguments.build(Options, cli.parse(["export", "--output", "out", *words]))


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The last line that argparse ends a command with."""
    with pytest.raises(SystemExit) as e:
        given(*words)
    assert e.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_folder_alone_leaves_the_rows_and_the_format_to_settings_or_a_release() -> None:
    options = given("--to", "sets/a")
    assert (options.to, options.dry_run) == ("sets/a", False)
    assert {options.format, options.query, options.as_of, options.release} == {None}


@pytest.mark.parametrize(
    ("to", "folder"),
    [("sets/a/", "{here}/sets/a"), ("/sets/a", "/sets/a"), ("s3://bucket/a/", "s3://bucket/a")],
)
def test_the_folder_has_the_name_that_every_process_knows(
    to: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert given("--to", to).folder == folder.format(here=tmp_path)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-05-01T05:30", datetime(2026, 5, 1, 5, 30, tzinfo=UTC)),
        ("2026-05-01T05:30+02:00", datetime(2026, 5, 1, 3, 30, tzinfo=UTC)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_is_in_utc(text: str, time: datetime) -> None:
    assert given("--to", "a", "--as-of", text).as_of == time


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01"])
def test_a_time_that_is_none_is_a_wrong_usage(time: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no time: write it as" in refusal(capsys, "--to", "x", "--format", "parquet", "--as-of", time)


def test_an_unknown_format_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "--to", "a", "--format", "zip")
    assert "zip" in line
    assert all(name in line for name in FORMATS)


def test_a_place_to_write_to_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "--format", "nemo").endswith("the following arguments are required: --to")


def test_every_format_but_frames_has_a_writer() -> None:
    assert {*files.FORMATS} == {*FORMATS} - {"frames"}
