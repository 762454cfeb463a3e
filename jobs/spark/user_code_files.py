"""Send files of the user's own code to the workers."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import uuid
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

from pyspark import SparkFiles
from pyspark.sql import SparkSession

from udfs.core import user_code

EPOCH = (1980, 1, 1, 0, 0, 0)  # of files in a zip, so that equal code gives equal bytes
_sent: dict[tuple[str, str], str] = {}  # what workers of a Spark application have last, by application and package


def send(spark: SparkSession, function: str) -> None:
    """Let workers import a function whose package is not installed, as this process finds it now."""
    source = user_code.to_send(function)
    if source is None:
        return
    packed = _packed(source)
    content = hashlib.blake2b(packed, digest_size=8).hexdigest()
    package = str(spark.sparkContext.applicationId), source.stem
    if _sent.get(package) == content:
        return
    # A name of its own each time: Spark sends a file once, and a worker imports from what came last.
    file = Path(_folder().name, f"{source.stem}-{content}-{uuid.uuid4().hex[:8]}.zip")
    file.write_bytes(packed)
    spark.sparkContext.addPyFile(str(file))
    _sent[package] = content
    sys.path.remove(os.path.join(SparkFiles.getRootDirectory(), file.name))  # the driver sees when the code changes


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where the driver keeps what workers may ask for until it ends."""
    return tempfile.TemporaryDirectory(prefix="reelmill-code-")


def _packed(source: Path) -> bytes:
    """A module or a package as a zip that can be imported from."""
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if _is_code(path))
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.writestr(zipfile.ZipInfo(str(path.relative_to(source.parent)), EPOCH), path.read_bytes())
    return packed.getvalue()


def _is_code(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
