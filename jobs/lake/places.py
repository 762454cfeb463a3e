"""Folders and stores to write to: their one name for all processes, and whether they are writable."""

from __future__ import annotations

import os

from jobs.config.errors import UsageError
from udfs.core.errors import MediaError, StoreError
from udfs.storage import media_store
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import S3, WEB, is_remote, local_path, redacted

LOCK = ".lock"  # in an output on a disk; a run at work holds it


def output(name: str, sources: Sources) -> str:
    """The output as every process knows it: a path, s3://bucket/prefix or dbfs:/path.

    Raises:
        UsageError: it cannot be written to.
    """
    path = place("--output", name, sources)
    # To Spark on Databricks, dbfs:/path is another place than /path.
    return f"dbfs:{path.removeprefix('/dbfs')}" if name.startswith("dbfs:") and path.startswith("/dbfs/") else path


def place(option: str, name: str, sources: Sources) -> str:
    """A folder as a path, or s3://bucket/prefix, once it is known that it can be written to.

    Raises:
        UsageError: a file is there, the store refuses access, or the name means no place.
    """
    if not name.strip():
        raise UsageError(f"{option}: an empty name")
    try:
        path = normal(name)
        if is_remote(path):
            media_store.check(path, sources)
            return path
    except (MediaError, StoreError) as e:
        raise UsageError(f"{option} {redacted(name)}: {getattr(e, 'message', e)}") from e
    if os.path.exists(path) and not os.path.isdir(path):
        raise UsageError(f"{option} {name}: is a file, not a folder")
    return path


def check_tables(output: str, schema: str | None, sources: Sources) -> None:
    """Refuse an output that holds no tables; the tables of a schema are looked for later, by Spark.

    Raises:
        UsageError: there are none.
    """
    if not schema and not media_store.holds(f"{output}/tables", sources):
        begun = " yet: the run that began here has written none so far" if _is_begun(output) else ""
        raise UsageError(f"--output {output}: no tables here{begun}")


def _is_begun(output: str) -> bool:
    return not is_remote(output) and os.path.exists(os.path.join(output, LOCK))


def normal(name: str) -> str:
    """A folder's name as a path, or s3://bucket/prefix without a slash at its end.

    Raises:
        MediaError: an address that nothing is written to.
    """
    scheme = name.partition("://")[0] if "://" in name else ""
    return name.rstrip("/") if scheme in (*S3, *WEB) else local_path(name)
