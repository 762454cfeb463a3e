"""A folder with videos; no connection and an empty cache of downloads for tests that read from web servers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from udfs.storage import http_cache, http_connection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Videos at three depths, in no order, among other files."""
    for name in ("b.mp4", "a/c.MKV", "a/b/d.webm", "notes.txt", "a/e.mp4.part"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "in"


@pytest.fixture
def no_connection() -> None:
    """This thread keeps no connection of an earlier test."""
    http_connection._thread.__dict__.clear()


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_connection: None) -> Iterator[Path]:
    """The folder of downloads, which is not made yet."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    http_cache._joined.cache_clear()
    yield tmp_path / f"reelmill-downloads-{os.getuid()}"
    http_cache._joined.cache_clear()
