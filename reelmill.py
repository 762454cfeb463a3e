"""Reelmill from Python and notebooks: `reelmill.open("out")` reads an output, `reelmill.curate(...)` runs jobs.

Every job of the command line is a function here (curate, ingest, filter, dedup, export, takedown and the
others), but `sql` and `search`, which an opened output answers, and `settings` and `ui`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any


def _refuse_other_packages() -> None:
    """Refuse packages of other projects that have the names of Reelmill's own.

    Raises:
        ImportError: one comes first on the path.
    """
    here = Path(__file__).resolve().parent
    for name in ("jobs", "udfs", "schemas", "conf"):
        spec = importlib.util.find_spec(name)
        found = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
        file = next((path for path in found if path), None)
        if file is None or Path(file).resolve() not in (here / name, here / name / "__init__.py"):
            other = f"{file or 'nothing'} is found as the package {name}"
            advice = "rename it, start Python elsewhere, or take its folder off PYTHONPATH"
            raise ImportError(f"reelmill needs its own packages beside {__file__}, but {other}: {advice}", name=name)


_refuse_other_packages()

from jobs.api import functions  # noqa: E402
from jobs.api.clips import Clip, ClipStats, Window  # noqa: E402
from jobs.api.library import Library  # noqa: E402
from jobs.api.output import Output  # noqa: E402
from jobs.api.overrides import Text  # noqa: E402
from jobs.api.relation import Clips, Relation  # noqa: E402
from jobs.api.videos import Video, VideoMetadata  # noqa: E402
from jobs.config.errors import CommandError  # noqa: E402
from jobs.queries.why import Story  # noqa: E402
from udfs.exports.nemo_paths import (  # noqa: E402
    get_output_path_ce1_embd,
    get_output_path_ce1_embd_parquet,
    get_output_path_clips,
    get_output_path_filtered_clips,
    get_output_path_iv2_embd,
    get_output_path_iv2_embd_parquet,
    get_output_path_metas,
    get_output_path_previews,
    get_output_path_processed_clip_chunks,
    get_output_path_processed_videos,
)

if TYPE_CHECKING:
    from jobs.lake.cleanup import Removed
    from jobs.lake.history import Counts

__all__ = [
    "Clip",
    "ClipStats",
    "Clips",
    "CommandError",
    "Library",
    "Relation",
    "Story",
    "Video",
    "VideoMetadata",
    "Window",
    "get_output_path_ce1_embd",
    "get_output_path_ce1_embd_parquet",
    "get_output_path_clips",
    "get_output_path_filtered_clips",
    "get_output_path_iv2_embd",
    "get_output_path_iv2_embd_parquet",
    "get_output_path_metas",
    "get_output_path_previews",
    "get_output_path_processed_clip_chunks",
    "get_output_path_processed_videos",
]


def open(output: Text, *, settings: Mapping[str, Any] | None = None, conf: Text | Sequence[Text] = ()) -> Library:
    """A finished output folder, local or s3://bucket/prefix.

    `settings` has values by "section.key", such as those of [sources] for a store of one's own,
    `conf` the names of TOML files.

    Raises:
        CommandError: it holds no tables, or a setting is wrong.
    """
    return Library(Output.of(output, settings or {}, conf or ()))


# The types of the jobs, for editors. The functions are made when they are asked for, since that imports Spark.
curate: Callable[..., Counts]
ingest: Callable[..., Counts]
split: Callable[..., Counts]
clip: Callable[..., Counts]
analyze: Callable[..., Counts]
copies: Callable[..., Counts]
aesthetic: Callable[..., Counts]
embed: Callable[..., Counts]
custom: Callable[..., Counts]
dedup: Callable[..., Counts]
filter: Callable[..., Counts]
caption: Callable[..., Counts]
enhance: Callable[..., Counts]
align: Callable[..., Counts]
export: Callable[..., Counts]
report: Callable[..., None]
maintain: Callable[..., Removed]
takedown: Callable[..., Removed]
models: Callable[..., None]


def __getattr__(name: str) -> Any:
    """A job as a function."""
    if name not in functions.NAMES:
        raise AttributeError(f"module 'reelmill' has no attribute {name!r}", name=name)
    return functions.function(name)


def __dir__() -> list[str]:
    return sorted({*__all__, *functions.NAMES, "open"})  # `import *` leaves Python's own `open`
