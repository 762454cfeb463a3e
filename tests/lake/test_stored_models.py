"""Stored models: those of all files of a table, each once, as far as the files can be read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.lake.stored_models import stored_models
from udfs.storage.settings import Params as Sources


def test_the_stored_models_are_those_of_all_files_each_once(tmp_path: Path) -> None:
    table = tmp_path / "embeddings"
    (table / "_delta_log").mkdir(parents=True)
    for k, model in enumerate(("descriptor", "clip", "descriptor")):
        pq.write_table(pa.table({"clip_id": ["a", "b"], "model": [model, model]}), table / f"{k}.parquet")
    assert list(stored_models(str(table), Sources())) == ["descriptor", "clip"]
    assert list(stored_models(str(tmp_path / "none"), Sources())) == []
    (table / "9.parquet").write_bytes(b"no parquet")
    assert list(stored_models(str(table), Sources())) == ["descriptor", "clip"]
