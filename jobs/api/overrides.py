"""Settings of a Python program, as the command line's `--set` takes them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jobs.config.errors import SettingsError

Text = str | os.PathLike[str]  # the name of a file or folder


def text(name: Text) -> str:
    """The name of a file or folder as the command line has it: a shell writes ~ out."""
    return os.path.expanduser(os.fspath(name))


def texts(names: Text | Iterable[Text]) -> tuple[str, ...]:
    """Such names, of several or of one."""
    return tuple(map(text, [names] if isinstance(names, str | os.PathLike) else names))


def overrides(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """`section.key=value` of every setting; names are `section.key`, or sections that hold keys.

    Raises:
        SettingsError: a value cannot be written in TOML.
    """
    return tuple(f"{name}={_toml(name, value)}" for name, value in _flat("", settings))


def _flat(section: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{section}{key}.", value)
        else:
            yield f"{section}{key}", value


def _toml(name: str, value: Any) -> str:
    value = value.tolist() if hasattr(value, "tolist") else value  # of numpy
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(name, item) for item in value)}]"
    if isinstance(value, str | os.PathLike):
        return json.dumps(os.fspath(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    raise SettingsError(f"{name}: {value!r} is no text, number, bool or list; leave a setting away for its default")
