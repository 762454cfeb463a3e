"""The names that an export gives to media files: relative ones, full ones, or none."""

from __future__ import annotations

import os
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, StringType, StructType

from jobs.lake.run import Run

Mode = Literal["relative", "absolute", "none"]
# Columns and fields of the tables and views that hold such a name.
NAMES = frozenset({"uri", "video_uri", "other_uri", "proxy_uri", "preview"})
CLIP_FILE = "media/[^/]+/[^/]+/[0-9a-f]{8}-[^/]+$"  # a file of a clip, below its output


def videos_folder(run: Run) -> str:
    """The deepest folder that all source videos lie below."""
    [(least, most)] = run.tables.read("videos").agg(F.min("uri"), F.max("uri")).collect()
    if least is None:
        return ""
    # Whatever sorts between the least and the most begins as both do. By characters: commonpath
    # would take s3:// for s3:/.
    common = os.path.commonprefix([f"{os.path.dirname(uri)}/" for uri in (least, most)])  # noqa: RUF071
    return common.rpartition("/")[0]


def shown(rows: DataFrame, mode: Mode, folder: str) -> DataFrame:
    """The rows with every name of a media file as the mode says; `folder` is that of the source videos."""
    if mode == "absolute":
        return rows
    columns = (_shown(F.col(f"`{f.name}`"), f.name, f.dataType, mode, folder).alias(f.name) for f in rows.schema)
    return rows.select(*columns)


def name(uri: Column, mode: Mode, folder: str) -> Column:
    """A media file's name as the mode says.

    A relative name is below the output or the folder; that of a file elsewhere has no folder.
    """
    if mode == "absolute":
        return uri
    if mode == "none":
        return F.lit(None).cast("string")
    inside = F.substring(uri, len(folder) + 2, 1 << 20)
    outside = F.when(uri.startswith(f"{folder}/") & F.lit(bool(folder)), inside).otherwise(
        F.substring_index(uri, "/", -1)
    )
    return F.when(uri.rlike(CLIP_FILE), F.regexp_extract(uri, CLIP_FILE, 0)).otherwise(outside)


def _shown(value: Column, field: str, kind: DataType, mode: Mode, folder: str) -> Column:
    """A value of any type, with the names of media files in it as the mode says."""
    if isinstance(kind, StringType):
        return name(value, mode, folder) if field in NAMES else value
    if isinstance(kind, ArrayType) and _holds(kind):
        element = kind.elementType
        return F.transform(value, lambda one: _shown(one, field, element, mode, folder))
    if isinstance(kind, StructType) and _holds(kind):
        parts = (_shown(value[f.name], f.name, f.dataType, mode, folder).alias(f.name) for f in kind)
        return F.when(value.isNotNull(), F.struct(*parts))
    return value


def _holds(kind: DataType) -> bool:
    """Whether a type has a field that names a media file."""
    if isinstance(kind, ArrayType):
        return _holds(kind.elementType)
    return isinstance(kind, StructType) and any(f.name in NAMES or _holds(f.dataType) for f in kind)
