"""What lies in the cache of downloads, and settings to read from web servers on loopback."""

from __future__ import annotations

from pathlib import Path

from udfs.storage.settings import Params

HERE = Params(http_private=True, retry_s=3.0, timeout_s=1.0, http_total_s=5.0)
ONCE = Params(http_private=True, retry_s=0.0, timeout_s=1.0, http_total_s=1.0)


def cached_sizes(disk: Path) -> list[int]:
    """The sizes of the files in the cache."""
    return sorted(file.stat().st_size for file in disk.iterdir() if not file.name.startswith("."))
