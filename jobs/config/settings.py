"""Settings from conf files and --set: the Params of each stage, checked before Spark starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from jobs.config.errors import SettingsError
from jobs.config.sections import build, parse, read
from udfs import aesthetic, analyze, caption, clip, copies, dedup, embed, enhance, export, filter, split
from udfs.core import cost, scheduling
from udfs.core.limits import Limits
from udfs.core.words import did_you_mean
from udfs.frames import windows
from udfs.models import registry
from udfs.signals import motion, phash, preview, proxy, quality
from udfs.storage import cleanup, manifest
from udfs.storage.settings import Params as Sources


@dataclass(frozen=True)
class Settings:
    """One field per section of a conf file; `spark` holds Spark's own keys as they are."""

    sources: Sources = field(default_factory=Sources)
    manifest: manifest.Params = field(default_factory=manifest.Params)
    limits: Limits = field(default_factory=Limits)
    models: registry.Params = field(default_factory=registry.Params)
    curate: scheduling.Params = field(default_factory=scheduling.Params)
    split: split.Params = field(default_factory=split.Params)
    clip: clip.Params = field(default_factory=clip.Params)
    analyze: analyze.Params = field(default_factory=analyze.Params)
    motion: motion.Params = field(default_factory=motion.Params)
    quality: quality.Params = field(default_factory=quality.Params)
    phash: phash.Params = field(default_factory=phash.Params)
    proxy: proxy.Params = field(default_factory=proxy.Params)
    preview: preview.Params = field(default_factory=preview.Params)
    windows: windows.Params = field(default_factory=windows.Params)
    copies: copies.Params = field(default_factory=copies.Params)
    aesthetic: aesthetic.Params = field(default_factory=aesthetic.Params)
    embed: embed.Params = field(default_factory=embed.Params)
    dedup: dedup.Params = field(default_factory=dedup.Params)
    filter: filter.Params = field(default_factory=filter.Params)
    caption: caption.Params = field(default_factory=caption.Params)
    enhance: enhance.Params = field(default_factory=enhance.Params)
    export: export.Params = field(default_factory=export.Params)
    cost: cost.Params = field(default_factory=cost.Params)
    maintain: cleanup.Params = field(default_factory=cleanup.Params)
    spark: dict[str, str] = field(default_factory=dict)


# Removed settings, and what to do instead.
GONE = {"limits.timeout_per_s": "leave it out: limits.timeout_s is the time without progress, however long a video is"}
# Renamed settings.
RENAMED = {f"export.{key}": f"export.frames.{key}" for key in ("policy", "fps", "target_res", "encoding", "quality")}
SECTIONS: dict[str, Any] = {f.name: f.default_factory for f in fields(Settings) if f.name != "spark"}


def load(conf_files: list[str], overrides: list[str]) -> Settings:
    """The defaults, then the files in order, then the overrides.

    An override is `section.key=value`, the value in TOML or a bare word.

    Raises:
        SettingsError: a file that cannot be read, an unknown name, or a value out of bounds.
    """
    merged: dict[str, dict[str, Any]] = {}
    for where, section, values in given(conf_files, overrides):
        _merge(merged, section, values, where)
    spark = {key: _spark_text(value) for key, value in merged.pop("spark", {}).items()}
    return Settings(
        **{section: build(section, SECTIONS[section], values) for section, values in merged.items()}, spark=spark
    )


def given(conf_files: list[str], overrides: list[str]) -> Iterator[tuple[str, str, Any]]:
    """All that files and overrides set: where, section and values; later ones win."""
    for name in conf_files:
        for section, values in read(name).items():
            yield name, section, values
    for override in overrides:
        yield "--set", *parse(override)


def origins(conf_files: list[str], overrides: list[str]) -> dict[str, str]:
    """Where each setting is set, by its name; those that are not here have their defaults."""
    return {name: where for where, section, values in given(conf_files, overrides) for name in _flat(section, values)}


def sections() -> dict[str, Any]:
    """Every section with its Params, sections within a section after it."""
    flat: dict[str, Any] = {}
    for section, params in SECTIONS.items():
        flat |= _with_inner(section, params)
    return flat


def names() -> list[str]:
    """Every setting there is, as `section.key`, or `section.resources.key`."""
    every = sections()
    flat = [f"{section}.{f.name}" for section, params in every.items() for f in fields(params)]
    return [name for name in flat if name not in every]


def name_faults(where: str, section: str, values: Any) -> list[str]:
    """A line for each name in a section that is not there."""
    if section != "spark" and section not in SECTIONS:
        return [f"{where}: no section [{section}]{did_you_mean(section, [*SECTIONS, 'spark'])}"]
    if not isinstance(values, dict):
        return [f"{where}: {section} is a section: write [{section}] and its keys below"]
    known = {*names()}
    wrong = [name for name in _flat(section, values) if section != "spark" and name not in known]
    return [f"{where}: no setting {name}{_advice(name)}" for name in wrong]


def _with_inner(section: str, params: Any) -> dict[str, Any]:
    flat, defaults = {section: params}, params()
    for name, inner in ((f"{section}.{f.name}", getattr(defaults, f.name)) for f in fields(params)):
        flat |= _with_inner(name, type(inner)) if is_dataclass(inner) else {}
    return flat


def _merge(merged: dict[str, dict[str, Any]], section: str, values: Any, where: str) -> None:
    if faults := name_faults(where, section, values):
        raise SettingsError(faults[0])
    there = merged.setdefault(section, {})
    for key, value in values.items():
        there[key] = there.get(key, {}) | value if isinstance(value, dict) else value


def _flat(section: str, values: dict[str, Any]) -> list[str]:
    flat = []
    for key, value in values.items():
        name = f"{section}.{key}"
        flat += _flat(name, value) if isinstance(value, dict) else [name]
    return flat


def _spark_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _advice(name: str) -> str:
    if name in RENAMED:
        return f" any more; it is {RENAMED[name]} now"
    return f" any more; {GONE[name]}" if name in GONE else did_you_mean(name, names())
