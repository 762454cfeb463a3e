"""Runs on an output where one input fails each time in a way that may pass: no run looks at all others for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import cli
from jobs.flow import waiting
from jobs.lake.run import Run
from jobs.similarity import copy_groups
from tests.support.footage import write_numbered
from tests.support.outputs import table, versions
from tests.support.web_server import Page, Site, serving

pytestmark = [pytest.mark.spark, pytest.mark.nights]
SPLIT = ["--set=split.clip_len_s=2", "--set=split.min_clip_length_s=1", "--set=dedup.engine=mllib"]
REMOTE = [*SPLIT, "--set=sources.http_private=true", "--set=sources.retry_s=0"]
BY_CONTENT = [f"--set=split.{of}" for of in ("method=content", "min_length_s=1", "crop_s=0", "min_content_val=200")]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each time that clips were looked up to compare, whether these were all clips."""
    found, pending = list[bool](), copy_groups.pending

    def watched(run: Run) -> DataFrame:
        found.append(run.part is None)
        return pending(run)

    monkeypatch.setattr(copy_groups, "pending", watched)
    return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A web server with one video, whose clips are near-copies of those of near.mp4."""
    film = write_numbered(tmp_path / "far.mp4", 120, audio="aac")
    with serving({"/far.mp4": Page(film.read_bytes())}) as running:
        yield running


def curate(manifest: Path, output: Path, *options: str) -> int:
    """The exit status of a run."""
    return cli.main(["curate", "--manifest", str(manifest), "--output", str(output), *options])


def manifest(tmp_path: Path, *uris: str) -> Path:
    """A list of addresses."""
    path = tmp_path / "list.txt"
    path.write_text("\n".join(uris) + "\n", encoding="utf-8")
    return path


def failed(output: Path, stage: str) -> list[tuple[int, str]]:
    """How often each input of a stage was tried when it failed, and its code."""
    return sorted((row["attempts"], row["code"]) for row in table(output, "failures") if row["stage"] == stage)


def rests(output: Path) -> list[str | None]:
    """Of every rest, oldest first, the run whose failures wait."""
    rows = [row for row in table(output, "runs") if row["stage"] == "curate"]
    return [row["waiting_run_id"] for row in sorted(rows, key=lambda row: row["started_at"])]


def verdicts(output: Path) -> list[Any]:
    """The verdicts, without ids: near-copies may represent each other."""
    return sorted((row["start_s"], row["reasons"], row["measured"]) for row in table(output, "verdicts"))


def same_as_from_scratch(listed: Path, output: Path, scratch: Path, *options: str) -> None:
    """A run over an output leaves it as one into an empty folder does, and nothing to do."""
    assert curate(listed, scratch, *options) == 0
    assert verdicts(output) == verdicts(scratch)
    for name in ("spans", "clips", "signals", "copies", "embeddings", "duplicates", "verdicts"):
        assert len(table(output, name)) == len(table(scratch, name)), name
    assert curate(listed, output, *options, "--check") == 0
    before = versions(output)
    assert curate(listed, output, *options) == 0
    assert versions(output) == before


def stopped(tmp_path: Path, site: Site, *options: str) -> tuple[Path, Path]:
    """A list of two videos, and an output whose run lost the host of one after it was ingested."""
    listed, output = manifest(tmp_path, str(tmp_path / "near.mp4"), f"{site.url}/far.mp4"), tmp_path / "output"
    write_numbered(tmp_path / "near.mp4", 120)
    assert cli.main(["ingest", "--manifest", str(listed), "--output", str(output), *options]) == 0
    site.pages["/far.mp4"].status = 503
    assert curate(listed, output, *options) == 0
    return listed, output


@pytest.mark.parametrize(("stage", "more"), [("clip", []), ("split", BY_CONTENT)])
def test_a_host_that_is_gone_costs_no_look_at_all_clips_and_ends_as_if_it_had_been_there(
    spark: SparkSession, tmp_path: Path, site: Site, looks: list[bool], stage: str, more: list[str]
) -> None:
    options = [*REMOTE, *more]
    listed, output = stopped(tmp_path, site, *options)
    number = len(failed(output, stage))
    assert failed(output, stage) == [(1, "UNREACHABLE")] * number != []
    looks.clear()
    assert curate(listed, output, *options) == 0
    assert [code for code in failed(output, stage) if code[0] == 2] == [(2, "UNREACHABLE")] * number
    assert looks == []
    write_numbered(tmp_path / "new.mp4", 60, first=700)
    listed = manifest(tmp_path, *listed.read_text().split(), str(tmp_path / "new.mp4"))
    assert curate(listed, output, *options) == 0
    assert looks == [False]  # of the new clips alone
    assert rests(output) == sorted({row["run_id"] for row in table(output, "failures") if row["stage"] == stage})
    assert curate(listed, output, *options, "--check") == 1
    site.pages["/far.mp4"].status = 200
    assert curate(listed, output, *options) == 0
    assert True in looks
    assert rests(output)[-1] is None
    same_as_from_scratch(listed, output, tmp_path / "scratch", *options)


def test_what_waits_is_found_by_other_settings_of_later_stages(spark: SparkSession, tmp_path: Path, site: Site) -> None:
    listed, output = stopped(tmp_path, site, *REMOTE)
    site.pages["/far.mp4"].status = 200
    options = [*REMOTE, "--set=filter.motion=true"]
    assert curate(listed, output, *options) == 0
    same_as_from_scratch(listed, output, tmp_path / "scratch", *options)


def test_a_failure_that_has_become_final_is_looked_at_once(
    spark: SparkSession, tmp_path: Path, site: Site, looks: list[bool]
) -> None:
    listed, output = stopped(tmp_path, site, *REMOTE)
    site.pages["/far.mp4"].status = 404
    looks.clear()
    assert curate(listed, output, *REMOTE) == 0
    assert looks == [True]
    assert {code for tried, code in failed(output, "clip") if tried == 2} == {"NOT_FOUND"}
    assert rests(output)[-1] is None
    before = versions(output)
    assert curate(listed, output, *REMOTE) == 0
    assert versions(output) == before


def test_maintain_keeps_what_waits(spark: SparkSession, tmp_path: Path, site: Site, looks: list[bool]) -> None:
    listed, output = stopped(tmp_path, site, *REMOTE)
    assert cli.main(["maintain", "--output", str(output)]) == 0
    assert len({*rests(output)}) == 1
    looks.clear()
    assert curate(listed, output, *REMOTE) == 0
    assert looks == []
    assert max(failed(output, "clip")) == (2, "UNREACHABLE")


def test_with_many_inputs_that_wait_all_are_looked_at(
    spark: SparkSession, tmp_path: Path, site: Site, looks: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MANY", 1)
    listed, output = stopped(tmp_path, site, *REMOTE)
    assert rests(output) == []
    looks.clear()
    assert curate(listed, output, *REMOTE) == 0
    assert looks[0]
    assert max(failed(output, "clip")) == (2, "UNREACHABLE")


OWN = """
[custom.level]
function = "faulty_level:level"
input = "row"
columns = {level = "double"}
gate = "level > 0"
"""
LEVEL = """
import os

