"""takedown: what it refuses before Spark starts, in one line and with nothing changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import cli, takedown
from tests.support import small_output


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows."""
    return small_output.write(tmp_path_factory.mktemp("output"))


def refusal(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str, status: int = 2
) -> str:
    """The line with which a takedown is refused where Spark could not start."""
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    before = sorted((path, path.stat().st_mtime_ns) for path in output.rglob("*"))
    assert cli.main(["takedown", "--output", str(output), *words]) == status
    assert sorted((path, path.stat().st_mtime_ns) for path in output.rglob("*")) == before
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    return printed.err.removeprefix("reelmill: ").rstrip("\n")


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("delete from videos", "only queries are answered: "),
        ("with x as (select 1) insert into videos select * from x", "only queries are answered: "),
        ("select video_id from videos; drop table videos", "one query at a time"),
        ("select reflect('java.lang.System', 'exit', 1) as video_id", "reflect calls Java, which no query may"),
        ("select * from text.`/etc/passwd`", "no table text.`/etc/passwd`: "),
        ("select * from read_files('/etc')", "read_files() may not stand for a table: "),
        ("show tables", "a query is needed: SELECT, WITH or VALUES"),
        ("select video_id from vidoes", "no table or view vidoes; did you mean videos?"),
        ("select video_id from", "Expected table name but got the end at line 1, column 20"),
        (" ; ", "an empty query"),
    ],
)
def test_a_query_only_asks(
    query: str,
    line: str,
    dry_run: bool,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["--dry-run"] if dry_run else []
    assert refusal(output, capsys, monkeypatch, *words, "--sql", query).startswith(f"--sql: {line}")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--", "--dry-run"], "takedown: --dry-run looks like an option; write a file of that name as ./--dry-run"),
        (["/videos/a.mp4", "--", "-x"], "takedown: -x looks like an option; write a file of that name as ./-x"),
        (["s3://bucket/day/"], "takedown: s3://bucket/day/ is a folder, no video: "),
        (["{folder}"], "takedown: {folder} is a folder, no video: "),
        (["--exports", "{folder}", "{folder}"], "takedown: {folder} is a folder, no video: "),
    ],
)
def test_a_name_that_can_mean_no_video_is_refused(
    words: list[str],
    line: str,
    output: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = [word.format(folder=tmp_path) for word in words]
    assert refusal(output, capsys, monkeypatch, *given, status=3).startswith(line.format(folder=tmp_path))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "name videos by id or uri, or give --sql, one of both"),
        (["/a.mp4", "--sql", "select 1"], "name videos by id or uri, or give --sql, one of both"),
        (["--lift", "/a.mp4", "--reason", "x"], "--lift: takes ids or addresses, and --dry-run"),
        (["--lift", "--sql", "select video_id from videos"], "--lift: takes ids or addresses, and --dry-run"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str],
    line: str,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert line in refusal(output, capsys, monkeypatch, *words)


def test_an_export_goes_by_one_name_however_it_is_given() -> None:
    given = ("dbfs:/frames", "file:///x/sets", "s3://bucket/sets/", "/x//sets/")
    expected = ("/dbfs/frames", "/x/sets", "s3://bucket/sets", "/x/sets")
    assert takedown.Options(output="out", exports=given).folders == expected
