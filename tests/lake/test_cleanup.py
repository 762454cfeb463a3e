"""Cleanup of an output: its media files and old table versions are listed and deleted."""

from __future__ import annotations

import pytest

from jobs.lake import cleanup
from schemas import TABLES


@pytest.mark.spark
@pytest.mark.upkeep
def test_every_column_that_names_a_file_is_known() -> None:
    named = {
        (name, f.name) for name, t in TABLES.items() for f in t.schema if f.name == "uri" or f.name.endswith("_uri")
    }
    named |= {(name, f.name) for name, t in TABLES.items() for f in t.schema if "uri" in str(f.type)}
    known = {(name, column) for name, column in named if column in cleanup.MEDIA.get(name, "")}
    assert named - known == {("videos", "uri"), ("takedowns", "uri")}  # addresses of sources
