"""The last lines of a run name what was refused and dropped, and the command that shows more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.config.settings import load
from jobs.lake import answers, summary
from jobs.lake.catalog import Schema
from jobs.lake.run import Run
from jobs.queries.ask import Ask
from tests.support.outputs import CURATED
from udfs.core import program

pytestmark = pytest.mark.spark


@pytest.fixture
def run(spark: SparkSession, curated: Path) -> Run:
    """The shared output, with its views."""
    run = Run(spark, str(curated), load([], CURATED))
    answers.register(run)
    return run


def test_a_run_without_refusals_says_what_was_made_and_kept(run: Run) -> None:
    assert summary.text(run, 2, summary.facts(by_spark(run))).splitlines() == [
        "files: 2 found now; 2 taken and 0 refused so far",
        "clips: 3 made, 0 dropped, 3 kept",
        "video: 0.1 minutes taken, 0.1 minutes kept in clips; "
        f"{program.command()} sql --output {run.output} 'select * from curated'",
    ]


def by_spark(run: Run) -> Ask:
    """What asks the views of the session, which a test may have replaced."""
    return lambda query: [tuple(row) for row in run.spark.sql(query).collect()]


def refuse(run: Run, number: int) -> None:
    """As if so many files had been refused, and a clip had crashed a stage."""
    query = f"""
SELECT 'ingest' AS stage, format_string('/v/%02d.mp4', id) AS video_uri, 'CORRUPT' AS code, 'no moov atom' AS message
FROM range({number}) UNION ALL SELECT 'embed', '/v/x.mp4', 'BAD_OUTPUT', 'NaN'"""
    run.spark.sql(query).createOrReplaceTempView("failed")


def test_files_that_were_refused_have_their_names_and_codes(run: Run) -> None:
    refuse(run, 2)
    lines = summary.text(run, 4, summary.facts(by_spark(run))).splitlines()
    more = f"; {program.command()} sql --output {run.output} 'select * from failed'"
    assert lines[0] == f"files: 4 found now; 2 taken and 2 refused so far{more}"
    assert lines[1:3] == ["  /v/00.mp4: CORRUPT: no moov atom", "  /v/01.mp4: CORRUPT: no moov atom"]
    assert lines[-3:-1] == [
        f"clips that a stage could not use: embed 1{more}",
        "  /v/x.mp4: embed: BAD_OUTPUT 1",
    ]


def test_a_video_that_gives_no_clip_is_refused_and_not_taken(run: Run) -> None:
    query = "SELECT 'split' AS stage, '/v/a.mp4' AS video_uri, 'TOO_SHORT' AS code, 'no clip in 0.20 s' AS message"
    run.spark.sql(query).createOrReplaceTempView("failed")
    [files, named, *_] = summary.text(run, 2, summary.facts(by_spark(run))).splitlines()
    assert files.startswith("files: 2 found now; 1 taken and 1 refused so far; ")
    assert named == "  /v/a.mp4: TOO_SHORT: no clip in 0.20 s"


def test_of_many_refusals_ten_are_named(run: Run) -> None:
    refuse(run, 12)
    lines = summary.text(run, 4, summary.facts(by_spark(run))).splitlines()
    assert [line[:7] for line in lines].count("  /v/09") == 1
    assert "  ... and 2 more" in lines
    assert not any("/v/10.mp4" in line for line in lines)


def test_clips_that_were_dropped_are_counted_by_reason(run: Run) -> None:
    columns = "clip_id, duration_s, measured, embedding_model, num_captions"
    judged = run.spark.sql(f"SELECT {columns}, false AS kept, array('blur') AS reasons FROM verdicts")
    judged.localCheckpoint().createOrReplaceTempView("verdicts")
    other = replace(run, output="/my out", schema=Schema("films"))
    command = f"{program.command()} sql --output '/my out' --schema films 'select * from dropped'"
    assert (
        f"clips: 3 made, 3 dropped (blur 3), 0 kept; {command}"
        in summary.text(other, 2, summary.facts(by_spark(other))).splitlines()
    )


def test_the_funnel_is_that_of_the_view(run: Run) -> None:
    facts = summary.facts(by_spark(run))
    view = {step: (count, hours) for step, count, hours in by_spark(run)("SELECT step, count, hours FROM funnel")}
    for step, count, hours in facts["funnel"]:
        assert (count, hours or 0) == (view[step][0], pytest.approx(view[step][1] or 0)), step
    assert facts["dropped_clip"] is None
