"""The command that started this program, as a user can paste it into the same shell."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "reelmill"


def command() -> str:
    """The words to put before the name of a job: `reelmill`, `.venv/bin/reelmill` or `python -m jobs`."""
    module = getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None)
    return command_of(sys.argv[0], module, sys.orig_argv[0], sys.executable)


def command_of(started: str, module: str | None, python: str, executable: str) -> str:
    """`command`, for the script `started`, or for `-m module` of a Python that was typed as `python`.

    A script that was started by its path, or lies next to `executable`, is `reelmill` alone where
    the shell finds that very file by its name.
    """
    names = (module or "").split(".")
    by_module = f"{shlex.quote(_short(python) if os.sep in python else python)} -m jobs"
    if names == ["jobs", "__main__"]:
        return by_module
    script = Path(started) if Path(started).name == NAME else Path(executable).with_name(NAME)
    if script.is_file():
        by_name = shutil.which(NAME)
        return NAME if by_name and script.samefile(by_name) else shlex.quote(_short(str(script)))
    return by_module if names[0] == "jobs" else NAME


def _short(path: str) -> str:
    """The path, or the path from the current folder where that is shorter."""
    relative = os.path.relpath(path)
    shorter = relative if os.sep in relative else os.path.join(os.curdir, relative)
    return shorter if len(shorter) < len(path) else path
