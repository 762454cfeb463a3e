"""addresses: what lets in lies apart from all rows, is the newest there is, and goes with a takedown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql.types import StructType

from jobs import cli
from jobs.config.settings import load
from jobs.lake import addresses, answers
from jobs.lake.declared import struct_type
from jobs.lake.run import Run
from schemas import TABLES
from tests.support.outputs import table

pytestmark = pytest.mark.spark
PLAIN = "https://h/v.mp4"


@pytest.fixture
def run(spark: SparkSession, tmp_path: Path) -> Run:
    """A run over an output without tables."""
    return Run(spark, str(tmp_path / "output"), load([], []))


def keep(run: Run, **named: str | None) -> None:
    """Keep addresses, by the names of their files."""
    files = [(f"https://h/{name}.mp4", address) for name, address in named.items()]
    addresses.keep(run, run.spark.createDataFrame(files, "uri string, address string"))


def kept(run: Run) -> dict[str, str]:
    """The addresses that are kept."""
    return {row["uri"]: row["address"] for row in run.tables.read("addresses").collect()}


def test_the_newest_address_is_the_one_that_is_used(run: Run) -> None:
    keep(run, v=f"{PLAIN}?sig=1", w=None)
    keep(run, v=f"{PLAIN}?sig=2")
    version = run.tables.version("addresses")
    keep(run, v=f"{PLAIN}?sig=2")
    assert (kept(run), run.tables.version("addresses")) == ({PLAIN: f"{PLAIN}?sig=2"}, version)
    rows, schema = addresses.with_addresses(run, [Row(uri=PLAIN), Row(uri="/v.mp4")], _uris(run))
    assert schema.names == ["uri", "address"]
    assert [row.asDict() for row in rows] == [
        {"uri": PLAIN, "address": f"{PLAIN}?sig=2"},
        {"uri": "/v.mp4", "address": None},
    ]
    assert addresses.with_addresses(run, [Row(uri="/v.mp4")], _uris(run)) == ([Row(uri="/v.mp4")], _uris(run))


def _uris(run: Run) -> StructType:
    return run.spark.createDataFrame([], "uri string").schema


def test_a_file_that_is_listed_without_a_signature_needs_none_any_longer(run: Run) -> None:
    keep(run, v=f"{PLAIN}?sig=1", w="https://h/w.mp4?sig=1")
    keep(run, v=None)
    assert kept(run) == {"https://h/w.mp4": "https://h/w.mp4?sig=1"}


def test_no_log_has_an_address_and_no_other_user_reads_them(run: Run) -> None:
    keep(run, v=f"{PLAIN}?sig=1")
    folder = Path(run.output) / "tables/.private"
    logs = [path.read_text(errors="replace") for path in (folder / "addresses/_delta_log").glob("*.json")]
    assert len(logs) >= 2
    assert not any("sig=1" in text for text in logs)
    assert folder.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("engine", ["spark", "duckdb"])
def test_no_query_sees_them(run: Run, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    keep(run, v=f"{PLAIN}?sig=1")
    run.tables.make("videos")
    for name in ("addresses", "`.private`", f"delta.`{run.output}/tables/.private/addresses`"):
        assert cli.main(["sql", "-o", run.output, "--engine", engine, f"select * from {name}"]) in (1, 2)
    assert cli.main(["sql", "-o", run.output, "--engine", engine, "show tables"]) == 0
    said = capsys.readouterr()
    assert "sig=1" not in said.out + said.err
    assert "addresses" not in said.out
    answers.register(run)
    assert "addresses" not in {row["tableName"] for row in run.spark.sql("SHOW TABLES").collect()}


def add(run: Run, name: str, **values: object) -> None:
    """Add a row to a table; a required column that is not given holds a text."""
    defaults = {f.name: None if f.nullable else "x" for f in struct_type(TABLES[name].schema)}
    run.tables.add(name, run.spark.createDataFrame([Row(**defaults | values)], struct_type(TABLES[name].schema)))


def test_rows_of_the_release_before_lose_their_signatures_and_keep_their_ids(run: Run) -> None:
    add(run, "videos", video_id="v", uri=f"{PLAIN}?sig=0")
    add(run, "videos", video_id="w", uri="https://h/w.mp4?id=1")
    add(run, "failures", key="https://me:pw@h/x.mp4", stage="ingest", code="EMPTY")
    keep(run, v=f"{PLAIN}?sig=1")
    assert {row["video_id"]: row["uri"] for row in table(Path(run.output), "videos")} == {
        "v": PLAIN,
        "w": "https://h/w.mp4?id=1",
    }
    assert [row["key"] for row in table(Path(run.output), "failures")] == ["https://h/x.mp4"]


@pytest.mark.upkeep
def test_a_takedown_takes_the_address_as_well(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    add(run, "videos", video_id="v", uri=PLAIN)
    keep(run, v=f"{PLAIN}?sig=1", w="https://me:pw@h/w.mp4")
    keep(run, v=f"{PLAIN}?sig=2")
    assert cli.main(["takedown", "-o", run.output, f"{PLAIN}?sig=3"]) == 0
    assert kept(run) == {"https://h/w.mp4": "https://me:pw@h/w.mp4"}
    on_disk = [path.read_bytes() for path in (Path(run.output) / "tables").rglob("*") if path.is_file()]
    assert not any(b"sig=" in content for content in on_disk)
    assert "sig=" not in capsys.readouterr().out
