"""Take videos out of exports, and say which other exports still hold files of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from jobs.exports import folders
from jobs.lake import places
from jobs.lake.cleanup import Step
from jobs.lake.run import Run
from udfs.core.errors import MediaError, StoreError
from udfs.core.words import counted
from udfs.exports import withdraw
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import redacted


def take_out(run: Run, folder: str, ids: Collection[str], *, dry_run: bool) -> Step:
    """Delete the clips and videos with these ids from an export."""
    sources = run.settings.sources
    affected = withdraw.affected_files(folder, ids, sources)
    sizes = [withdraw.files_and_bytes(folder, files, sources) for files in affected]
    if not dry_run:
        withdraw.remove_ids(folder, ids, sources)
    num_files, num_bytes = sum(count for count, _ in sizes), sum(size for _, size in sizes)
    return Step("exported of it", folder, None, num_files, num_bytes)


def other_exports(run: Run, named: Collection[str], ids: Collection[str]) -> Iterator[str]:
    """What exports of this output but the `named` folders hold of these ids: one line per export."""
    folders_named = {places.normal(folder) for folder in named}
    for folder, note in folders.noted(run.output, run.settings.sources).items():
        if folder not in folders_named and (left := _left_in(folder, ids, note, run.settings.sources)):
            yield left


def _left_in(folder: str, ids: Collection[str], note: str, sources: Sources) -> str:
    """What an export holds of the videos, as text; empty if it holds nothing of them, or is gone."""
    try:
        number = sum(1 for _ in withdraw.affected_files(folder, ids, sources))
    except (OSError, MediaError, StoreError) as e:
        reason = getattr(e, "message", e)
        return f"the export {redacted(folder)} could not be looked into: {reason} (if it is gone, delete {note})"
    return f"{counted(number, 'file')} in the export {folder} (--exports {folder} takes it out)" if number else ""
