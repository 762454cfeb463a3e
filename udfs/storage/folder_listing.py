"""List the videos below a folder, also through links, and count what was left out by reason."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator

from udfs.storage import omissions
from udfs.storage.uris import VIDEO_SUFFIXES

Key = tuple[int, int] | str


def videos(top: str) -> tuple[list[str], Counter[str]]:
    """The sorted paths of the videos below a folder, each file once, and how much was left out by reason.

    Linked folders are entered after all others, so that a file reached both ways gets its path
    without links. A link to a listed video is left out. Two hard links are two files: to tell that
    they are one would cost a stat of every file.

    Raises:
        OSError: the folder itself cannot be read.
    """
    os.scandir(top).close()
    files, links, left_out = list[str](), list[str](), Counter[str]()
    keys, real_paths = set[Key](), set[str]()  # of the folders walked
    queue, linked = deque([(top, os.path.realpath(top))]), deque[tuple[str, str]]()
    while queue or linked:
        folder, real = queue.pop() if queue else linked.popleft()
        if (key := _key(folder, real)) in keys:
            left_out[omissions.LINK] += 1
            continue
        keys.add(key)
        real_paths.add(real)
        for entry in _entries(folder, left_out):
            if _is_folder(entry):
                _enter(entry, real, queue, linked, left_out)
            elif why := _omission(entry.name):
                left_out[why] += 1
            else:
                (links if entry.is_symlink() else files).append(entry.path)
    return sorted(files + _to_other_files(links, real_paths, left_out)), left_out


def _enter(
    entry: os.DirEntry[str],
    real: str,
    queue: deque[tuple[str, str]],
    linked: deque[tuple[str, str]],
    left_out: Counter[str],
) -> None:
    """Queue a folder below the folder of real path `real`, unless its name is a reason to leave it out."""
    if why := omissions.reason(entry.name):
        left_out[why] += 1
    elif omissions.is_media_of_output(entry.path):
        left_out[omissions.OUTPUT] += 1
    elif entry.is_symlink():
        linked.append((entry.path, os.path.realpath(entry.path)))
    else:
        queue.append((entry.path, os.path.join(real, entry.name)))


def _omission(name: str) -> str | None:
    """The reason to leave out a file of that name; None for a video."""
    return omissions.reason(name) if name.lower().endswith(VIDEO_SUFFIXES) else omissions.SUFFIX


def _to_other_files(links: list[str], real_paths: set[str], left_out: Counter[str]) -> list[str]:
    """The links whose target lies in none of the folders walked; the first one per target."""
    kept: dict[str, str] = {}
    for link in sorted(links):
        target = os.path.realpath(link)
        folder, name = os.path.split(target)
        if target in kept or (folder in real_paths and _omission(name) is None and not os.path.islink(target)):
            left_out[omissions.LINK] += 1
        else:
            kept[target] = link
    return list(kept.values())


def _key(folder: str, real: str) -> Key:
    """The identity of a folder: device and inode, else its real path, since some file systems have no inode numbers."""
    try:
        info = os.stat(folder)
    except OSError:  # listing it fails too, and is counted there
        return real
    return (info.st_dev, info.st_ino) if info.st_ino else real


def _entries(folder: str, left_out: Counter[str]) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:  # no permission, removed meanwhile, or a failing disk: other folders can still be read
        left_out[omissions.UNREADABLE] += 1


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circular link or an unreadable entry; with a video's name it becomes a failure
        return False
