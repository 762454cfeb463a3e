"""Whole runs between s3:// prefixes have the tables and files of runs between folders."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from schemas import TABLES
from tests.support import outputs
from tests.support.footage import write_numbered
from tests.support.s3 import KEYS, Proxy, Server

pytestmark = pytest.mark.s3

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VERSION = re.compile(r"('fingerprint': '[0-9a-f]{16})-[^']*")  # of a file, which ingest's fingerprints end with
SHELVES = re.compile(r"/(clips|proxies|previews)/[0-9a-f]{2}/")  # folders by the first letters of an id
BUCKET = "films"
# How times were read, and what only all packets tell: not read in a store, of a file without an index.
BY_PACKETS = {"videos": {"timing", "num_hidden_frames"}, "spans": {"num_frames"}}


class Output(NamedTuple):
    """The output of one run: its folder, the URIs of folder and manifest in rows, and its messages."""

    folder: Path
    uri: str
    manifest: str
    said: str


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos, and a file that is none."""
    folder = tmp_path_factory.mktemp("in")
    write_numbered(folder / "long one.mp4", 120, cuts=(60,), audio="aac")
    write_numbered(folder / "other.mkv", 60, codec="mpeg4", first=500)
    (folder / "none.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def runs(
    videos: Path, tmp_path_factory: pytest.TempPathFactory, s3_server: Server, s3_proxy: Proxy
) -> dict[str, Output]:
    """Runs `here` from folder to folder, `quiet` from bucket to bucket, and `faulty`.

    `faulty` is the same as `quiet`, but 5 % of its requests meet a fault.
    """
    for path in videos.iterdir():
        s3_server.put(f"s3://{BUCKET}/in/{path.name}", path)
    s3_proxy.reset()
    s3_proxy.rate, s3_proxy.planned = 0.05, []
    here = tmp_path_factory.mktemp("here")
    with ThreadPoolExecutor(3) as pool:
        said = pool.submit(curate, str(here), str(videos))
        quiet = pool.submit(curate, f"s3://{BUCKET}/quiet", f"s3://{BUCKET}/in/", *leading_to(s3_server.url))
        faulty = pool.submit(curate, f"s3://{BUCKET}/faulty", f"s3://{BUCKET}/in/", *leading_to(s3_proxy.url))
        lying = s3_server.folder / BUCKET
        found = {
            "here": Output(here, str(here), str(videos), said.result()),
            "quiet": Output(lying / "quiet", f"s3://{BUCKET}/quiet", f"s3://{BUCKET}/in", quiet.result()),
            "faulty": Output(lying / "faulty", f"s3://{BUCKET}/faulty", f"s3://{BUCKET}/in", faulty.result()),
        }
    s3_proxy.rate = 0.0
    print(f"{s3_proxy.requests.total()} requests, faults {dict(s3_proxy.faults)}")
    assert s3_proxy.faults.total() > 0.02 * s3_proxy.requests.total()
    return found


def curate(output: str, manifest: str, *settings: str) -> str:
    return reelmill("curate", output, f"--manifest={manifest}", *(f"--set={s}" for s in (*outputs.CURATED, *settings)))


def leading_to(url: str) -> tuple[str, ...]:
    return f"sources.s3_endpoint={url}", "sources.s3_region=us-east-1", "sources.timeout_s=5"


def reelmill(job: str, output: str, *options: str) -> str:
    """The output of a job that runs in a process and session of its own."""
    command = [sys.executable, "-m", f"jobs.{job}", "--output", output, *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800, env=os.environ | KEYS)
    assert run.returncode == 0, "\n".join(line for line in run.stderr.splitlines() if not line.startswith("\tat "))[
        -6000:
    ]
    assert not any(key in run.stdout + run.stderr for key in KEYS.values())
    return run.stdout + run.stderr


def tables(output: Output) -> dict[str, list[str]]:
    """Every table but `runs`, with names in place of ids and folders, which differ by their nature."""
    names = {row["video_id"]: Path(row["uri"]).name for row in outputs.table(output.folder, "videos")}
    for row in outputs.table(output.folder, "spans"):
        names[row["clip_id"]] = f"{names[row['video_id']]} {row['start_frame']}-{row['end_frame']}"

    def line(table: str, row: dict[str, object]) -> str:
        passing = outputs.RUN_COLUMNS | BY_PACKETS.get(table, set())
        kept = {key: value for key, value in row.items() if key not in passing}
        text = repr(kept).replace(output.uri, "OUTPUT").replace(output.manifest, "MANIFEST")
        text = VERSION.sub(r"\1", text)
        return SHELVES.sub(r"/\1/", UUID.sub(lambda found: names.get(found[0], found[0]), text))

    return {
        name: sorted(line(name, row) for row in outputs.table(output.folder, name)) for name in TABLES if name != "runs"
    }


def contents(output: Output) -> list[tuple[str, str]]:
    """Kind and hash of every media file."""
    return sorted((Path(name).parts[1], digest) for name, digest in outputs.files(output.folder).items())


@pytest.mark.parametrize("name", ["quiet", "faulty"])
def test_a_run_on_a_store_equals_a_run_on_folders(runs: dict[str, Output], name: str) -> None:
    assert tables(runs[name]) == tables(runs["here"])
    assert contents(runs[name]) == contents(runs["here"])


def test_times_are_read_from_an_index_or_a_header(runs: dict[str, Output]) -> None:
    read = {Path(row["uri"]).name: row["timing"] for row in outputs.table(runs["quiet"].folder, "videos")}
    assert read == {"long one.mp4": "index", "other.mkv": "header"}


def test_the_run_that_they_equal_made_something(runs: dict[str, Output]) -> None:
    made = tables(runs["here"])
    assert {name: len(made[name]) for name in ("videos", "failures", "clips", "embeddings", "verdicts")} == {
        "videos": 2,
        "failures": 1,
        "clips": 3,
        "embeddings": 3,
        "verdicts": 3,
    }
    assert {kind for kind, _ in contents(runs["here"])} == {"clips", "proxies", "previews"}


@pytest.mark.parametrize("name", ["quiet", "faulty"])
def test_beside_tables_media_page_and_progress_nothing_is_left(runs: dict[str, Output], name: str) -> None:
    assert {path.name for path in runs[name].folder.iterdir()} == {"media", "tables", "report.html", ".progress.json"}
    assert [path for path in (runs[name].folder / "tables").rglob(".landing/**/*") if path.is_file()] == []


def test_tables_there_answer_questions(runs: dict[str, Output], s3_server: Server) -> None:
    options = [f"--set={option}" for option in leading_to(s3_server.url)]
    assert re.search(r"n\s+3\b", reelmill("sql", runs["quiet"].uri, *options, "SELECT count(*) AS n FROM curated"))


def test_a_second_run_by_a_list_there_finds_nothing_to_do(
    runs: dict[str, Output], s3_server: Server, videos: Path, tmp_path: Path
) -> None:
    lines = (json.dumps({"uri": f"in/{path.name}"}) for path in videos.iterdir())
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    manifest = s3_server.put(f"s3://{BUCKET}/list.jsonl", tmp_path / "list.jsonl")
    said = curate(runs["quiet"].uri, manifest, *leading_to(s3_server.url))
    assert "nothing to do: 0 decoded, 0 rows written" in said
