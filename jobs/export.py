"""export: curated, clips, videos -> a folder or prefix of files in the format that is asked for"""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from jobs import cli, sql
from jobs.config.settings import Settings
from jobs.exports import files, frames, release
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs.exports import lance
from udfs.storage.uris import is_remote

HERE = ("frames", "lance")  # whose files are not put into their place one by one and whole


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse an output that holds no tables, a place to export to that is none, and what cannot be exported so."""
    sql.check(options, settings)
    options.to = cli.place("--to", options.to, settings.sources)
    if options.format == "frames" and (options.query or options.as_of):
        raise cli.UsageError("--format frames: takes neither --query nor --as-of; export.what and export.where choose")
    request = release.request(options, settings)
    if request.format == "lance" and not find_spec(lance.PACKAGE):
        raise cli.UsageError("--format lance needs pylance: pip install 'reelmill[export]'")
    if request.format in HERE and is_remote(options.to):
        raise cli.UsageError(f"--format {request.format} --to {options.to}: is written to a folder, not to a store")
    if request.format != "frames":
        release.begun(options.to, request, settings.sources)


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Write what is not there yet, of what the settings that the output was last made with count in."""
    return frames.run(run, options) if options.format == "frames" else files.run(run, options)


if __name__ == "__main__":
    cli.script("export")
