"""maintain: superseded rows, unreferenced media and old versions are listed and deleted; the rest stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs import cli, curate, maintain
from jobs.config.settings import load
from jobs.lake import history
from jobs.lake.fingerprints import fingerprint
from jobs.lake.history import Work
from jobs.lake.run import Run
from schemas import TABLES
from tests.support import two_settings
from tests.support.outputs import CURATED, files, table, versions
from tests.support.two_settings import CLIPS, held, media
from udfs.storage import media_store

pytestmark = [pytest.mark.spark, pytest.mark.upkeep]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two settings, and of a run that was killed."""
    return two_settings.write(tmp_path_factory.mktemp("written") / "output")


def foretold(printed: str) -> list[list[str]]:
    """The lines of a summary that a dry run knows to the byte."""
    return [line.split() for line in printed.splitlines() if "earlier settings" in line or "without a row" in line]


def test_maintain_keeps_what_counts(
    spark: SparkSession, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(shutil.copytree(written, tmp_path / "output"))
    young = media(output, CLIPS[0], ["clip.crf=31"], age_h=1)
    before = versions(output), files(output), {name: len(table(output, name)) for name in TABLES}
    assert cli.main(["maintain", "--output", str(output), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "nothing was changed" in told
    assert (versions(output), files(output), {name: len(table(output, name)) for name in TABLES}) == before
    assert cli.main(["maintain", "--output", str(output), "--keep-days", "0", "--force"]) == 0
    done = capsys.readouterr().out
    assert foretold(told) == foretold(done)
    assert len(foretold(done)) == 5
    assert held(output, "copy_keys") == {CLIPS[0], CLIPS[8]}
    new = {stage: fingerprint(stage, load([], [])) for stage in ("clip", "analyze", "embed")}
    assert held(output, "clips", "fingerprint") == {new["clip"], "of a killed run"}
    assert held(output, "signals", "fingerprint") == {new["analyze"]}
    assert held(output, "embeddings", "fingerprint") == {new["embed"]}
    assert held(output, "embeddings") == held(output, "signals") == set(CLIPS)
    kept = {media_store.media_uri("media", "clips", clip, new["clip"], ".mp4") for clip in CLIPS}
    assert set(files(output)) == kept | {str(young.relative_to(output))}
    for name in ("clips", "embeddings"):
        lying = {path.name for path in (output / "tables" / name).glob("*.parquet")}
        assert lying == {Path(uri).name for uri in DeltaTable(output / "tables" / name).file_uris()}
        assert len(lying) == 1


@pytest.mark.parametrize(("is_large", "columns"), [(True, {"clip_id"}), (False, set())])
def test_of_a_large_table_ids_are_found_by_bloom_filters(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool, columns: set[str]
) -> None:
    output = Path(shutil.copytree(written, tmp_path / "output"))
    monkeypatch.setattr(maintain, "LARGE_BYTES", 0 if is_large else 1 << 20)
    assert cli.main(["maintain", "--output", str(output)]) == 0
    [file] = DeltaTable(output / "tables" / "spans").file_uris()
    query = "SELECT path_in_schema FROM parquet_metadata(?) WHERE bloom_filter_offset IS NOT NULL"
    assert {name for (name,) in duckdb.connect().execute(query, [file]).fetchall()} == columns


def test_a_library_that_was_finished_stays_so(curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Path(shutil.copytree(curated, tmp_path / "output"))
    [manifest] = {str(Path(row["uri"]).parent) for row in table(output, "videos")}
    before = versions(output)
    assert cli.main(["maintain", "--output", str(output)]) == 0
    assert versions(output)["clips"] > before["clips"]  # its files were merged
    monkeypatch.setattr(curate, "_process", lambda *_, **__: pytest.fail("all tables are looked at"))
    options = [f"--set={option}" for option in CURATED]
    assert cli.main(["curate", "--manifest", manifest, "--output", str(output), *options]) == 0


def test_a_library_whose_rows_go_since_other_settings_came_later_is_not_finished(
    spark: SparkSession, curated: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(curated, tmp_path / "output"))
    history.note(Run(spark, str(output), load([], [*CURATED, "clip.crf=31"])), "clip", Work())
    assert cli.main(["maintain", "--output", str(output)]) == 0
    assert table(output, "clips") == []
    run = Run(spark, str(output), load([], CURATED))
    assert not run.last.is_untouched(run.tables)


def test_keeping_less_than_a_week_must_be_forced(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["maintain", "--output", str(written), "--keep-days", "6"]) == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["nan", "inf", "-1"])
def test_keeping_no_number_of_days_is_refused(written: Path, capsys: pytest.CaptureFixture[str], days: str) -> None:
    assert cli.main(["maintain", "--output", str(written), "--force", "--keep-days", days]) == 2
    assert f"keep-days {days}: give a number of days, 0 or more" in capsys.readouterr().err
