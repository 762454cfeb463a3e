"""settings: list every setting, its value and where it is set, or check a conf file; runs without Spark"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jobs.config import conf_check, settings
from jobs.config.arguments import CommonOptions, argument, flag
from jobs.config.described import Described, conf_schema, described
from jobs.config.errors import UsageError
from jobs.config.settings import Settings
from udfs.core import terminal
from udfs.core.redaction import redacted_spark, redacted_values
from udfs.core.words import counted, did_you_mean

ALIGNED = 44  # characters of a setting and its value before the comment


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What `settings` takes."""

    only: tuple[str, ...] = argument(
        "sections or settings to list, such as split or filter.motion; by default all",
        default=(),
        named=False,
        positional=True,
        nargs="*",
        metavar="NAME",
    )
    schema: bool = flag("print the JSON schema of conf files, for editors")
    check: str | None = argument("name every fault of this conf file", default=None, metavar="FILE")


def quick(options: Options) -> int | None:
    """Check a file, whatever the settings in force, and return the exit status; None where nothing is to be checked."""
    if options.schema + bool(options.check) + bool(options.only) > 1:
        raise UsageError("settings: give --schema, --check or names, one of these")
    return check(options.check) if options.check else None


def without_spark(options: Options, in_force: Settings) -> int:
    """List the settings in force, or print the schema; returns the exit status."""
    terminal.write(schema_text().splitlines() if options.schema else listing(options, in_force))
    return 0


def check(file: str) -> int:
    """Print a line per fault of a conf file, or one that says there is none."""
    if faults := conf_check.file_faults(file):
        print("\n".join(f"reelmill: {fault}" for fault in faults), file=sys.stderr)
        return 2
    print(f"{file}: {counted(conf_check.num_settings(file), 'setting')}, no fault")
    return 0


def schema_text() -> str:
    """The JSON schema of conf files, as conf/reelmill.schema.json holds it."""
    return json.dumps(conf_schema(), indent=1)


def listing(options: Options, in_force: Settings) -> Iterator[str]:
    """A line of TOML per setting, with what it is and where it is set as a comment."""
    origins = settings.origins([*options.conf], [*options.set])
    every = {setting.name: setting for setting in described(in_force.custom)}
    spark = {f"spark.{key}": key for key in in_force.spark}
    for word in options.only:
        if not any(_is_below(name, word) for name in (*every, *spark, "spark")):
            raise UsageError(f"settings: no section or setting {word}{did_you_mean(word, _words(every))}")
    for name, setting in every.items():
        if not options.only or any(_is_below(name, word) for word in options.only):
            below = (where for other, where in origins.items() if _is_below(other, name))
            yield _line(setting, value(in_force, name), next(below, None))
    for name, key in spark.items():
        if not options.only or any(_is_below(name, word) for word in options.only):
            shown = redacted_spark(in_force.spark)[key]
            yield f'spark."{key}" = {_toml(shown)}'.ljust(ALIGNED) + f"  # set by {origins[name]}; Spark's own"


def value(in_force: Settings, name: str) -> Any:
    """The value of a setting by its name."""
    found: Any = in_force
    for part in name.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return redacted_values(found)


def _line(setting: Described, value: Any, origin: str | None) -> str:
    default = "none" if setting.default is None else _toml(setting.default)
    where = f"set by {origin}, default {default}" if origin else "default"
    accepts = ", ".join(map(str, setting.choices)) or setting.bounds
    given = f"# {setting.name} =" if value is None else f"{setting.name} = {_toml(value)}"
    return given.ljust(ALIGNED) + "  # " + "; ".join(part for part in (where, accepts, setting.about) if part)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _is_below(name: str, word: str) -> bool:
    return name == word or name.startswith(f"{word}.")


def _words(every: dict[str, Described]) -> list[str]:
    return [*every, *dict.fromkeys(name.rpartition(".")[0] for name in every)]


if __name__ == "__main__":
    from jobs.cli import script

    script("settings")
