"""Every setting as users see it: its default, what it accepts, and its meaning with the unit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from jobs.config.settings import Settings, sections, with_inner
from udfs import custom

BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SPARK_VALUE = {"type": ["string", "number", "boolean"]}


class Described(NamedTuple):
    """One setting."""

    name: str  # section.key
    default: Any
    choices: tuple[Any, ...]  # empty: any value within the bounds
    bounds: str  # the kind of value, and its bounds, in words
    about: str  # its meaning and unit


def described(stages: Iterable[str] = ()) -> Iterator[Described]:
    """Every setting there is, by sections; with those of these stages of the user's own."""
    every = sections()
    for name in stages:
        every |= with_inner(f"custom.{name}", custom.Params)
    for section, params in every.items():
        yield from described_section(section, params)


def described_section(section: str, params: Any) -> Iterator[Described]:
    """The settings of a section, without those of the sections within it."""
    for key, info in params.__pydantic_fields__.items():
        default = None if info.is_required() else info.get_default(call_default_factory=True)
        if not is_dataclass(default):
            choices = _choices(info.annotation)
            yield Described(f"{section}.{key}", default, choices, _bounds(info), info.description or "")


def conf_schema() -> dict[str, Any]:
    """The JSON schema of conf files, which editors complete and check them by.

    It requires no key of [custom.NAME]: an installed package may give them.
    """
    schema = TypeAdapter(Settings).json_schema()
    own = schema["properties"]["custom"]["additionalProperties"]["$ref"]
    del schema["$defs"][own.rpartition("/")[2]]["required"]
    properties = schema["properties"] | {"spark": {"type": "object", "additionalProperties": SPARK_VALUE}}
    title = {"$schema": DIALECT, "title": "Settings of Reelmill"}
    return schema | title | {"properties": properties, "additionalProperties": False}


def _bounds(info: FieldInfo) -> str:
    """The kind and bounds of a setting, in words."""
    metadata = [*info.metadata, *_inner_metadata(info.annotation)]
    bounds = {name: value for item in metadata for name in BOUNDS if (value := getattr(item, name, None)) is not None}
    return ", ".join([_kind(info.annotation), *(f"{BOUNDS[name]} {value:g}" for name, value in bounds.items())])


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(choice for inner in get_args(annotation) if get_origin(inner) is Literal for choice in get_args(inner))


def _inner_metadata(annotation: Any) -> list[Any]:
    """Bounds within an optional or repeated type."""
    found: list[Any] = []
    for inner in get_args(annotation):
        for item in getattr(inner, "__metadata__", ()):
            found += item.metadata if isinstance(item, FieldInfo) else [item]
    return found


def _kind(annotation: Any) -> str:
    """The kind of value that a type takes, in words."""
    text = str(annotation)
    if "tuple" in text or "list" in text:
        return "a list"
    kinds = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
    return next((words for kind, words in kinds.items() if re.search(rf"\b{kind}\b", text)), "text")
