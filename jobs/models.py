"""models: list, fetch and verify the models that stages use; runs without Spark"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jobs.config.arguments import CommonOptions, argument, flag
from jobs.config.errors import CommandError, UsageError
from jobs.config.settings import Settings
from udfs.models import checkpoints, hub, registry
from udfs.models.registry import KNOWN, Checkpoint, MissingModelError, Params


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What `models` takes."""

    fetch: tuple[str, ...] = argument(
        "download these: a known name, or org/name@commit", default=(), nargs="+", metavar="NAME"
    )
    check: bool = flag("read the fetched files again and compare them with their hashes")
    dir: str | None = argument("folder of the models; wins over models.dir", default=None, metavar="FOLDER")


def without_spark(options: Options, settings: Settings) -> int:
    """List the known models, fetch some, or verify those that were fetched; returns the exit status."""
    if options.fetch and options.check:
        raise UsageError("models: give --fetch or --check, one of both")
    params = replace(settings.models, dir=options.dir or settings.models.dir)
    if options.fetch:
        fetch(options.fetch, params)
        return 0
    if options.check:
        return check(params)
    print(listing(params))
    return 0


def fetch(names: Sequence[str], params: Params) -> None:
    """Fetch the models that are missing, one after the other, once all names are known to be valid.

    Raises:
        CommandError: one cannot be fetched.
    """
    for name, model in [(name, _checkpoint(name)) for name in names]:
        try:
            fetched = hub.fetch(model, params)
        except MissingModelError as e:
            raise CommandError(str(e)) from e
        print(f"{name}: {'fetched into' if fetched else 'was already in'} {checkpoints.fetched_folder(model, params)}")


def check(params: Params) -> int:
    """Read every fetched file again and print how it differs from what was fetched."""
    folders = sorted(path.parent for path in checkpoints.models_folder(params).glob(f"*/*/{checkpoints.INDEX}"))
    differences = {folder: checkpoints.verify(folder) for folder in folders}
    for folder, lines in differences.items():
        name = f"{folder.parent.name}/{folder.name}"
        print("\n".join(f"{name}: {line}" for line in lines) if lines else f"{name}: unchanged")
    if not folders:
        print(f"no models in {params.dir}")
    return 1 if any(differences.values()) else 0


def listing(params: Params) -> str:
    """The known models, one per line."""
    rows = [
        (
            name,
            "present" if checkpoints.is_fetched(model, params) else "-",
            f"{model.repo}@{model.revision[:7]}",
            _about(model),
        )
        for name, model in KNOWN.items()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


def _checkpoint(name: str) -> Checkpoint:
    if registry.is_local(name):
        raise UsageError(f"{name} is a local folder and needs no fetching: {os.path.abspath(name)}")
    try:
        return registry.checkpoint(name)
    except MissingModelError as e:
        raise UsageError(str(e)) from e


def _about(model: Checkpoint) -> str:
    return model.about + ("; runs Python code of its own" if model.remote_code else "")


if __name__ == "__main__":
    from jobs.cli import script

    script("models")
