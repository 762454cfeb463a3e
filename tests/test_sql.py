"""sql: without Spark in a second, with it where it must be; formats, errors and exit statuses."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import cli, sql
from jobs.queries import ask
from tests.support import s3, small_output

TRY = """
import sys
from jobs import cli
status = cli.main(sys.argv[1:])
loaded = {"pyspark", "py4j", "delta", "pandas", "cv2", "av"} & set(sys.modules)
assert not loaded, loaded
sys.exit(status)
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows."""
    return small_output.write(tmp_path_factory.mktemp("output"))


def started(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """What the command gives in a process of its own, where Java is not to be had."""
    return subprocess.run(
        [sys.executable, "-m", "jobs", "sql", *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        env={"PATH": "/usr/bin:/bin", "JAVA_HOME": "/nowhere", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Status, output and errors of a command in this process."""
    status = cli.main(["sql", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_no_spark_and_no_code_of_stages_is_loaded(output: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRY, "sql", "-o", str(output), "select count(*) as n from curated"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "n\n2\n", "")


@pytest.mark.upkeep
def test_thirty_processes_end_well(output: Path) -> None:
    ends = {
        (done.returncode, done.stdout, done.stderr)
        for done in (started("-o", str(output), "select count(*) as n from clips") for _ in range(30))
    }
    assert ends == {(0, "n\n5\n", "")}


def test_a_wrong_query_has_status_2_in_its_own_process(output: Path) -> None:
    done = started("-o", str(output), "select uris from clips")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "reelmill: sql: no column uris; did you mean uri?\n"


@pytest.mark.parametrize("format", ["table", "csv", "json", "markdown"])
def test_a_terminal_obeys_no_column_head_and_no_value(format: str, output: Path) -> None:
    query = "select caption as `\x1b[1mhead`, '\x1b[2J' as value from captions"
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "jobs", "sql", "-o", str(output), "--format", format, query]
    done = subprocess.run(command, stdout=follower, stderr=subprocess.PIPE, check=False)
    shown = os.read(leader, 1 << 16)
    os.close(leader)
    os.close(follower)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"[1mhead" in shown
    assert b"[2J" in shown
    assert b"\x1b" not in shown


def test_a_query_comes_by_standard_input_too(output: Path) -> None:
    done = started("-o", str(output), "--format", "csv", stdin="select clip_id\nfrom verdicts where kept;\n")
    assert (done.returncode, sorted(done.stdout.split())) == (0, ["c1", "c3", "clip_id"])


def test_a_reader_may_stop(output: Path) -> None:
    query = "select * from range(1000000)"
    command = [sys.executable, "-m", "jobs", "sql", "-o", str(output), "--format", "csv", query]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(100)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    process.stderr.close()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_long_query_ends_at_once(number: int, status: int, output: Path) -> None:
    query = "select count(*) from range(3000000) a, range(3000000) b where md5(concat(a.id, b.id)) = 'x'"
    command = [sys.executable, "-m", "jobs", "sql", "-o", str(output), query]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=8)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.count("\n")) == (status, "", 1)


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("drop table clips", "sql: only queries are answered: SELECT, WITH, VALUES, DESCRIBE, SHOW and EXPLAIN"),
        ("select * from clps", "sql: no table or view clps; did you mean clips?"),
        ("select typeof(uri) from clips", "--engine duckdb cannot answer this: the function typeof"),
        ("selct 1", "sql: only queries are answered: SELECT, WITH, VALUES, DESCRIBE, SHOW and EXPLAIN"),
        ("", "sql: an empty query"),
    ],
)
def test_a_wrong_query_is_one_line(query: str, line: str, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "-o", str(output), "--engine", "duckdb", query) == (2, "", f"reelmill: {line}\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--schema", "films"], "--engine duckdb: Spark reads the tables of a catalog (--schema)"),
        (["--set", "sources.s3_endpont=x"], "--set: no setting sources.s3_endpont; did you mean sources.s3_endpoint?"),
        (["--set", "clip.crf=x"], "clip.crf: "),
        (["--set", "filter.aesthetic_reduction=max"], "filter.aesthetic_reduction: Input should be 'min' or 'mean'"),
        (["--conf", "/nowhere.toml"], "--conf /nowhere.toml: No such file or directory"),
    ],
)
def test_wrong_settings_are_one_line(
    arguments: list[str], line: str, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, "-o", str(output), "--engine", "duckdb", *arguments, "select 1")
    assert (status, out) == (2, "")
    assert err.startswith(f"reelmill: {line}")
    assert err.count("\n") == 1


