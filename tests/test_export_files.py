"""export of rows and clips: every format is read back by the package it is for, and made again byte for byte."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import lance
import pyarrow.parquet as pq
import pytest
import webdataset

from jobs import cli
from tests.outputs import table

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def output(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of this module's own; its tables name the clips of the other."""
    return Path(shutil.copytree(curated, tmp_path_factory.mktemp("export") / "output"))


def export(output: Path, to: Path, *words: str) -> int:
    """The exit status of an export; `words` are options, or settings as section.key=value."""
    given = [part for word in words for part in ((word,) if word.startswith("--") or "=" not in word else ("--set", word))]
    return cli.main(["export", "--output", str(output), "--to", str(to), *given])


def files(to: Path) -> dict[str, str]:
    """Every file below a folder but the release, which tells when it was made, and a hash of its bytes."""
    found = sorted(path for path in to.rglob("*") if path.is_file() and path.name != "release.json")
    return {str(path.relative_to(to)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def index(to: Path) -> list[dict[str, Any]]:
    """The rows of an export's index."""
    return list(pq.read_table(to / "index").to_pylist())


def release(to: Path) -> dict[str, Any]:
    """What an export says of itself."""
    return dict(json.loads((to / "release.json").read_text()))


def clips(output: Path) -> dict[str, dict[str, Any]]:
    return {row["clip_id"]: row for row in table(output, "clips")}


def test_webdataset_reads_its_shards(output: Path, tmp_path: Path) -> None:
    assert export(output, tmp_path, "--format", "webdataset", "export.webdataset.shard_clips=2") == 0
    shards = sorted(str(path) for path in (tmp_path / "shards").iterdir())
    assert [Path(shard).name for shard in shards] == ["240p-4x3-2s-00000.tar", "240p-4x3-2s-00001.tar"]
    samples = {sample["__key__"]: sample for sample in webdataset.WebDataset(shards, shardshuffle=False)}
    assert samples.keys() == clips(output).keys()
    for clip_id, clip in clips(output).items():
        assert samples[clip_id]["mp4"] == Path(clip["uri"]).read_bytes()
        told = json.loads(samples[clip_id]["json"])
        assert (told["clip_id"], told["sha256"], len(told["embedding"])) == (clip_id, clip["sha256"], 768)
