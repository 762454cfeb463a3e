"""A prompt for queries: line editing, history and completion by GNU readline, which Python brings."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from jobs.config.errors import CommandError
from udfs.core import terminal

try:
    import readline
except ImportError:  # a Python that was built without it
    readline = None  # type: ignore[assignment]

FIRST, NEXT = "sql> ", "...> "
QUIT = ("\\q", "quit", "exit")
HELLO = "A query ends with ; or an empty line. \\q or Ctrl-D ends, Ctrl-C stops a query, TAB completes names."
HISTORY_LINES = 2000
DELIMITERS = " \t\n,()[]=<>!+-*/;'\"`"


def run(ask: Callable[[str], None], columns: Mapping[str, Sequence[str] | Mapping[str, str]]) -> None:
    """Ask for queries until the user ends it; `ask` prints an answer or raises CommandError.

    `columns` has the columns of every table and view, for completion.
    """
    print(HELLO, file=sys.stderr)
    with _interruptible(), _editing(columns):
        while True:
            try:
                query = _query()
                if query is None:
                    return
                if query:
                    ask(query)
            except CommandError as e:
                print(f"reelmill: {terminal.escaped(str(e))}", file=sys.stderr)
            except KeyboardInterrupt:
                print("stopped", file=sys.stderr)


def matches(text: str, columns: Mapping[str, Sequence[str] | Mapping[str, str]]) -> list[str]:
    """The names that a text may become: those of tables, views and columns; behind `clips.`, columns of clips."""
    table, dot, begun = text.rpartition(".")
    known = columns.get(table, ()) if dot else {*columns, *(name for names in columns.values() for name in names)}
    return sorted(f"{table}{dot}{name}" for name in known if name.startswith(begun.lower()))


def history_file() -> Path:
    """Where the history is kept, readable by this user alone."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state, "reelmill", "sql_history")


def _query() -> str | None:
    """The next query, of one or more lines; empty after Ctrl-C, None at the end."""
    lines: list[str] = []
    while True:
        try:
            line = input(NEXT if lines else FIRST)
        except EOFError:
            print(file=sys.stderr)
            return None
        except KeyboardInterrupt:
            print(file=sys.stderr)
            return ""
        if not lines and line.strip().rstrip(";").lower() in QUIT:
            return None
        if line.strip():
            lines.append(line)
        if lines and (not line.strip() or line.rstrip().endswith(";")):
            return "\n".join(lines)
        if not lines:
            return ""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, which elsewhere ends the command."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _editing(columns: Mapping[str, Sequence[str] | Mapping[str, str]]) -> Iterator[None]:
    """Complete names by TAB, and keep the lines of earlier prompts."""
    if readline is None:
        yield
        return
    found: list[str] = []

    def complete(text: str, state: int) -> str | None:
        if state == 0:
            found[:] = matches(text, columns)
        return found[state] if state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(DELIMITERS)
    readline.parse_and_bind("tab: complete")
    path = history_file()
    with suppress(OSError):  # a home that cannot be written to costs the history only
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
        readline.read_history_file(path)
    try:
        yield
    finally:
        with suppress(OSError):
            readline.set_history_length(HISTORY_LINES)
            readline.write_history_file(path)
            path.chmod(0o600)
