"""Settings -> each stage's fingerprint: what decides whether a row that is there still counts."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from jobs.settings import Settings


@dataclass(frozen=True)
class Recipe:
    """What a stage's rows depend on beside their key; `version` rises when its code gives other results."""

    version: int
    sections: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()


RECIPES: dict[str, Recipe] = {
    "ingest": Recipe(1),
    "split": Recipe(1, ("split",)),
    # A clip's key is its span, so that a span found by other settings is not cut again.
    "clip": Recipe(1, ("clip",)),
    "analyze": Recipe(1, ("analyze", "motion", "quality", "phash", "proxy", "preview", "windows"), ("clip",)),
    # Not all of analyze: a new motion setting must not cost an embedding.
    "embed": Recipe(1, ("embed", "proxy"), ("clip",)),
    "dedup": Recipe(1, ("dedup",), ("embed",)),
    "filter": Recipe(1, ("filter",), ("analyze", "dedup")),
}


def fingerprint(stage: str, settings: Settings) -> str:
    """A hash of the stage's version and settings, and of the stages whose output it reads."""
    recipe = RECIPES[stage]
    digest = hashlib.blake2b(f"{stage} {recipe.version}".encode(), digest_size=8)
    for section in recipe.sections:
        digest.update(TypeAdapter(dict).dump_json({section: asdict(getattr(settings, section))}))
    for other in recipe.upstream:
        digest.update(fingerprint(other, settings).encode())
    return digest.hexdigest()
