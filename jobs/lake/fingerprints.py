"""The fingerprint of a stage: a hash of its settings, by which a stored row is known to be current."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from pydantic import TypeAdapter

from jobs.config.settings import Settings
from jobs.lake.recipes import CUSTOM_RECIPES, RECIPES
from udfs import custom, export
from udfs.core import redaction, user_code
from udfs.core.task_resources import EFFORT
from udfs.models import checkpoints
from udfs.signals import preview


def _hashed_settings(params: Any) -> dict[str, Any]:
    """The settings of a section, without those that change only what the work costs.

    Their order counts in the hash. FINGERPRINT_ORDER keeps it where fields were moved to a base class.
    """
    effort = {name for name, info in params.__pydantic_fields__.items() if info.json_schema_extra == EFFORT}
    values = asdict(params)
    order = dict.fromkeys((*getattr(params, "FINGERPRINT_ORDER", ()), *values))
    newer = getattr(params, "NOT_HASHED_AT_DEFAULT", ())
    same = {name for name in newer if values[name] == params.__pydantic_fields__[name].default}
    values = {name: values[name] for name in order if name not in effort | same}
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
    """A hash of the stage's version, settings and code of the user's own, and of the stages whose output it reads."""
    digest = hashlib.blake2b(digest_size=8)
    for part in _parts(stage, settings):
        digest.update(part)
    return digest.hexdigest()


def every(settings: Settings) -> dict[str, str]:
    """The fingerprint of each stage, but for those that [curate] leaves off, whose models may be missing."""
    stages = [stage for stage in RECIPES if getattr(settings.curate, stage, True)]
    return {stage: fingerprint(stage, settings) for stage in (*stages, *settings.custom)}


def settings_text(settings: Settings, pattern: str | None = None) -> str:
    """The settings as `runs` keeps them, in JSON and without secrets.

    `pattern` says which of Spark's settings are secrets, unless these say it themselves.
    """
    values = settings_values(settings)
    spark = redaction.redacted_spark(values.pop("spark"), pattern)
    return TypeAdapter(dict).dump_json(redaction.redacted_values(values) | {"spark": spark}).decode()


def settings_values(settings: Settings) -> dict[str, Any]:
    """The settings as plain values of JSON."""
    values: dict[str, Any] = TypeAdapter(dict).dump_python(asdict(settings), mode="json")
    return values


def is_stage(name: str, settings: Settings) -> bool:
    """Whether a stage has a fingerprint by these settings."""
    return name in RECIPES or name in settings.custom


def _parts(stage: str, settings: Settings) -> Iterator[bytes]:
    """What a stage's fingerprint is a hash of, in order."""
    own = settings.custom.get(stage)
    recipe = CUSTOM_RECIPES[own.input] if own else RECIPES[stage]
    yield f"{'custom ' if own else ''}{stage} {recipe.version}".encode()
    if own:
        yield TypeAdapter(dict).dump_json(_hashed_settings(own))
    for section in recipe.sections:
        yield TypeAdapter(dict).dump_json({section: _hashed_settings(getattr(settings, section))})
    for name in recipe.models:
        yield checkpoints.identity(attrgetter(name)(settings)).encode()
    for name in custom.arguments(own) if own else ():
        yield user_code.identity(getattr(own, name)).encode()
    for other in recipe.upstream:
        yield fingerprint(other, settings).encode()
    if _puts_texts_in_lower_case(stage, settings):
        yield b"texts in lower case"
    if stage == "filter":
        for name, params in settings.custom.items():
            yield f"{name} {params.gate} {fingerprint(name, settings)} ".encode()


def _puts_texts_in_lower_case(stage: str, settings: Settings) -> bool:
    """Whether a stage may ask SigLIP 2 about texts in upper case: since 0.2.0 it gets them in lower case."""
    if "siglip2" not in settings.embed.model.lower():
        return False
    return stage == "align" or (
        stage == "embed" and any(text != text.lower() for text in settings.embed.texts_to_verify)
    )


def chain_fingerprint(stages: Iterable[str], settings: Settings) -> str:
    """A hash of the settings by which a chain of stages finds what is pending."""
    digest = hashlib.blake2b(digest_size=8)
    for stage in stages:
        digest.update(f"{stage} {fingerprint(stage, settings)} ".encode())
    digest.update(f"{settings.caption.only_kept}".encode())
    return digest.hexdigest()
