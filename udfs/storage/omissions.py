"""Reasons to leave files and rows out of an ingest, and a summary with their counts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

from udfs.core.words import counted
from udfs.storage.uris import is_remote, local_path

SUFFIX = "suffix"
HIDDEN = "hidden"
TRASH = "trash"
UNREADABLE = "unreadable"
LINK = "link"
DUPLICATE = "duplicate"
BLANK = "blank"
TAKEN_DOWN = "taken down"
UNCHANGED = "unchanged"
OUTPUT = "output"
# Their words in the summary: for one file or row, and for several.
WORDS = {
    SUFFIX: ("not a video by its suffix", "not a video by their suffix"),
    HIDDEN: ("hidden", "hidden"),
    TRASH: ("in a trash folder", "in trash folders"),
    UNREADABLE: ("folder unreadable", "folders unreadable"),
    LINK: ("link to what is listed already", "links to what is listed already"),
    DUPLICATE: ("duplicate row", "duplicate rows"),
    BLANK: ("blank row", "blank rows"),
    TAKEN_DOWN: ("taken down", "taken down"),
    UNCHANGED: ("not changed since", "not changed since"),
    OUTPUT: ("made by Reelmill", "made by Reelmill"),
}
# Folders in which systems keep deleted files, thumbnails and macOS resource forks.
TRASHES = {
    "$recycle.bin",
    "recycler",
    "#recycle",
    "@recycle",
    "lost+found",
    "system volume information",
    "@eadir",
    "__macosx",
}


def reason(name: str) -> str | None:
    """The reason to leave out a folder or file of that name; None if there is none."""
    if name.casefold() in TRASHES or name.casefold().startswith(".trash"):
        return TRASH
    return HIDDEN if name.startswith(".") else None


def is_media_of_output(folder: str) -> bool:
    """Whether a folder holds the clips of an output: it is called media, and Delta tables lie beside it."""
    above, name = os.path.split(folder)
    if name != "media":
        return False
    try:
        return any(os.path.isdir(f"{above}/tables/{table}/_delta_log") for table in os.listdir(f"{above}/tables"))
    except OSError:
        return False


def media_of(output: str) -> tuple[str, ...]:
    """How addresses of media files of an output begin."""
    if is_remote(output):
        return (f"{output}/media/",)
    path = local_path(output)
    return tuple(f"{place}/media/" for place in dict.fromkeys((path, os.path.realpath(path))))


def summary(num_files: int, left_out: Mapping[str, int]) -> str:
    """What a manifest holds: `3 files found, 2 left out (1 hidden, 1 duplicate row)`."""
    counts = Counter(left_out)
    words = [f"{counts[name]} {forms[counts[name] != 1]}" for name, forms in WORDS.items() if counts[name]]
    details = f" ({', '.join(words)})" if words else ""
    return f"{counted(num_files, 'file')} found, {counts.total()} left out{details}"
