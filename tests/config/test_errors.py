"""Errors that end a command: each has one exit status, and its text is the line that the user sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import cli
from jobs.config import errors
from jobs.config.errors import CommandError

WRONG_COMMAND: tuple[type[CommandError], ...] = (errors.UsageError, errors.SettingsError)
NO_VIDEO: tuple[type[CommandError], ...] = (errors.UnknownVideoError,)
CANNOT_GO_ON: tuple[type[CommandError], ...] = (
    errors.CatalogError,
    errors.SessionError,
    errors.TableError,
    errors.OutputBusyError,
    errors.RemainsError,
    errors.LeftOverError,
    errors.BugsError,
)


@pytest.mark.parametrize(
    ("status", "kinds"),
    [(2, WRONG_COMMAND), (1, CANNOT_GO_ON), (3, NO_VIDEO)],
    ids=["wrong command", "cannot go on", "no video"],
)
def test_the_exit_status_says_whether_the_command_was_wrong(status: int, kinds: tuple[type[CommandError], ...]) -> None:
    assert {kind.status for kind in kinds} == {status}


def test_every_error_is_of_one_of_these_kinds() -> None:
    defined = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CommandError)}
    assert defined - {CommandError} == {*WRONG_COMMAND, *CANNOT_GO_ON, *NO_VIDEO}


@pytest.mark.parametrize("kind", [*WRONG_COMMAND, *CANNOT_GO_ON, *NO_VIDEO])
def test_its_text_is_the_line(kind: type[CommandError]) -> None:
    assert str(kind("table spans: no column start_s")) == "table spans: no column start_s"


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("clip", "reelmill: --set clip: write it as section.key=value\n"),
        ("nothing.crf=1", "reelmill: --set: no section [nothing]"),
    ],
)
def test_a_command_that_ends_so_prints_the_line_alone(
    setting: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["clip", "--output", str(tmp_path), "--set", setting]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(line)
    assert printed.err.count("\n") == 1
