"""Command-line arguments, declared by the fields of a job's frozen dataclass Options."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn, TypeVar

from jobs.config import times
from udfs.core import words
from udfs.core.errors import CODES

T = TypeVar("T")
ARGUMENT = "argument"  # the key of a field's metadata
COMMENT = re.compile(r"--[^\s=]*\s")
CONF = (
    "TOML file of settings, or preset:world-model, preset:retrieval or preset:fine-tuning; of several, later ones win"
)


@dataclass(frozen=True)
class Argument:
    """How the command line gives a field."""

    about: str  # its line of --help
    short: str | None = None  # -o beside --output
    named: bool = True  # by --output
    positional: bool = False  # by its place; with `named`, whichever of the two the user likes
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # for argparse


def argument(
    about: str,
    *,
    default: Any = MISSING,
    short: str | None = None,
    named: bool = True,
    positional: bool = False,
    **more: Any,
) -> Any:
    """A field of Options that the command line gives; without a default the user must give it."""
    metadata = {ARGUMENT: Argument(about, short, named, positional, more)}
    return dataclasses.field(default=default, metadata=metadata)


def flag(about: str) -> Any:
    """A field of Options that is true where the command line has its name."""
    return argument(about, default=False, action="store_true")


def several(about: str, metavar: str) -> Any:
    """A field of Options that holds all values given, in their order."""
    return argument(about, default=(), action="append", metavar=metavar)


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """What every job takes."""

    conf: tuple[str, ...] = several(CONF, "FILE")
    set: tuple[str, ...] = several("one setting; wins over files", "SECTION.KEY=VALUE")


@dataclass(frozen=True, kw_only=True)
class OutputOptions(CommonOptions):
    """What every job on an output takes."""

    READS_ONLY: ClassVar[bool] = False  # such a job locks nothing and makes no schema
    SWEEPS: ClassVar[bool] = True  # what killed runs left is removed first; other jobs do that themselves

    output: str = argument("folder, s3://bucket/prefix or dbfs:/path for tables and media", short="-o", metavar="OUT")
    schema: str | None = argument(
        "schema of a catalog in which tables and views are registered", default=None, metavar="[CATALOG.]SCHEMA"
    )
    verbose: bool = flag("show what Spark logs, and how each stage is scheduled")
    log_format: str = argument(
        "the log as text, or for programs as JSON lines with the progress of stages",
        default="text",
        choices=("text", "json"),
    )

    @property
    def locks(self) -> bool:
        """Whether no other run may be at work on the output meanwhile."""
        return not self.READS_ONLY

    @property
    def is_run(self) -> bool:
        """Whether the job does work, of which the output keeps the progress; else it only looks at the output."""
        return not self.READS_ONLY

    @property
    def retry(self) -> tuple[str, ...] | None:
        """Codes of the failures to try again: empty for all, None for none."""
        return None

    @property
    def ends_at(self) -> datetime | None:
        """The time from which on no wave of work begins."""
        return None

    @property
    def places(self) -> tuple[str, ...]:
        """The addresses that Spark itself must reach."""
        return (self.output,)


@dataclass(frozen=True, kw_only=True)
class StageOptions(OutputOptions):
    """What every job that fills tables takes."""

    retry_failed: str | None = argument(
        "try inputs again that failed: all, or those with this code",
        default=None,
        nargs="?",
        const="",
        metavar="CODE",
        choices=["", *CODES],
    )

    @property
    def retry(self) -> tuple[str, ...] | None:
        """Codes of the failures to try again: empty for all, None for none."""
        if self.retry_failed is None:
            return None
        return (self.retry_failed,) if self.retry_failed else ()


class Parser(argparse.ArgumentParser):
    """argparse's parser, whose errors name the nearest right word."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown arguments in the parser of the job, which knows the nearest right ones."""
        values, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return values, unknown

    def error(self, message: str) -> NoReturn:
        """End with the usage and one line."""
        if message.startswith("unrecognized arguments: "):
            known = [flag for action in self._actions for flag in action.option_strings]
            message += words.did_you_mean(message.split()[2].partition("=")[0], known)
        super().error(message)


def with_statements(argv: Sequence[str]) -> list[str]:
    """A command line whose SQL is never taken for an option: a blank comes before a comment that begins a statement.

    A word with other white space has no option in it, unless a "=" comes first; argparse knows that of blanks alone.
    """
    return [f" {word}" if COMMENT.match(word) and " " not in word else word for word in argv]


def word(known: Sequence[str], aliases: Mapping[str, str] = words.NO_ALIASES) -> Callable[[str], str]:
    """The type of an argument that is one of the known words, in any spelling."""

    def read(text: str) -> str:
        if (meant := words.known_name(text, known, aliases)) is None:
            raise argparse.ArgumentTypeError(f"no {text}: {words.right_names(text, known)}")
        return meant

    return read


def add(parser: argparse.ArgumentParser, options: type[CommonOptions], argv: Sequence[str]) -> None:
    """Give a parser the arguments of a job.

    A value that has a place and a name has its place only where the command line `argv` does not
    use the name: argparse would else take a missing value for an empty one.
    """
    for field in argument_fields(options):
        how: Argument = field.metadata[ARGUMENT]
        name = f"--{field.name.replace('_', '-')}"
        by_name = how.named and (not how.positional or _uses(argv, name, how.short))
        default = list(field.default) if isinstance(field.default, tuple) else field.default  # argparse appends to it
        if how.positional and not by_name:
            by_place: dict[str, Any] = {} if default is MISSING else {"default": default}
            parser.add_argument(field.name, help=how.about, **by_place, **how.more)
            if how.named:
                flags = (how.short, name) if how.short else (name,)
                parser.add_argument(
                    *flags, dest=argparse.SUPPRESS, help="the same, by name", metavar=how.more.get("metavar")
                )
        elif how.named:
            flags = (how.short, name) if how.short else (name,)
            required: dict[str, Any] = {"required": True} if default is MISSING else {"default": default}
            parser.add_argument(*flags, dest=field.name, help=how.about, **required, **how.more)


def _uses(argv: Sequence[str], name: str, short: str | None) -> bool:
    return any(word.partition("=")[0] == name or (short is not None and word[:2] == short) for word in argv)


def argument_fields(options: type[Any]) -> list[dataclasses.Field[Any]]:
    """The fields of Options that the command line gives; a job's check may fill in others."""
    return [field for field in dataclasses.fields(options) if ARGUMENT in field.metadata]


def build(options: type[T], values: argparse.Namespace) -> T:
    """The Options of a job from its parsed command line."""
    given = {field.name: getattr(values, field.name) for field in argument_fields(options)}
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def natural(text: str) -> int:
    """A whole number, or 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def utc_time(text: str) -> datetime:
    """An ISO time; without an offset it is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write it as 2026-05-01T05:30") from e
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def since(text: str) -> datetime:
    """A date, an ISO time, or a length of time before now."""
    return _moment(times.since, text, "no date, ISO time, or length of time such as 36h or 7d")


def deadline(text: str) -> datetime:
    """The next time at which a clock shows this time of day."""
    return _moment(times.deadline, text, "no time of day such as 05:30 or 05:30+01:00")


def _moment(read: Callable[[str, datetime], datetime], text: str, wrong: str) -> datetime:
    try:
        return read(text, datetime.now(UTC))
    except (ValueError, OverflowError) as e:
        raise argparse.ArgumentTypeError(f"{text!r} is {wrong}") from e
