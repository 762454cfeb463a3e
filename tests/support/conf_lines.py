"""The keys and values of a file of conf/spark, in order."""

from __future__ import annotations

from pathlib import Path


def lines(name: str) -> list[tuple[str, str]]:
    """The settings that spark-submit reads from conf/spark/<name>.conf."""
    text = Path(f"conf/spark/{name}.conf").read_text(encoding="utf-8")
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#"))
    return [(key, value.strip()) for key, value in pairs]
