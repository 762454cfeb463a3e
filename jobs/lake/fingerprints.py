"""The fingerprint of a stage: a hash of its settings, by which a stored row is known to be current."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

from pydantic import TypeAdapter

from jobs.config.settings import Settings
from udfs import caption, custom, embed, export, split
from udfs.core import user_code
from udfs.core.task_resources import EFFORT
from udfs.exports import frames
from udfs.models import checkpoints
from udfs.signals import preview


@dataclass(frozen=True)
class Recipe:
    """What a stage's rows depend on beside their key; `version` rises when its code gives other results."""

    version: int
    sections: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    models: tuple[str, ...] = ()  # settings that name a model, as section.key: another revision gives other rows


RECIPES: dict[str, Recipe] = {
    "ingest": Recipe(2),
    "split": Recipe(2, ("split",)),
    # A clip's key is its span, so that a span found by other settings is not cut again.
    "clip": Recipe(2, ("clip",)),
    "analyze": Recipe(1, ("analyze", "motion", "quality", "phash", "proxy", "preview", "windows"), ("clip",)),
    "copies": Recipe(1, ("copies",), ("analyze",)),
    # Not all of analyze: a new motion setting must not cost an embedding.
    "aesthetic": Recipe(1, ("aesthetic", "proxy"), ("clip",), models=("aesthetic.model", "aesthetic.head")),
    "embed": Recipe(1, ("embed", "proxy"), ("clip",), models=("embed.model",)),
    "dedup": Recipe(2, ("dedup",), ("embed",)),
    "filter": Recipe(1, ("filter",), ("analyze", "aesthetic", "dedup")),
    # Not filter: which clips are captioned does not change their captions.
    "caption": Recipe(1, ("caption", "windows", "proxy"), ("clip",), models=("caption.generation.model",)),
    "enhance": Recipe(1, ("enhance",), ("caption",), models=("enhance.generation.model",)),
    "align": Recipe(1, (), ("caption", "embed")),
    "export": Recipe(1, ("export",)),
    "maintain": Recipe(1),
    "takedown": Recipe(1),
}


CUSTOM_VERSION = 1  # rises when udfs/custom.py gives functions other inputs
# What rows of the user's own stages depend on beside their code, by input: sections, and a stage.
CUSTOM_INPUTS: dict[str, tuple[tuple[str, ...], str]] = {
    "frames": (("proxy",), "clip"),
    "clip": ((), "clip"),
    "row": ((), "analyze"),
}


# Sections that got hwaccel later: "none" gives the rows that they gave without it, in one fingerprint.
HWACCEL_LATER = (split.Params, embed.Params, caption.Params, frames.Params)


def _hashed_settings(params: Any) -> dict[str, Any]:
    """The settings of a section, without those that change only what the work costs.

    Their order counts in the hash. FINGERPRINT_ORDER keeps it where fields were moved to a base class.
    """
    effort = {name for name, info in params.__pydantic_fields__.items() if info.json_schema_extra == EFFORT}
    values = asdict(params)
    order = dict.fromkeys((*getattr(params, "FINGERPRINT_ORDER", ()), *values))
    values = {name: values[name] for name in order if name not in effort}
    if isinstance(params, HWACCEL_LATER) and values["hwaccel"] == "none":
        del values["hwaccel"]
    if isinstance(params, preview.Params):
        return _preview_as_before(values)
    return _export_as_before(params, values) if isinstance(params, export.Params) else values


def _preview_as_before(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of [preview] as they were when the default effort was 6.

    Effort 4 gives equal rows and as good a picture, so that outputs of either are finished for both.
    """
    return values | {"compression_level": 6} if values["compression_level"] == 4 else values


def _export_as_before(params: export.Params, values: dict[str, Any]) -> dict[str, Any]:
    """The settings of [export] as they were when those of [export.frames] were among them.

    So old fingerprints stay valid.
    """
    before = {"what": values["what"], "where": values["where"], **_hashed_settings(params.frames)}
    return before | {name: value for name, value in values.items() if name not in ("paths", "frames")}


def fingerprint(stage: str, settings: Settings) -> str:
    """A hash of the stage's version and settings, and of the stages whose output it reads."""
    if stage in settings.custom:
        return _custom_fingerprint(stage, settings)
    recipe = RECIPES[stage]
    digest = hashlib.blake2b(f"{stage} {recipe.version}".encode(), digest_size=8)
    for section in recipe.sections:
        digest.update(TypeAdapter(dict).dump_json({section: _hashed_settings(getattr(settings, section))}))
    for name in recipe.models:
        digest.update(checkpoints.identity(attrgetter(name)(settings)).encode())
    for other in recipe.upstream:
        digest.update(fingerprint(other, settings).encode())
    if stage == "filter":
        for name, params in settings.custom.items():
            digest.update(f"{name} {params.gate} {fingerprint(name, settings)} ".encode())
    return digest.hexdigest()


def is_stage(name: str, settings: Settings) -> bool:
    """Whether a stage has a fingerprint by these settings."""
    return name in RECIPES or name in settings.custom


def _custom_fingerprint(stage: str, settings: Settings) -> str:
    """A hash of the settings and the code of a stage of the user's own, and of the stages whose output it reads."""
    params = settings.custom[stage]
    sections, upstream = CUSTOM_INPUTS[params.input]
    digest = hashlib.blake2b(f"custom {stage} {CUSTOM_VERSION}".encode(), digest_size=8)
    digest.update(TypeAdapter(dict).dump_json(_hashed_settings(params)))
    for section in sections:
        digest.update(TypeAdapter(dict).dump_json({section: _hashed_settings(getattr(settings, section))}))
    for name in custom.arguments(params):
        digest.update(user_code.identity(getattr(params, name)).encode())
    digest.update(fingerprint(upstream, settings).encode())
    return digest.hexdigest()


def chain_fingerprint(stages: Iterable[str], settings: Settings) -> str:
    """A hash of the settings by which a chain of stages finds what is pending."""
    digest = hashlib.blake2b(digest_size=8)
    for stage in stages:
        digest.update(f"{stage} {fingerprint(stage, settings)} ".encode())
    digest.update(f"{settings.caption.only_kept}".encode())
    return digest.hexdigest()
