"""Take videos out of exports, and say which other exports still hold files of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator

from jobs.config.errors import UsageError
from jobs.exports import folders, release
from jobs.lake.cleanup import Step
from jobs.lake.run import Run
from udfs.core.errors import MediaError, StoreError
from udfs.core.words import counted
from udfs.exports import huggingface, shards, withdraw
from udfs.storage import media_store
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import redacted

log = logging.getLogger("reelmill")


def take_out(run: Run, folder: str, ids: Collection[str], *, dry_run: bool) -> Step:
    """Delete the clips and videos with these ids from an export."""
    sources = run.settings.sources
    affected = withdraw.affected_files(folder, ids, sources)
    sizes = [withdraw.files_and_bytes(folder, files, sources) for files in affected]
    if not dry_run:
        withdraw.remove_ids(folder, ids, sources)
        _update_release(folder, sources)
    num_files, num_bytes = sum(count for count, _ in sizes), sum(size for _, size in sizes)
    return Step("exported of it", folder, None, num_files, num_bytes)


def _update_release(folder: str, sources: Sources) -> None:
    """Have release.json, and the card of a data set, say what is left; also if an earlier takedown was killed here."""
    path = f"{folder}/{release.FILE}"
    if media_store.size(path, sources) is None:
        return
    try:
        described = release.load(path, sources)
    except UsageError as e:
        log.warning("takedown: not brought up to date: %s", e)
        return
    names = [part["part"] for part in described.get("parts", [])]  # of an export that goes on there are none
    left = shards.part_summaries(folder, names, sources)
    new = release.after_takedown(described, {name: part for name, part in left.items() if part and part.num_files})
    if not names or new == described:
        return
    if described["format"] == "huggingface":
        huggingface.update_card(folder, described, new, sources)
    release.write(folder, new, sources)


def other_exports(run: Run, named: Collection[str], ids: Collection[str]) -> Iterator[str]:
    """What a takedown leaves in exports of this output, as text.

    That is what all but the `named` folders hold of these ids, and in all of them rows of which no one
    can say what they are of.
    """
    for folder, note in folders.noted(run.output, run.settings.sources).items():
        yield from _left_in(folder, () if folder in named else ids, note, run.settings.sources)


def _left_in(folder: str, ids: Collection[str], note: str, sources: Sources) -> Iterator[str]:
    """What is left in an export, as text; nothing if it is gone."""
    try:
        found = withdraw.content(folder, ids, sources)
    except (OSError, MediaError, StoreError) as e:
        reason = getattr(e, "message", e)
        yield f"the export {redacted(folder)} could not be looked into: {reason} (if it is gone, delete {note})"
        return
    if found.files:
        yield f"{counted(len(found.files), 'file')} in the export {folder} (--exports {folder} takes it out)"
    if found.has_unnamed:
        yield (
            f"rows that name no clip and no video in the export {folder} "
            f"(delete it, or look through it and delete {note})"
        )