def level(rows):
    if os.path.exists("FAULT") and any("good" in row["video_uri"] for row in rows):
        raise KeyError("a bug")
    return [float("bad" not in row["video_uri"]) for row in rows]
"""


def test_a_bug_of_a_copy_that_stands_for_itself_is_met_by_it_alone_until_it_is_mended(
    spark: SparkSession, tmp_path: Path, looks: list[bool]
) -> None:
    """The larger of two copies is kept by its hashes and fails the gate; of the other one the gate meets a bug."""
    folder, output, conf, fault = (tmp_path / name for name in ("in", "output", "own.toml", "fault"))
    folder.mkdir()
    fault.touch()
    conf.write_text(OWN, encoding="utf-8")
    (tmp_path / "faulty_level.py").write_text(LEVEL.replace("FAULT", str(fault)), encoding="utf-8")
    options = [*SPLIT, "--conf", str(conf)]
    write_numbered(folder / "bad.mp4", 60, audio="aac")
    write_numbered(folder / "good.mp4", 60)
    assert curate(folder, output, *options) == 1
    looks.clear()
    assert curate(folder, output, *options) == 1
    assert (looks, failed(output, "level")) == ([], [(1, "BUG"), (2, "BUG")])
    fault.unlink()
    assert curate(folder, output, *options) == 0
    assert looks == [True]
    reasons = {Path(row["video_uri"]).name: row["reasons"] for row in table(output, "verdicts")}
    assert reasons == {"bad.mp4": ["level"], "good.mp4": []}
    same_as_from_scratch(folder, output, tmp_path / "scratch", *options)
