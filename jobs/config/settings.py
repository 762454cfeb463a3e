"""Settings from conf files and --set: the Params of each stage, checked before Spark starts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.metadata import entry_points
from operator import attrgetter
from pathlib import Path
from typing import Any

from jobs.config.errors import SettingsError
from jobs.config.sections import build, merged, parse, read
from schemas.custom import is_name
from udfs import aesthetic, analyze, caption, clip, copies, custom, dedup, embed, enhance, export, filter, split
from udfs.core import cost, scheduling, user_code
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
    custom: dict[str, custom.Params] = field(default_factory=dict)  # by the names of the user's own stages
    spark: dict[str, str] = field(default_factory=dict)


# Removed settings, and what to do instead.
GONE = {"limits.timeout_per_s": "leave it out: limits.timeout_s is the time without progress, however long a video is"}
# Renamed settings.
RENAMED = {f"export.{key}": f"export.frames.{key}" for key in ("policy", "fps", "target_res", "encoding", "quality")}
STAGES_OF_PACKAGES = "reelmill.stages"  # entry points: dicts with the keys of a section [custom.NAME]
NAMES_OF_STAGES = "the name of a table is of a-z, 0-9 and _, and begins with a letter"
NO_PARAMS = ("custom", "spark")  # sections whose keys the user names
SECTIONS: dict[str, Any] = {f.name: f.default_factory for f in fields(Settings) if f.name not in NO_PARAMS}


def load(conf_files: list[str], overrides: list[str]) -> Settings:
    """The defaults, then the files in order, then the overrides.

    An override is `section.key=value`, the value in TOML or a bare word.

    Raises:
        SettingsError: a file that cannot be read, an unknown name, or a value out of bounds.
    """
    given_sections: dict[str, dict[str, Any]] = {}
    for where, section, values in given(conf_files, overrides):
        if faults := name_faults(where, section, values):
            raise SettingsError(faults[0])
        found = dict(_spark_keys("", values)) if section == "spark" else values
        given_sections[section] = merged(given_sections.get(section, {}), found)
    spark = given_sections.pop("spark", {})
    own = _custom(given_sections.pop("custom", {}))
    built = {section: build(section, SECTIONS[section], values) for section, values in given_sections.items()}
    settings = Settings(**built, custom=own, spark=spark)
    for function in functions(settings).values():
        for name in conf_files:
            user_code.look_in(Path(name).absolute().parent, function)
    return settings


def given(conf_files: list[str], overrides: list[str]) -> Iterator[tuple[str, str, Any]]:
    """All that files and overrides set: where, section and values; later ones win."""
    for name in conf_files:
        for section, values in read(name).items():
            yield name, section, values
    for override in overrides:
        yield "--set", *parse(override)


def origins(conf_files: list[str], overrides: list[str]) -> dict[str, str]:
    """Where each setting is set, by its name; those that are not here have their defaults."""
    settings = [*given(conf_files, overrides)]
    off = {name for _, section, values in settings if section == "custom" for name in turned_off(values)}
    packages = ((f"package {package}", "custom", {stage: keys}) for stage, package, keys in stages_of_packages(off))
    return {name: where for where, section, values in (*packages, *settings) for name in _flat(section, values)}


def functions(settings: Settings) -> dict[str, str]:
    """The user's own functions (module:function), by the settings that name them."""
    named = {
        f"custom.{stage}.{name}": getattr(params, name)
        for stage, params in settings.custom.items()
        for name in custom.arguments(params)
    }
    models = ("embed.model", "aesthetic.model", "aesthetic.head", "caption.engine", "enhance.engine")
    named |= {name: attrgetter(name)(settings) for name in models}
    return {setting: name for setting, name in named.items() if user_code.is_function(name)}


def sections() -> dict[str, Any]:
    """Every section with its Params, sections within a section after it."""
    flat: dict[str, Any] = {}
    for section, params in SECTIONS.items():
        flat |= with_inner(section, params)
    return flat


def names() -> list[str]:
    """Every setting there is, as `section.key`, or `section.resources.key`, but those of the user's own stages."""
    return _names(sections())


