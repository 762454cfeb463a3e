"""A folder -> the videos below it, through links too, and the counts of what was left out."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator

from udfs import omissions
from udfs.source import VIDEO_SUFFIXES

Key = tuple[int, int] | str


def videos(top: str) -> tuple[list[str], Counter[str]]:
    """The paths of the videos below a folder, in order, each file once, and what was left out by reason.

    Linked folders are entered after all others: what is reached both ways has its name without links. A link to a video that is
    listed is left out, since the file stays where links are moved. Two hard links are two files: telling them apart would ask
    for every file.

    Raises:
        OSError: the folder itself cannot be read.
    """
    os.scandir(top).close()
    found, links, left = list[str](), list[str](), Counter[str]()
    reached, reals = set[Key](), set[str]()
    waiting, linked = deque([(top, os.path.realpath(top))]), deque[tuple[str, str]]()
    while waiting or linked:
        folder, real = waiting.pop() if waiting else linked.popleft()
        if (key := _key(folder, real)) in reached:
            left[omissions.LINK] += 1
            continue
        reached.add(key)
        reals.add(real)
        for entry in _entries(folder, left):
            if _is_folder(entry):
                _enter(entry, real, waiting, linked, left)
            elif _is_taken(entry.name, left):
                (links if entry.is_symlink() else found).append(entry.path)
    return sorted(found + _unlisted(links, reals, left)), left


def _enter(
    entry: os.DirEntry[str], real: str, waiting: deque[tuple[str, str]], linked: deque[tuple[str, str]], left: Counter[str]
) -> None:
    if why := omissions.reason(entry.name):
        left[why] += 1
    elif entry.is_symlink():
        linked.append((entry.path, os.path.realpath(entry.path)))
    else:
        waiting.append((entry.path, os.path.join(real, entry.name)))


def _is_taken(name: str, left: Counter[str]) -> bool:
    if not name.lower().endswith(VIDEO_SUFFIXES):
        left[omissions.SUFFIX] += 1
    elif why := omissions.reason(name):
        left[why] += 1
    else:
        return True
    return False


def _unlisted(links: list[str], reals: set[str], left: Counter[str]) -> list[str]:
    """The links, in order, that lead to a file which neither lies in a folder that was walked nor another link led to."""
    kept: dict[str, str] = {}
    for link in sorted(links):
        target = os.path.realpath(link)
        folder, name = os.path.split(target)
        if target in kept or (folder in reals and _is_taken(name, Counter()) and not os.path.islink(target)):
            left[omissions.LINK] += 1
        else:
            kept[target] = link
    return list(kept.values())


def _key(folder: str, real: str) -> Key:
    """What a folder is by any name; some file systems number nothing."""
    try:
        info = os.stat(folder)
    except OSError:  # which its listing will count
        return real
    return (info.st_dev, info.st_ino) if info.st_ino else real


def _entries(folder: str, left: Counter[str]) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:  # no permission, removed meanwhile, a disk or a server that fails: its siblings can be read
        left[omissions.UNREADABLE] += 1


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or an entry that cannot be asked: a row of failures, if it is a video by its name
        return False
