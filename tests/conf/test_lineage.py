"""conf/spark/lineage.conf: OpenLineage writes what reads and writes which table, and Spark's page serves the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.conf_lines import lines
from tests.support.footage import write_numbered

pytestmark = pytest.mark.cluster
# A run in a session of its own, and then what Spark's page says of it.
PROBE = """
import json, sys, urllib.request
from jobs import cli
from jobs.spark.session import connect

def page(path):
    with urllib.request.urlopen(f"{spark.sparkContext.uiWebUrl}{path}", timeout=30) as answer:
        return answer.read().decode()

settings, videos, output = json.loads(sys.argv[1]), *sys.argv[2:]
spark = connect(settings, verbose=False)
split = ["--set", "split.clip_len_s=2", "--set", "split.min_clip_length_s=1"]
assert cli.main(["curate", videos, "-o", output, *split]) == 0
jobs = json.loads(page(f"/api/v1/applications/{spark.sparkContext.applicationId}/jobs"))
# OpenLineage reads Delta's logs by jobs of its own, outside of the run's group.
names = {job.get("description", "") for job in jobs if "jobGroup" in job}
print(json.dumps({
    "names": sorted(names),
    "groups": sorted({job["jobGroup"] for job in jobs if "jobGroup" in job}),
    "driver": page("/metrics/prometheus/"),
    "executors": page("/metrics/executors/prometheus/"),
}))
spark.stop()
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder in which a run left its lineage, and what Spark's page said of it."""
    folder = tmp_path_factory.mktemp("lineage")
    (folder / "videos").mkdir()
    write_numbered(folder / "videos/long.mp4", 120, cuts=(60,))
    (folder / "videos/text.mp4").write_bytes(b"no video")
    settings = dict(lines("lineage")) | {"spark.master": "local[2]", "spark.ui.port": "0"}
    command = [sys.executable, "-c", PROBE, json.dumps(settings), str(folder / "videos"), str(folder / "output")]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_every_job_of_the_chain_has_a_name_on_the_page(ran: tuple[Path, dict[str, Any]]) -> None:
    names = ran[1]["names"]
    for name in ("split, wave 1 of 1", "clip, wave 1 of 1", "embed, wave 1 of 1", "dedup", "filter", "ingest, wave 1"):
        assert any(found.startswith(name) for found in names), names
    assert "" not in names
    assert len(ran[1]["groups"]) == 1  # the run


def test_metrics_count_what_stages_did_and_what_failed(ran: tuple[Path, dict[str, Any]]) -> None:
    values = {
        line.partition("{")[0].partition("AccumulatorSource_")[2]: float(line.rpartition(" ")[2])
        for line in ran[1]["driver"].splitlines()
        if "AccumulatorSource_reelmill" in line
    }
    assert values["reelmill_ingest_done_Value"] == 2
    assert values["reelmill_ingest_failed_Value"] == 1
    assert values["reelmill_analyze_done_Value"] == 2
    assert values["reelmill_analyze_failed_Value"] == 0
    assert "metrics_executor_completedTasks_total" in ran[1]["executors"]


def test_lineage_names_the_tables_that_were_read_and_written(ran: tuple[Path, dict[str, Any]]) -> None:
    events = [json.loads(line) for line in (ran[0] / "lineage.jsonl").read_text().splitlines()]
    assert {event["job"]["namespace"] for event in events} == {"reelmill"}
    written = {output["name"].rpartition("/")[2] for event in events for output in event["outputs"]}
    assert {"videos", "spans", "clips", "signals", "embeddings", "verdicts", "runs"} <= written
    read = {given["name"].rpartition("/")[2] for event in events for given in event["inputs"]}
    assert {"videos", "spans"} & read
