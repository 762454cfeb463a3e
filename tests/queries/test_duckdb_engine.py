"""DuckDB over Delta tables: what is opened, how old tables are read, and what no query can reach."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from sqlglot import parse_one

from jobs.config.errors import TableError, UsageError
from jobs.lake import views
from jobs.queries import delta_source, statement
from jobs.queries.dialect import UntranslatedError
from jobs.queries.duckdb_engine import Engine
from jobs.queries.statement import Statement
from schemas import TABLES
from tests.support import small_output
from udfs.storage.settings import Params as Sources


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows; a test that changes it works on a copy."""
    return small_output.write(tmp_path_factory.mktemp("written"))


@pytest.fixture
def output(written: Path, tmp_path: Path) -> Path:
    """A copy of the output."""
    return Path(shutil.copytree(written, tmp_path / "output"))


def rows(output: Path | str, query: str, reduction: str = "min") -> list[tuple[Any, ...]]:
    """The rows of a query."""
    return [*Engine(str(output), Sources(), reduction).answer(statement.parse(query)).rows]


def test_current_rows_are_those_of_the_last_run(written: Path) -> None:
    assert rows(written, "SELECT clip_id FROM clips ORDER BY 1") == [("c1",), ("c2",), ("c3",), ("c4",), ("old",)]
    assert rows(written, "SELECT clip_id FROM current_clips ORDER BY 1") == [("c1",), ("c2",), ("c3",), ("c4",)]
    assert rows(written, "SELECT uri, duration_s FROM current_videos ORDER BY 1") == [
        ("/v/drive.mp4", 12.5),
        ("/v/park.mp4", 30.0),
    ]


def test_every_view_is_answered(written: Path) -> None:
    counts = {view.name: rows(written, f"SELECT count(*) FROM {view.name}")[0][0] for view in views.VIEWS}
    assert {name: counts[name] for name in ("curated", "dropped", "failed", "nemo", "duplicate_groups")} == {
        "curated": 2,
        "dropped": 2,
        "failed": 1,
        "nemo": 4,
        "duplicate_groups": 1,
    }


def test_tables_that_were_never_written_are_empty_and_have_their_columns(written: Path) -> None:
    asked = Engine(str(written), Sources(), "min").answer(statement.parse("SELECT * FROM aesthetics"))
    assert [*asked.heads] == TABLES["aesthetics"].schema.names
    assert [*asked.rows] == []
    assert rows(written, "DESCRIBE aesthetics")[2][:2] == ("score_min", "double")


def test_the_aesthetic_score_is_reduced_as_the_settings_say(output: Path) -> None:
    scores = {"aesthetic_score_min": 1.0, "aesthetic_score_mean": 2.0}
    row = {"clip_id": "c1", "video_id": "v1", "kept": True, "reasons": [], "fingerprint": "filter", "run_id": "1"}
    rows_of_verdicts = pa.Table.from_pylist([row | scores], TABLES["verdicts"].schema)
    write_deltalake(output / "tables" / "verdicts", rows_of_verdicts, mode="overwrite")
    query = "SELECT aesthetic_score FROM curated WHERE clip_id = 'c1'"
    assert rows(output, query, "min") == [(1.0,)]
    assert rows(output, query, "mean") == [(2.0,)]


def test_only_the_tables_that_a_query_needs_are_opened(output: Path) -> None:
    for name in ("signals", "captions", "duplicates", "verdicts", "embeddings"):
        shutil.rmtree(output / "tables" / name)
        (output / "tables" / name / "_delta_log").mkdir(parents=True)
        (output / "tables" / name / "_delta_log" / "00000000000000000000.json").write_text("no json")
    assert rows(output, "SELECT count(*) FROM current_clips") == [(4,)]
    with pytest.raises(TableError, match="table signals: "):
        rows(output, "SELECT count(*) FROM clip_origins")


def test_a_column_of_a_later_release_is_left_out_and_a_missing_one_is_null(output: Path) -> None:
    path = output / "tables" / "verdicts"
    old = DeltaTable(path).to_pyarrow_table().drop_columns(["duplicate_of"])
    shutil.rmtree(path)
    write_deltalake(path, old.append_column("later", pa.array(["kept"] * len(old))))
    asked = Engine(str(output), Sources(), "min").answer(statement.parse("SELECT * FROM verdicts"))
    assert [*asked.heads] == TABLES["verdicts"].schema.names
    assert {row[asked.heads.index("duplicate_of")] for row in asked.rows} == {None}