def name_faults(where: str, section: str, values: Any) -> list[str]:
    """A line for each name in a section that is not there."""
    if section not in (*SECTIONS, *NO_PARAMS):
        return [f"{where}: no section [{section}]{did_you_mean(section, [*SECTIONS, *NO_PARAMS])}"]
    if not isinstance(values, dict):
        return [f"{where}: {section} is a section: write [{section}] and its keys below"]
    if section == "spark":
        return []
    if section == "custom":
        return [fault for stage, keys in values.items() for fault in _custom_faults(where, stage, keys)]
    known = {*names()}
    wrong = [name for name in _flat(section, values) if name not in known]
    return [f"{where}: no setting {name}{_advice(name)}" for name in wrong]


def with_inner(section: str, params: Any) -> dict[str, Any]:
    """A section with its Params, and the sections within it after it."""
    flat = {section: params}
    for name, info in params.__pydantic_fields__.items():
        default = None if info.is_required() else info.get_default(call_default_factory=True)
        flat |= with_inner(f"{section}.{name}", type(default)) if is_dataclass(default) else {}
    return flat


def _names(every: dict[str, Any]) -> list[str]:
    flat = [f"{section}.{f.name}" for section, params in every.items() for f in fields(params)]
    return [name for name in flat if name not in every]


def _custom_faults(where: str, stage: str, values: Any) -> list[str]:
    """What is wrong with the names in the section of a stage of the user's own."""
    section = f"custom.{stage}"
    if not is_name(stage):
        return [f"{where}: {section}: {NAMES_OF_STAGES}"]
    if not isinstance(values, dict):
        return [f"{where}: {section} is a section: write [{section}] and its keys below"]
    known = _names(with_inner(section, custom.Params))
    # Below `columns`, `comments` and `checks` the user names the keys.
    given_names = [*_flat(section, {key: value for key, value in values.items() if key == "resources"})]
    given_names += [f"{section}.{key}" for key in values if key != "resources"]
    return [f"{where}: no setting {name}{did_you_mean(name, known)}" for name in given_names if name not in known]


def stages_of_packages(off: Collection[str] = ()) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The stages that installed packages bring: the name of each, its package, and the keys of its section.

    Those that are turned off are not imported.

    Raises:
        SettingsError: a package cannot be imported, or two bring a stage of one name.
    """
    packages: dict[str, str] = {}
    for entry in entry_points(group=STAGES_OF_PACKAGES):
        if entry.name in off:
            continue
        package = entry.dist.name if entry.dist else entry.module
        leave_out = f"custom.{entry.name}.use = false leaves it out"
        if entry.name in packages:
            both = f"{packages[entry.name]} and {package}"
            raise SettingsError(
                f"custom.{entry.name}: the packages {both} both bring a stage of this name; {leave_out}"
            )
        if not is_name(entry.name):
            raise SettingsError(f"custom.{entry.name} of {package}: {NAMES_OF_STAGES}; {leave_out}")
        packages[entry.name] = package
        try:
            yield entry.name, package, {**entry.load()}
        except (Exception, SystemExit) as e:  # a package's own code runs, and may fail in any way
            message = f"{type(e).__name__}: {' '.join(str(e).split())}"
            raise SettingsError(f"custom.{entry.name} of {entry.value}: {message}; {leave_out}") from e


def turned_off(stages: Any) -> set[str]:
    """The names of the user's own stages in a section [custom] that say use = false."""
    named = stages.items() if isinstance(stages, dict) else ()
    return {name for name, keys in named if isinstance(keys, dict) and keys.get("use") is False}


def _custom(sections: dict[str, dict[str, Any]]) -> dict[str, custom.Params]:
    """The user's own stages: those of installed packages, whose keys the sections may change, and the others."""
    off = turned_off(sections)
    stages = merged({stage: keys for stage, _, keys in stages_of_packages(off)}, sections)
    built = {name: build(f"custom.{name}", custom.Params, values) for name, values in stages.items() if name not in off}
    return {name: params for name, params in built.items() if params.use}


def _flat(section: str, values: dict[str, Any]) -> list[str]:
    flat = []
    for key, value in values.items():
        name = f"{section}.{key}"
        flat += _flat(name, value) if isinstance(value, dict) else [name]
    return flat


def _spark_keys(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Spark's own keys with their values as text; TOML takes dots for sections where a key is not in quotes."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _spark_keys(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", str(value).lower() if isinstance(value, bool) else str(value)


def _advice(name: str) -> str:
    if name in RENAMED:
        return f" any more; it is {RENAMED[name]} now"
    return f" any more; {GONE[name]}" if name in GONE else did_you_mean(name, names())
