"""export: what cannot be exported is refused in one line, before Spark starts."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import cli, export
from jobs.config.errors import UsageError
from jobs.exports import folders
from udfs.export import Params


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder that looks like an output; Spark would find nothing in it."""
    (tmp_path / "output/tables/captions").mkdir(parents=True)
    pq.write_table(pa.table({"model": ["org/mine@0123abc"]}), tmp_path / "output/tables/captions/0.parquet")
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
        (
            ("--format", "nemo", "--set", 'export.nemo.caption_models=["qwen25"]'),
            "no model qwen25: did you mean qwen2.5?",
        ),
    ],
)
def test_wrong_usage(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    assert said in told(output, capsys, monkeypatch, *words)


@pytest.mark.parametrize("below", ["", "/", "/tables/clips", "/exports/a", "/../link/media/x"])
def test_nothing_is_exported_into_the_output(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (output.parent / "link").symlink_to(output)
    line = told(output, capsys, monkeypatch, "--format", "parquet", "--to", f"{output}{below}")
    assert "lies in the output" in line
    assert {path.name for path in output.rglob("*")} == {"tables", "captions", "0.parquet"}


@pytest.mark.parametrize(
    ("to", "output", "is_inside"),
    [
        ("s3://bucket/out", "s3a://bucket/out", True),
        ("s3a://bucket/out/sets/a", "s3://bucket/out", True),
        ("s3://bucket/output", "s3://bucket/out", False),
        ("s3://bucket/sets", "s3://bucket/out", False),
        ("/dbfs/out/a", "dbfs:/out", True),
        ("/dbfs/sets", "dbfs:/out", False),
    ],
)
def test_an_output_in_a_store_is_told_from_what_lies_beside_it(to: str, output: str, *, is_inside: bool) -> None:
    with pytest.raises(UsageError, match="lies in the output") if is_inside else nullcontext():
        folders.refuse_inside(to, output)


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("delete from videos", "only queries are answered: "),
        ("with x as (select 1) insert into videos select * from x", "only queries are answered: "),
        ("select 1; drop table videos", "one query at a time"),
        ("select 1) union (select 2", "Invalid expression / Unexpected token at line 1, column 9"),
        ("select reflect('java.lang.System', 'exit', 1)", "reflect calls Java, which no query may"),
        ("select secret('a', 'b')", "secret reads what is no table, which no query may"),
        ("select * from text.`/etc/passwd`", "no table text.`/etc/passwd`: "),
        ("select * from read_csv('/etc/passwd')", "read_csv() may not stand for a table: "),
        ("describe clips", "a query is needed: SELECT, WITH or VALUES"),
        ("select * from clps", "no table or view clps; did you mean clips?"),
    ],
)
def test_queries_only_ask(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, query: str, line: str
) -> None:
    words = ("--format", "parquet", "--query", query)
    assert told(output, capsys, monkeypatch, *words).startswith(f"reelmill: --query: {line}")
    release = output.parent / "release.json"  # one from elsewhere may hold anything
    content = {"format": "parquet", "query": query, "tables": {}}
    release.write_text(json.dumps(content | {"settings": {"export": asdict(Params()), "filter": {}}}))
    assert told(output, capsys, monkeypatch, "--release", str(release)).startswith(f"reelmill: {release}: {line}")


@pytest.mark.parametrize("format", ["parquet", "frames"])
@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("width > (select count(*) from text.`/etc/passwd`)", "no table text.`/etc/passwd`: "),
        ("reflect('java.lang.System', 'exit', 1) = 'x'", "reflect calls Java, which no query may"),
        ("true; drop table clips", "one query at a time"),
        ("true) union (select 1", "Invalid expression / Unexpected token "),
    ],
)
def test_conditions_only_ask(
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    line: str,
    format: str,
) -> None:
    words = ("--format", format, "--set", f"export.where={json.dumps(where)}")
    assert told(output, capsys, monkeypatch, *words).startswith(f"reelmill: export.where: {line}")


def test_a_format_may_be_spelled_otherwise_and_a_wrong_one_names_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def format_of(word: str) -> str:
        return str(cli.parse(["export", "--output", "o", "--to", "t", "--format", word]).format)

    assert [format_of(word) for word in ("NeMo", "wds", "hf")] == ["nemo", "webdataset", "huggingface"]
    with pytest.raises(SystemExit):
        format_of("parket")
    assert "no parket: did you mean parquet?" in capsys.readouterr().err


def test_a_package_that_is_missing_is_named(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert "pip install 'reelmill[export]'" in told(output, capsys, monkeypatch, "--format", "lance")
