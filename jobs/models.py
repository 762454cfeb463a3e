"""models: the hub's pinned checkpoints -> local folders; without Spark"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

from jobs import cli
from jobs.config.settings import Settings
from udfs.models import checkpoints, hub
from udfs.models.checkpoints import KNOWN, MissingModelError, Params


def without_spark(options: argparse.Namespace, settings: Settings) -> int:
    """List the known models, or fetch or check some; the exit status."""
    params = replace(settings.models, dir=options.dir or settings.models.dir)
    if options.fetch:
        return fetch(options.fetch, params)
    if options.check:
        return check(params)
    print(listing(params))
    return 0


def fetch(names: list[str], params: Params) -> int:
    """Fetch what is not there, one after the other; no name is tried before all of them are known."""
    for name, found in [(name, _on_hub(name)) for name in names]:
        try:
            new = hub.fetch(found, params)
        except MissingModelError as e:
            print(f"reelmill: {e}", file=sys.stderr)
            return 1
        print(f"{name}: {'fetched into' if new else 'was in'} {checkpoints.place(found, params)}")
    return 0


def check(params: Params) -> int:
    """Read every fetched file again and tell what differs from when it came."""
    folders = sorted(path.parent for path in checkpoints.root(params).glob(f"*/*/{checkpoints.INDEX}"))
    wrong = {folder: checkpoints.verify(folder) for folder in folders}
    for folder, lines in wrong.items():
        name = f"{folder.parent.name}/{folder.name}"
        print("\n".join(f"{name}: {line}" for line in lines) if lines else f"{name}: as fetched")
    if not folders:
        print(f"no models in {params.dir}")
    return 1 if any(wrong.values()) else 0


def listing(params: Params) -> str:
    """The known models, a line each."""
    rows = [
        (name, "present" if checkpoints.present(found, params) else "-", f"{found.repo}@{found.revision[:7]}", _about(found))
        for name, found in KNOWN.items()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join("  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows)


def _on_hub(name: str) -> checkpoints.Checkpoint:
    if checkpoints.is_local(name):
        raise cli.UsageError(f"{name} is a folder here, and used as it is: {os.path.abspath(name)}")
    try:
        return checkpoints.checkpoint(name)
    except MissingModelError as e:
        raise cli.UsageError(str(e)) from e


def _about(found: checkpoints.Checkpoint) -> str:
    return found.about + ("; runs code of its own" if found.remote_code else "")


if __name__ == "__main__":
    cli.script("models")
