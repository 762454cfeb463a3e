"""The command line: wrong usage ends before Spark starts, and words that are none name the nearest."""

from __future__ import annotations

import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from jobs import cli, status
from udfs.core.errors import MediaError

IMPATIENT = ("--set=sources.retry_s=0.1", "--set=sources.s3_region=us-east-1", "--set=sources.s3_anonymous=true")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["split", "--output", "{out}", "--set", "split.clip_len=3"],
            "no setting split.clip_len; did you mean split.clip_len_s?",
        ),
        (["clip", "--output", "gs://bucket/x"], "no reader for gs:// addresses"),
        (
            ["clip", "--output", "s3://bucket/x", "--set=sources.s3_endpoint=http://127.0.0.1:9", *IMPATIENT],
            "EndpointConnectionError",
        ),
        (["ingest", "--output", "{out}", "--manifest", "{out}/none"], "no such file"),
        (["ingest", "--output", "{out}", "--manifest", "{out}"], "no video there"),
        (["ingest", "--output", "{out}", "--manifest", ""], "--manifest an empty name"),
        (["ingest", "--output", "", "--manifest", "{out}"], "--output: an empty name"),
        (["ingest", "--output", " ", "--manifest", "{out}"], "--output: an empty name"),
        (["sql", "--output", "{out}", "select 1"], "no tables here"),
        (
            ["clip", "--output", "{out}", "--set", "clip.encoder=libopenh264", "--set", "clip.ffmpeg=/nowhere"],
            "clip.encoder: ",
        ),
        (
            ["clip", "--output", "{out}", "--set", "clip.encoder=h264_nvenc", "--set", "clip.preset=slow"],
            "clip: preset slow: ",
        ),
    ],
)
def test_a_wrong_command_is_one_line_and_starts_no_spark(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")  # Spark could not start
    assert cli.main([argument.format(out=tmp_path) for argument in arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pipe.jsonl", "a pipe or a device, not a regular file"),
        ("pipe.json", "a pipe or a device, not a regular file"),
        ("zero.csv", "a pipe or a device, not a regular file"),
        ("loop.csv", "no such file or folder"),
        ("loop/videos", "no such file or folder"),
        ("deep.json", "entry 0 of the list is no uri"),
        ("numbers.json", "entry 1 of the list is no uri"),
        ("large.json", "read at once: write it as JSON lines (.jsonl), CSV or Parquet"),
        ("loops/**/*.mp4", "no video there"),
        ("loops", "no video there"),
    ],
)
def test_a_manifest_that_never_ends_is_one_line(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    for pipe in ("pipe.jsonl", "pipe.json"):
        os.mkfifo(tmp_path / pipe)
    for link in ("loop", "loop.csv"):
        (tmp_path / link).symlink_to(tmp_path / link)
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "deep.json").write_text("[" * 1_000_000)
    (tmp_path / "numbers.json").write_text('["/a.mp4", ' + "5," * 1_000_000)
    (tmp_path / "large.json").write_text("[")
    os.truncate(tmp_path / "large.json", 1 << 30)  # holes take no disk
    (tmp_path / "loops").mkdir()
    for number in range(10):
        (tmp_path / f"loops/{number}").symlink_to(tmp_path / "loops")
    assert cli.main(["curate", "--manifest", str(tmp_path / name), "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert len(told) < 1500
    assert not (tmp_path / "out").exists()


def ended(arguments: list[str]) -> int:
    """The exit status of a command that argparse ends."""
    with pytest.raises(SystemExit) as e:
        cli.main(arguments)
    return int(str(e.value.code or 0))


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["--version"]) == 0
    assert capsys.readouterr().out == f"reelmill {version('reelmill')}\n"


@pytest.mark.parametrize("arguments", [["help"], ["--help"]])
def test_help_lists_every_job(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(arguments) == 0
    out = capsys.readouterr().out
    assert all(f"\n    {job} " in out for job in cli.JOBS)


def test_help_of_a_job_is_that_of_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["help", "export"]) == 0
    assert "usage: reelmill export" in capsys.readouterr().out


def test_without_a_job_the_help_is_printed_as_for_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "curate" in told.err


@pytest.mark.parametrize(("word", "job"), [("curat", "curate"), ("dedupe", "dedup"), ("exprot", "export")])
def test_a_job_that_is_none_is_told_the_nearest_one(word: str, job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended([word, "--output", "o"]) == 2
    assert capsys.readouterr().err.endswith(f"reelmill: error: no job {word}; did you mean {job}?\n")


def test_an_unknown_option_names_the_nearest_one_of_its_job(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        cli.main(["curate", "videos", "-o", "out", "--limt", "3"])
    assert e.value.code == 2
    line = "reelmill curate: error: unrecognized arguments: --limt 3; did you mean --limit?\n"
    assert capsys.readouterr().err.endswith(line)


@pytest.mark.parametrize(
    "query", ["-- what\nSELECT 1", "--what\nSELECT\n1", "--\n--\tx = 2\nSELECT\t1", "--limit\nSELECT\t1"]
)
def test_a_statement_may_begin_with_a_comment(query: str) -> None:
    for given in (["sql", "-o", "out", query], ["sql", query, "-o", "out"]):
        assert cli.parse(given).query.lstrip() == query
    assert cli.parse(["export", "-o", "out", "--to", "x", "--query", query]).query.lstrip() == query


@pytest.mark.parametrize("arguments", [["curate", "videos/", "-o", "out"], ["curate", "-o", "out", "-m", "videos/"]])
def test_a_manifest_is_given_by_its_place_or_name(arguments: list[str]) -> None:
    values = cli.parse(arguments)
    assert (values.job, values.manifest, values.output) == ("curate", "videos/", "out")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_jobs_and_their_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert ended(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in (*cli.JOBS, "retry-failed", "as-of"))


@pytest.mark.skipif(find_spec("shtab") is not None, reason="shtab is installed")
def test_completion_without_its_package_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--print-completion", "bash"]) == 2
    assert capsys.readouterr().err == "reelmill: --print-completion needs shtab: pip install 'reelmill[completion]'\n"


@pytest.mark.parametrize(
    "arguments", [["curat"], ["split"], ["ingest", "--output", "o", "--manifest", "m", "--limit", "0"]]
)
def test_a_command_that_is_none_has_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        cli.main(arguments)
    assert e.value.code == 2
    assert "usage: reelmill" in capsys.readouterr().err


def test_a_store_that_fails_where_no_spark_is_started_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(_: object) -> None:
        raise MediaError("UNREACHABLE", "503 SlowDown, at the last of 9 tries")

    monkeypatch.setattr(status, "quick", quick)
    assert cli.main(["status", "-o", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        "reelmill: a file or store that is needed: UNREACHABLE: 503 SlowDown, at the last of 9 tries\n"
    )
