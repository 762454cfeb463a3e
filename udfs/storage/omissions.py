"""Reasons to leave files and rows out of an ingest, and a summary with their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from udfs.core.words import counted

SUFFIX = "suffix"
HIDDEN = "hidden"
TRASH = "trash"
UNREADABLE = "unreadable"
LINK = "link"
DUPLICATE = "duplicate"
BLANK = "blank"
TAKEN_DOWN = "taken down"
UNCHANGED = "unchanged"
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


def summary(num_files: int, left_out: Mapping[str, int]) -> str:
    """What a manifest holds: `3 files found, 2 left out (1 hidden, 1 duplicate row)`."""
    counts = Counter(left_out)
    words = [f"{counts[name]} {forms[counts[name] != 1]}" for name, forms in WORDS.items() if counts[name]]
    details = f" ({', '.join(words)})" if words else ""
    return f"{counted(num_files, 'file')} found, {counts.total()} left out{details}"
