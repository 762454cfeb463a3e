"""export: curated, clips, videos -> a folder or prefix of files in the format that is asked for"""

from __future__ import annotations

from importlib.util import find_spec

from jobs.config.errors import UsageError
from jobs.config.settings import Settings
from jobs.exports import files, frames, release
from jobs.exports.options import Options as Options
from jobs.lake import answers, places
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs.exports import lance
from udfs.storage import access

HERE = ("frames", "lance")  # whose files are not put into their place one by one and whole


def check(options: Options, settings: Settings) -> None:
    """Refuse an output that holds no tables, a place to export to that is none, and what cannot be exported so."""
    answers.check_tables(options.output, options.schema, settings.sources)
    to = places.place("--to", options.to, settings.sources)
    if options.format == "frames" and (options.query or options.as_of):
        raise UsageError("--format frames: takes neither --query nor --as-of; export.what and export.where choose")
    request = release.request(options, settings)
    if request.format == "lance" and not find_spec(lance.PACKAGE):
        raise UsageError("--format lance needs pylance: pip install 'reelmill[export]'")
    if request.format in HERE and access.is_remote(to):
        raise UsageError(f"--format {request.format} --to {options.to}: is written to a folder, not to a store")
    if request.format != "frames":
        release.begun(to, request, settings.sources)


def run(run: Run, options: Options) -> Counts:
    """Write what is not there yet, of what the settings that the output was last made with count in."""
    return frames.run(run, options) if options.format == "frames" else files.run(run, options)


if __name__ == "__main__":
    from jobs.cli import script

    script("export")
