"""Run code in a process of its own in which some packages are not installed."""

from __future__ import annotations

import subprocess
import sys

# A finder in front of all others can only say yes, so the packages are taken out of every answer of the standard one.
HIDE = """
import sys
from importlib.machinery import PathFinder
hidden = {names!r}.split()
standard = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in hidden else standard(name, *rest)
"""


def run_without(packages: str, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code where the packages, separated by blanks, cannot be found."""
    command = [sys.executable, "-c", f"{HIDE.format(names=packages)}\n{code}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
