"""The whole chain on damaged files: each becomes a row, and the good files are not affected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import cli
from tests.support import memory_watch, mutants
from tests.support.outputs import table

MUTANTS = int(os.environ.get("REELMILL_MUTANTS", "500"))  # of each seed
SEEDS = int(os.environ.get("REELMILL_CORPUS_SEEDS", "4"))
MEMORY_MB = 1024
SETTINGS = [
    "--set=split.clip_len_s=1.5",
    "--set=split.min_clip_length_s=0.5",
    "--set=filter.duplicates=false",
    f"--set=limits.memory_mb={MEMORY_MB}",
    "--set=limits.timeout_s=20",
]

pytestmark = [pytest.mark.corpus, pytest.mark.spark]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return mutants.write_originals(tmp_path_factory.mktemp("originals") / "good")


@pytest.fixture(scope="module")
def clean(originals: list[Path], spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the good files give by themselves."""
    output = tmp_path_factory.mktemp("clean") / "output"
    assert cli.main(["curate", "--manifest", str(originals[0].parent), "--output", str(output), *SETTINGS]) == 0
    return output


def clips_of(output: Path, folder: Path) -> dict[tuple[str, float], str]:
    """The hash of each clip cut from the videos of a folder, by file name and start."""
    videos = {row["video_id"]: row["uri"] for row in table(output, "videos") if Path(row["uri"]).parent == folder}
    spans = {row["clip_id"]: row["start_s"] for row in table(output, "spans")}
    return {
        (Path(videos[row["video_id"]]).name, spans[row["clip_id"]]): row["sha256"]
        for row in table(output, "clips")
        if row["video_id"] in videos
    }


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_mutants_become_rows_and_harm_nothing(originals: list[Path], clean: Path, tmp_path: Path, seed: int) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "good").symlink_to(originals[0].parent)
    made = mutants.write_mutants(originals, tmp_path / "all" / "mutants", MUTANTS, seed)
    words = ["--manifest", str(tmp_path / "all"), "--output", str(tmp_path / "output")]
    with memory_watch.watched() as watch:
        status = cli.main(["curate", *words, *SETTINGS])
    failures = table(tmp_path / "output", "failures")
    assert [row for row in failures if row["code"] == "BUG"] == []
    assert status == 0
    videos = {row["uri"]: row["video_id"] for row in table(tmp_path / "output", "videos")}
    failed = {row["key"] for row in failures}
    assert [path.name for path in made if str(path) not in videos and str(path) not in failed] == []
    spans, clips, signals = (table(tmp_path / "output", name) for name in ("spans", "clips", "signals"))
    split = {row["video_id"] for row in spans}
    assert [uri for uri, video_id in videos.items() if video_id not in split and video_id not in failed] == []
    cut = {row["clip_id"] for row in clips}
    assert [row for row in spans if row["clip_id"] not in cut and row["clip_id"] not in failed] == []
    measured = {row["clip_id"] for row in signals}
    assert [row for row in clips if row["clip_id"] not in measured and row["clip_id"] not in failed] == []
    good = clips_of(clean, originals[0].parent)
    assert len(good) == 2 * len(originals)
    assert clips_of(tmp_path / "output", tmp_path / "all" / "good") == good
    runs = table(tmp_path / "output", "runs")
    seconds = sum(row["cpu_s"] or 0.0 for row in runs if row["stage"] in ("ingest", "split", "clip", "analyze"))
    codes = {code: sum(row["code"] == code for row in failures) for code in sorted({row["code"] for row in failures})}
    print(f"\nseed {seed}: {len(made)} mutants, {len(videos)} videos, {len(clips)} clips, failures {codes}; ", end="")
    print(
        f"{seconds / (len(made) + len(originals)):.2f} CPU s per file, "
        f"at most {watch.most_mb:.0f} MB in a decoding process"
    )
    assert seconds / len(made) < 5
    assert watch.most_mb < MEMORY_MB + 256
