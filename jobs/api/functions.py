"""The jobs as functions, made of the command line's list of jobs and of each job's Options."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from inspect import Parameter, Signature
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

from jobs import cli
from jobs.api.overrides import Text, overrides, text, texts
from jobs.config.arguments import ARGUMENT, Argument, argument_fields, utc_time
from jobs.config.errors import CommandError, UsageError
from udfs.core.words import did_you_mean

if TYPE_CHECKING:
    from jobs.cli import Done

NO_FUNCTION = ("compare", "failures", "scores", "search", "settings", "sql", "status", "ui", "why")  # these only read
NAMES = tuple(job for job in cli.JOBS if job not in NO_FUNCTION)
DOC = """{about}

    The arguments are those of `reelmill {name}`. `settings` has values by "section.key", `conf` the
    names of TOML files; settings win.

    Returns:
        {returned}

    Raises:
        CommandError: one line says what is wrong.
    """

RETURNED = {
    "Counts": "how many inputs there were (num_in), rows were written (num_out), and inputs failed, by code (failed).",
    "Removed": "num_rows, num_files and num_bytes that were deleted, or would be (dry_run), and the steps that did it.",
    "None": "nothing: it prints.",
}


@cache
def function(name: str) -> Callable[..., Done]:
    """A job as a function: `curate(manifest, output, settings={"filter.motion": True}, limit=5)`."""
    if name not in cli.WITHOUT_SPARK and find_spec("pyspark") is None:
        raise UsageError(cli.NO_SPARK)
    job = importlib.import_module(f"jobs.{name}")
    signature = _signature(job.Options, _result(name))

    def run(*args: Any, **kwargs: Any) -> Done:
        return _run(job, signature.bind(*args, **kwargs).arguments)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = DOC.format(name=name, about=cli.JOBS[name], returned=RETURNED[_result(name)])
    run.__signature__ = signature  # type: ignore[attr-defined]
    return run


def _signature(options: type[Any], result: str) -> Signature:
    """The arguments of a job: required ones first, then those that the command line takes by place."""
    types = get_type_hints(options)
    by_place = sorted((field for field in _own(options) if _place(field) < 4), key=_place)
    parameters = [_parameter(field, Parameter.POSITIONAL_OR_KEYWORD, types) for field in by_place]
    settings = Parameter("settings", Parameter.KEYWORD_ONLY, default=None, annotation=Mapping[str, Any] | None)
    conf = Parameter("conf", Parameter.KEYWORD_ONLY, default=(), annotation=Text | Sequence[Text])
    others = [_parameter(field, Parameter.KEYWORD_ONLY, types) for field in _own(options) if field not in by_place]
    return Signature([*parameters, settings, conf, *others], return_annotation=result)


def _own(options: type[Any]) -> list[Field[Any]]:
    """The fields of Options that are arguments of its function as they are."""
    return [field for field in argument_fields(options) if field.name not in ("conf", "set", "log_format")]


def _place(field: Field[Any]) -> int:
    """The manifest, the output, other required arguments, optional ones with a place, and the others: 0 to 4."""
    how: Argument = field.metadata[ARGUMENT]
    if field.default is MISSING:
        return 0 if how.positional else 1 if field.name == "output" else 2
    return 3 if how.positional else 4


def _parameter(field: Field[Any], kind: Any, types: Mapping[str, Any]) -> Parameter:
    default = Parameter.empty if field.default is MISSING else field.default
    return Parameter(field.name, kind, default=default, annotation=types[field.name])


def _result(name: str) -> str:
    """The type of what a job returns."""
    return {"models": "None", "report": "None", "maintain": "Removed", "takedown": "Removed"}.get(name, "Counts")


def _run(job: ModuleType, given: dict[str, Any]) -> Done:
    from jobs.config.settings import load  # with the code of all stages, which takes more than a second

    conf, settings = given.pop("conf", None) or (), given.pop("settings", None) or {}
    files, values = texts(conf), overrides(settings)
    fields = {field.name: field for field in argument_fields(job.Options)}
    arguments = {name: _value(fields[name], value) for name, value in given.items()}
    options = job.Options(conf=files, set=values, **arguments)
    if hasattr(job, "quick") and job.quick(options) is not None:
        return None
    loaded = load([*files], [*values])
    if not hasattr(job, "without_spark"):
        return cli.execute(job, options, loaded)
    if job.without_spark(options, loaded):
        raise CommandError("models: some differ from what was fetched, as printed above")
    return None


def _value(field: Field[Any], value: Any) -> Any:
    """A value as the command line would give it.

    Raises:
        UsageError: the command line would refuse it.
    """
    more = field.metadata[ARGUMENT].more
    if isinstance(field.default, tuple):
        return texts(value)
    if value is True and "const" in more:
        return more["const"]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, datetime):
        here = value.replace(tzinfo=UTC) if more.get("type") is utc_time else value.astimezone()  # as its text is read
        return value if value.tzinfo else here
    if isinstance(value, str | os.PathLike):
        value = text(value)
    elif isinstance(value, Iterable):
        raise UsageError(
            f"{field.name}: {type(value).__name__} in place of one value; a manifest may be a file with a list"
        )
    try:
        read = more["type"](str(value)) if "type" in more else value
    except (argparse.ArgumentTypeError, ValueError) as e:
        raise UsageError(f"{field.name}: {e}") from e
    if "choices" in more and read not in more["choices"]:
        raise UsageError(f"{field.name}: no {read}{did_you_mean(str(read), [*more['choices']])}")
    return read
