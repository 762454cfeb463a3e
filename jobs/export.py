"""export: write curated clips, all clips or videos to files in one of six formats"""

from __future__ import annotations

from importlib.util import find_spec

from jobs.config.errors import UsageError
from jobs.config.settings import Settings
from jobs.exports import files, folders, frames, named_models, release
from jobs.exports.options import Options as Options
from jobs.lake import places, rest
from jobs.lake.history import Counts
from jobs.lake.run import Run
from jobs.queries import ask
from udfs.exports import lance
from udfs.storage.uris import is_remote

LOCAL = ("frames", "lance")  # formats that are written to a folder only


def check(options: Options, settings: Settings) -> None:
    """Refuse an output without tables, a folder that cannot be written to, and requests that a format cannot meet."""
    places.check_tables(options.output, options.schema, settings.sources)
    to = places.place("--to", options.to, settings.sources)
    folders.refuse_inside(to, options.output)
    if options.format == "frames" and (options.query or options.as_of):
        raise UsageError("--format frames: takes neither --query nor --as-of; export.what and export.where choose")
    request = release.request(options, settings)
    at = (options.output, options.schema, settings.sources)
    if options.query:
        ask.check_query("--query", options.query, *at)
    ask.check_query(options.release or "export.where", request.query, *at)
    if request.format == "lance" and not find_spec(lance.PACKAGE):
        raise UsageError("--format lance needs pylance: pip install 'reelmill[export]'")
    if request.format in LOCAL and is_remote(to):
        raise UsageError(f"--format {request.format} --to {options.to}: is written to a folder, not to a store")
    if request.format == "nemo":
        named_models.check_names(options.output, request.export.nemo, settings.sources)
    if request.format != "frames":
        release.begun(to, request, settings.sources)


def run(run: Run, options: Options) -> Counts:
    """Write the files that are missing, by the settings of each stage's last run."""
    is_at_rest, before = rest.is_noted(run), run.tables.version("failures")
    counts = frames.run(run, options) if options.format == "frames" else files.run(run, options)
    if is_at_rest and run.tables.version("failures") != before:  # else the next chain would look at all rows
        rest.note_again(run)
    return counts


if __name__ == "__main__":
    from jobs.cli import script

    script("export")
