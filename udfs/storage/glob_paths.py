"""Expand a glob pattern, where ** enters each folder once whatever links lead to it."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections import deque
from collections.abc import Iterator


def expand(pattern: str) -> Iterator[str]:
    """The paths that match an absolute pattern, in no order; hidden names match only what begins with a dot.

    `glob` follows every way through linked folders, whose number doubles with each link of a loop.
    """
    parts = [part for part in pattern.split("/") if part]
    yield from _expand("/", parts)


def _expand(folder: str, parts: list[str]) -> Iterator[str]:
    """The paths below a folder that match the rest of a pattern."""
    if not parts:
        yield folder
        return
    first, rest = parts[0], parts[1:]
    if first == "**":
        for below in _folders(folder):
            yield from _expand(below, rest) if rest else (os.path.join(below, name) for name in _names(below, "*"))
    elif glob.has_magic(first):
        for name in _names(folder, first):
            path = os.path.join(folder, name)
            if not rest or os.path.isdir(path):
                yield from _expand(path, rest)
    elif os.path.lexists(path := os.path.join(folder, first)):
        yield from _expand(path, rest)


def _folders(top: str) -> Iterator[str]:
    """A folder and those below it, each once, by its shortest path."""
    queue, real_paths = deque([top]), set[str]()
    while queue:
        folder = queue.popleft()
        if (real := os.path.realpath(folder)) in real_paths:
            continue
        real_paths.add(real)
        yield folder
        paths = (os.path.join(folder, name) for name in _names(folder, "*"))
        queue.extend(path for path in paths if os.path.isdir(path))


def _names(folder: str, pattern: str) -> list[str]:
    """The names in a folder that match; none of one that cannot be read."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [name for name in fnmatch.filter(names, pattern) if pattern.startswith(".") or not name.startswith(".")]