def test_settings_of_stages_are_taken(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--set", "split.method=content", "--set", "filter.aesthetic_reduction=mean")
    assert said(capsys, "-o", str(output), *given, "select 1 as one") == (0, "one\n  1\n", "")


@pytest.mark.parametrize(
    ("given", "score"),
    [((), 5.0), (("--set", "filter.aesthetic_reduction=min"), 3.0), (("--set", "filter.black=true"), 5.0)],
)
def test_scores_of_frames_are_reduced_as_in_the_last_run_of_filter(
    given: tuple[str, ...], score: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = small_output.write_reduced(tmp_path)
    shown = said(capsys, "-o", str(output), "--format", "json", *given, "select aesthetic_score from curated")
    assert json.loads(shown[1]) == [{"aesthetic_score": score}]


def test_an_output_without_tables_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "-o", str(tmp_path), "select 1") == (2, "", f"reelmill: --output {tmp_path}: no tables here\n")


def test_formats_hold_the_same_rows(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "select clip_id, reasons from verdicts order by clip_id limit 2"
    shown = {name: said(capsys, "-o", str(output), "--format", name, query)[1] for name in ("table", "csv", "json")}
    assert shown["table"].splitlines()[-1].split(maxsplit=1) == ["c2", "['motion', 'blur']"]
    assert [*csv.reader(io.StringIO(shown["csv"]))][-1] == ["c2", '["motion", "blur"]']
    assert json.loads(shown["json"])[-1] == {"clip_id": "c2", "reasons": ["motion", "blur"]}


def test_a_plan_is_printed_as_it_is(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "-o", str(output), "explain select count(sha256) from curated")
    assert (status, err) == (0, "")
    assert out.count("\n") > 10


def test_an_output_on_s3(output: Path, s3_server: s3.Server, capsys: pytest.CaptureFixture[str]) -> None:
    for path in output.rglob("*"):
        if path.is_file():
            s3_server.put(f"s3://queries/out/{path.relative_to(output)}", path)
    settings = (f"--set=sources.s3_endpoint={s3_server.url}", "--set=sources.s3_region=us-east-1")
    query = "select clip_id, video_uri, preview from clip_origins order by clip_id limit 1"
    status, out, err = said(capsys, "-o", "s3://queries/out", *settings, "--format", "csv", query)
    assert (status, err) == (0, "")
    assert out.splitlines()[1] == "c1,/v/park.mp4,/out/media/previews/c1.webp"
    assert said(capsys, "-o", "s3://queries/out", *settings, "select count(*) as n from aesthetics")[1] == "n\n0\n"


@pytest.mark.parametrize("variable", ask.SESSIONS)
def test_spark_answers_where_its_session_is_there(
    variable: str, output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    assert sql.quick(sql.Options(output=str(output), query="select 1")) is None
    assert capsys.readouterr().err == "reelmill: Spark answers: its session is there\n"
    assert sql.quick(sql.Options(output=str(output), query="select 1", engine="duckdb")) == 0


@pytest.mark.spark
@pytest.mark.parametrize(
    "query",
    [
        "select count(*) as n from verdicts",
        "select count(*) as n from curated where size(previews) > 0",
        "select sum(num_transcoded) as n from clip_stats",
    ],
)
def test_tables_and_views_of_a_run_are_asked(
    spark: SparkSession, curated: Path, query: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "-o", str(curated), query) == (0, "n\n3\n", "")


@pytest.mark.spark
def test_spark_answers_what_duckdb_cannot(
    output: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, "-o", str(output), "select typeof(duration_s) as t from clips limit 1")
    assert (status, out) == (0, "     t\ndouble\n")
    assert err == "reelmill: Spark answers, not DuckDB: the function typeof\n"


@pytest.mark.spark
def test_spark_answers_where_it_is_asked(output: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    query = "select clip_id, reasons, count(*) over () from verdicts order by clip_id limit 2"
    for name in ("table", "csv", "json", "markdown"):
        asked = ("-o", str(output), "--format", name)
        assert said(capsys, *asked, "--engine", "spark", query) == said(capsys, *asked, "--engine", "duckdb", query)


@pytest.mark.spark
@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("drop table clips", "sql: only queries are answered: SELECT, WITH, VALUES, DESCRIBE, SHOW and EXPLAIN"),
        (
            "select * from parquet.`{output}/tables/clips`",
            "sql: no table parquet.`{output}/tables/clips`: a query names",
        ),
        ("select uris from clips", "sql: no column uris; did you mean uri?"),
        ("select cuont(uri) from clips", "sql: [UNRESOLVED_ROUTINE]"),
        ("select reflect('java.lang.System', 'getenv')", "sql: reflect calls Java"),
    ],
)
def test_spark_refuses_the_same(
    query: str, line: str, output: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, "-o", str(output), "--engine", "spark", query.format(output=output))
    assert (status, out) == (2, "")
    assert err.startswith("reelmill: " + line.format(output=output))
    assert err.count("\n") == 1
