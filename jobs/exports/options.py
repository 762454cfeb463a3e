"""Options of `export` that say which rows go where and in which format."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from jobs.config.arguments import StageOptions, argument, flag, utc_time, word
from jobs.lake import places

FORMATS = ("frames", "nemo", "webdataset", "parquet", "huggingface", "lance")
ALIASES = {"wds": "webdataset", "hf": "huggingface"}


@dataclass(frozen=True, kw_only=True)
class Options(StageOptions):
    """What `export` takes."""

    SWEEPS: ClassVar[bool] = False  # a dry run changes nothing

    to: str = argument("folder or s3://bucket/prefix to write to", metavar="FOLDER")
    format: str | None = argument(
        "format of the files; [export] has the settings", default=None, choices=FORMATS, type=word(FORMATS, ALIASES)
    )
    query: str | None = argument(
        "the rows to export, instead of those that export.what and export.where name", default=None, metavar="SQL"
    )
    as_of: datetime | None = argument(
        "read all tables as they were then: 2026-05-01T05:30, in UTC", default=None, type=utc_time, metavar="TIME"
    )
    release: str | None = argument("write the files of this release.json again", default=None, metavar="FILE")
    dry_run: bool = flag("show how much would be written, and write nothing")

    @property
    def folder(self) -> str:
        """Where the export goes, by the name that every process knows."""
        return places.normal(self.to)
