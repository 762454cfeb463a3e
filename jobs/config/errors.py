"""Errors that end a command with one line and an exit status.

The status is 2 for wrong usage or settings, 3 for a name that means no video, and 1 for a run that
cannot go on. `RunError` of udfs/core/errors.py, which workers raise too, has status 1: see
jobs/config/faults.py.
"""

from __future__ import annotations


class CommandError(Exception):
    """Ends the command. Its text is the one line that the user sees, and `status` the exit status."""

    status = 1


class UsageError(CommandError):
    """The command line cannot be carried out as written."""

    status = 2


class SettingsError(CommandError):
    """A setting cannot be used; the text names it."""

    status = 2


class UnknownVideoError(CommandError):
    """No video of the output is meant by a name."""

    status = 3


class CatalogError(CommandError):
    """The catalog does not have the schema, or does not let us make it."""


class SessionError(CommandError):
    """Spark cannot be started as asked."""


class TableError(CommandError):
    """This release cannot use a table."""


class OutputBusyError(CommandError):
    """Another run is at work on the same output."""


class RemainsError(CommandError):
    """Something that was to be removed is still there."""


class LeftOverError(CommandError):
    """A check found work that is left, or rows that are there twice."""


class BugsError(CommandError):
    """Inputs met bugs of this code; all other work was done."""