def test_a_column_that_came_later_is_null_in_older_files(output: Path) -> None:
    path = output / "tables" / "verdicts"
    whole = DeltaTable(path).to_pyarrow_table()
    shutil.rmtree(path)
    write_deltalake(path, whole.slice(0, 2).drop_columns(["duplicate_of"]))
    write_deltalake(path, whole.slice(2), mode="append", schema_mode="merge")
    assert sorted(rows(output, "SELECT clip_id, duplicate_of FROM verdicts")) == [
        *(("c1", None), ("c2", None), ("c3", None)),
        ("c4", "c1"),
    ]


def test_verdicts_of_an_earlier_release_are_counted_and_the_log_says_what_adds_the_rest(
    output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = output / "tables" / "verdicts"
    old = DeltaTable(path).to_pyarrow_table().select(["clip_id", "video_id", "kept", "reasons", "duplicate_of"])
    shutil.rmtree(path)
    write_deltalake(path, old)
    assert rows(output, "SELECT count(*), count(video_uri) FROM curated") == [(2, 0)]
    assert "`filter` or `curate` adds videos, seconds and scores" in caplog.text


def test_an_old_name_of_a_column_is_read(output: Path) -> None:
    path = output / "tables" / "duplicates"
    table = DeltaTable(path).to_pyarrow_table()
    names = ["night" if name == "dedup_run" else name for name in table.column_names]
    shutil.rmtree(path)
    write_deltalake(path, table.rename_columns(names))
    assert rows(output, "SELECT DISTINCT dedup_run FROM duplicates") == [(1,)]


def test_a_column_of_another_type_is_named(output: Path) -> None:
    shutil.rmtree(output / "tables" / "verdicts")
    write_deltalake(output / "tables" / "verdicts", pa.table({"clip_id": ["a"], "kept": ["yes"]}))
    with pytest.raises(TableError, match=r"table verdicts: column kept is string, and this release writes boolean"):
        rows(output, "SELECT * FROM verdicts")


@pytest.mark.parametrize("name", ["a b", "50%", "a#b", "it's", "[x]", "a*b?", "über"])
def test_an_output_may_have_any_name(name: str, written: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(written, tmp_path / name)
    assert rows(moved, "SELECT count(*) FROM curated") == [(2,)]


def test_a_path_that_looks_escaped_is_left_to_spark(written: Path, tmp_path: Path) -> None:
    with pytest.raises(UntranslatedError, match="%xx"):
        rows(shutil.copytree(written, tmp_path / "50%25"), "SELECT count(*) FROM curated")


def test_deleted_rows_stay_deleted(output: Path) -> None:
    DeltaTable(output / "tables" / "clips").delete("clip_id = 'c1'")
    assert rows(output, "SELECT count(*) FROM clips") == [(4,)]


@pytest.mark.parametrize("feature", ["deletionVectors", "columnMapping"])
def test_what_only_spark_reads_is_left_to_spark(feature: str, output: Path) -> None:
    log = output / "tables" / "clips" / "_delta_log" / "00000000000000000001.json"
    versions = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": [feature], "writerFeatures": [feature]}
    log.write_text('{"protocol": ' + repr(versions).replace("'", '"') + "}\n")
    with pytest.raises(UntranslatedError, match=f"the table clips uses {feature} of Delta"):
        rows(output, "SELECT count(*) FROM clips")


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("SELECT clip_ids FROM clips", "sql: no column clip_ids; did you mean clip_id?"),
        ("SELECT c.durations_s FROM curated c", "sql: no column durations_s; did you mean duration_s?"),
        ("SELECT uri FROM clips WHERE kepd", "sql: no column kepd"),
        ("DESCRIBE SELECT nothing_like_it FROM clips", "sql: no column nothing_like_it"),
    ],
)
def test_an_unknown_column_is_named(query: str, line: str, written: Path) -> None:
    with pytest.raises(UsageError) as e:
        rows(written, query)
    assert str(e.value) == line


def test_an_error_of_a_row_is_one_line(written: Path) -> None:
    with pytest.raises(UsageError, match=r"sql: Conversion Error: .*'c1'") as e:
        rows(written, "SELECT CAST(clip_id AS INT) FROM clips")
    assert "\n" not in str(e.value)


