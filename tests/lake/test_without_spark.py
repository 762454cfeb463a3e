"""The tables are read by DuckDB and Polars, by the very lines that docs/sql.md shows."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.outputs import table

SECTION = Path("docs/sql.md").read_text(encoding="utf-8").partition("## SQL without Reelmill")[2].partition("\n#")[0]
POLARS, PANDAS, DUCKDB = re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL)


def run(code: str, output: Path, folder: Path) -> dict[str, Any]:
    """What lines of the page leave in their variables, run where `out` is the output."""
    (folder / "out").symlink_to(output)
    left: dict[str, Any] = {}
    with contextlib.chdir(folder):
        exec(code, left)
    return left


@pytest.mark.spark
def test_duckdb_gives_the_kept_clips(curated: Path, tmp_path: Path) -> None:
    found = run(DUCKDB, curated, tmp_path)["vectors"].to_pylist()
    clips = {row["clip_id"]: row for row in table(curated, "clips")}
    assert sorted(row["clip_id"] for row in found) == sorted(clips)
    assert {row["uri"] for row in found} == {clip["uri"] for clip in clips.values()}
    assert sorted(row["end_s"] - row["start_s"] for row in found) == [2, 2, 2]
    assert all(row["vector"] and row["motion_score_global_mean"] > 0 for row in found)


@pytest.mark.spark
def test_polars_sums_the_hours_that_are_kept(curated: Path, tmp_path: Path) -> None:
    [found] = run(POLARS, curated, tmp_path)["hours"].to_dicts()
    assert found == {"width": 320, "height": 240, "clips": 3, "hours": pytest.approx(6 / 3600)}


@pytest.mark.spark
def test_pandas_sums_the_seconds_that_are_kept(curated: Path, tmp_path: Path) -> None:
    assert run(PANDAS, curated, tmp_path)["seconds"].to_dict() == {True: pytest.approx(6)}
