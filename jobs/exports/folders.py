"""The folders that an output was exported to, noted below it so that a takedown finds them."""

from __future__ import annotations

import hashlib
import json
import os

from jobs.config.errors import UsageError
from jobs.lake.run import Run
from udfs.core.errors import MediaError, StoreError
from udfs.storage import media_store
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import is_remote, split_scheme

NOTES = "exports"  # the folder of an output with a note per folder that it was exported to


def refuse_inside(to: str, output: str) -> None:
    """Refuse to export into the output itself: its tables take files of others for their own, and VACUUM deletes them.

    Raises:
        UsageError: `to` is the output or lies below it.
    """
    folder, inside = _place(output), _place(to)
    if inside == folder or inside.startswith(f"{folder}/"):
        raise UsageError(f"--to {to}: lies in the output {output}, whose files it would mix with; give another folder")


def note(run: Run, to: str) -> None:
    """Note below the output that it was exported to a folder."""
    name = hashlib.blake2b(to.encode(), digest_size=8).hexdigest()
    with (
        media_store.write_to(
            f"{run.output}/{NOTES}/{name}.json", run.settings.sources, root=f"{run.output}/media"
        ) as path,
        open(path, "w", encoding="utf-8") as file,
    ):
        json.dump({"to": to, "run_id": run.run_id}, file)


def noted(output: str, sources: Sources) -> dict[str, str]:
    """The folders that an output was exported to, in their order, each with the address of its note.

    Raises:
        UsageError: a note cannot be read.
    """
    found = {}
    try:
        for file in media_store.files(f"{output}/{NOTES}", sources):
            with media_store.open_uri(file.uri, sources) as content:
                found[str(json.loads(content.read())["to"])] = file.uri
    except (OSError, ValueError, TypeError, KeyError, MediaError, StoreError) as e:
        raise UsageError(f"{output}/{NOTES}: a note of an export cannot be read: {e}") from e
    return dict(sorted(found.items()))


def _place(folder: str) -> str:
    """A folder's one name, whatever links lead to it."""
    if is_remote(folder):
        return f"s3://{split_scheme(folder)[1].strip('/')}"
    return os.path.realpath(folder.replace("dbfs:", "/dbfs", 1) if folder.startswith("dbfs:") else folder)