def test_what_duckdb_cannot_read_is_left_to_spark_unless_rows_were_given(written: Path) -> None:
    with pytest.raises(UntranslatedError, match="invalid perl operator"):
        rows(written, "SELECT uri RLIKE '^(?!a)' FROM clips")
    answer = Engine(str(written), Sources(), "min").answer(
        statement.parse(
            "SELECT CASE WHEN id < 2900000 THEN id ELSE unix_timestamp(concat('x', id)) END FROM range(3000000)"
        )
    )
    with pytest.raises(UsageError, match=r"Could not parse string .* --engine spark may answer"):
        list(answer.rows)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_parquet('{output}/media/secret.parquet')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '/tmp/reelmill-test-copy.csv'",
        "EXPORT DATABASE '/tmp/reelmill-test-export'",
        "ATTACH '/tmp/reelmill-test.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/etc/passwd']",
        "SET lock_configuration = false",
        "RESET enable_external_access",
        "PRAGMA enable_profiling",
        "CREATE SECRET (TYPE s3)",
        "SELECT * FROM small",
    ],
)
def test_the_connection_itself_reaches_no_files(query: str, output: Path) -> None:
    (output / "media").mkdir()
    shutil.copy(next((output / "tables" / "clips").glob("*.parquet")), output / "media" / "secret.parquet")
    small = pa.table({"a": [1]})  # which DuckDB could find by its name
    assert small.num_rows == 1
    db = Engine(str(output), Sources(), "min")._opened(statement.parse("SELECT * FROM clips"))
    assert db.execute("SELECT count(*) FROM clips").fetchone() == (5,)
    with pytest.raises(duckdb.Error):
        db.execute(query.format(output=output)).fetchall()


def test_what_the_parser_lets_through_is_not_executed(written: Path) -> None:
    sneaked: Any = parse_one("DROP VIEW clips", dialect="duckdb")
    with pytest.raises(UsageError, match="only queries are answered"):
        Engine(str(written), Sources(), "min").answer(Statement("query", "", sneaked))


def test_columns_and_names_are_shown(written: Path) -> None:
    shown = {name for _, name, _ in rows(written, "SHOW TABLES")}
    assert shown == {*TABLES, *(view.name for view in views.every(str))}
    assert ("members",) in rows(written, "SHOW COLUMNS IN duplicate_groups")


def test_a_plan_is_text(written: Path) -> None:
    plan = Engine(str(written), Sources(), "min").explained(
        statement.parse("EXPLAIN SELECT count(sha256) FROM curated")
    )
    assert "PARQUET" in plan.upper()
    assert plan.count("\n") > 10


def test_a_store_is_reached_by_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    sources = Sources(s3_endpoint="http://127.0.0.1:9", s3_region="eu-west-1", timeout_s=5)
    assert delta_source.storage_options("s3://b/out", sources) == {
        "timeout": "5s",
        "aws_ec2_metadata_disabled": "true",
        "aws_endpoint_url": "http://127.0.0.1:9",
        "aws_virtual_hosted_style_request": "false",
        "aws_allow_http": "true",
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_session_token": "token",
        "aws_region": "eu-west-1",
    }
    open_to_all = delta_source.storage_options("s3://b/out", Sources(s3_region="eu-west-1", s3_anonymous=True))
    assert open_to_all == {
        "timeout": "20s",
        "aws_ec2_metadata_disabled": "true",
        "aws_skip_signature": "true",
        "aws_region": "eu-west-1",
    }
    assert delta_source.storage_options("/out", sources) == {}


def test_an_opened_engine_answers_by_the_tables_as_they_were(tmp_path: Path) -> None:
    output = small_output.write(tmp_path / "output")
    engine = Engine(str(output), Sources(), "min")
    opened, count = engine.opened(), statement.parse("SELECT count(*) FROM verdicts")
    small_output.fill(output, "labels", [{"clip_id": "c1", "label": "good", "who": "ann"}], "")
    labels = statement.parse("SELECT count(*) FROM labels")
    assert [[*opened.answer(asked).rows] for asked in (count, labels, count)] == [[(4,)], [(0,)], [(4,)]]
    assert [*engine.answer(labels).rows] == [(1,)]
    failed = statement.parse("SELECT * FROM failed ORDER BY stage, key")  # computed as the tables are opened
    assert [*opened.answer(failed).rows] == [*engine.answer(failed).rows] != []
