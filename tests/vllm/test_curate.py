"""curate with engine = vllm, on the CPU, with tiny random models: make test-vllm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import cli
from tests.support import tiny
from tests.support.footage import write_numbered
from tests.support.outputs import table, versions

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.spark]
WORDS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, one of which is none, and two models."""
    folder = tmp_path_factory.mktemp("vllm")
    (folder / "videos").mkdir()
    write_numbered(folder / "videos" / "long.mp4", 150)
    write_numbered(folder / "videos" / "other.mp4", 60, first=700)
    (folder / "videos" / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    tiny.qwen2_5_vl(folder / "qwen2.5", head_dim=64)
    tiny.qwen_lm(folder / "qwen-lm", head_dim=64)
    return folder


def curate(folder: Path, engine: str, *more: str) -> tuple[int, Path]:
    """The exit status and the output of a run whose captions an engine writes."""
    options = ["split.clip_len_s=2", "split.min_clip_length_s=1", "filter.duplicates=false"]
    options += ["curate.caption=true", "curate.enhance=true", "caption.generate_stage2_caption=true"]
    options += [f"caption.model_variant={folder}/qwen2.5", f"enhance.model_variant={folder}/qwen-lm"]
    options += ["caption.min_frame_tokens=16", "caption.max_frame_tokens=32"]
    for stage in ("caption", "enhance"):
        options += [f"{stage}.engine={engine}", f"{stage}.max_output_tokens={WORDS}", f"{stage}.sampling.temperature=0"]
    output = folder / engine
    command = ["curate", "--manifest", str(folder / "videos"), "--output", str(output)]
    return cli.main([*command, *(f"--set={option}" for option in (*options, *more))]), output


def texts(output: Path) -> dict[tuple[str, str, int], Any]:
    """The captions of both stages and the rewritten ones, by clip and window."""
    columns = ("caption", "stage2_caption", "enhanced_caption", "tokens_in", "tokens_out", "checks")
    return {
        (name, row["clip_id"], row["start_frame"]): [row.get(column) for column in columns]
        for name in ("captions", "enhanced")
        for row in table(output, name)
    }


def test_a_whole_run_writes_what_transformers_would_have_written(spark: SparkSession, folder: Path) -> None:
    status, output = curate(folder, "vllm")
    assert status == 0
    assert [(row["stage"], row["code"]) for row in table(output, "failures")] == [("ingest", "CORRUPT")]
    found = texts(output)
    assert len(found) == 2 * len(table(output, "clips")) == 8
    for name in ("captions", "enhanced"):
        rows = table(output, name)
        tokens, seconds = sum(row["tokens_in"] + row["tokens_out"] for row in rows), sum(row["seconds"] for row in rows)
        print(f"\ncurate: {len(rows)} {name} by {rows[0]['model']}, {tokens} tokens, {seconds:.1f} s")
    runs = {row["stage"]: row for row in table(output, "runs")}
    assert min(runs[stage]["gpu_s"] for stage in ("caption", "enhance")) > 0
    before = versions(output)
    assert curate(folder, "vllm") == (0, output)
    assert versions(output) == before
    assert texts(curate(folder, "transformers")[1]) == found
