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
    sources = user_code.to_send(function)
    if not sources:
        return
    packed = _packed(sources)
    content = hashlib.blake2b(packed, digest_size=8).hexdigest()
    package = str(spark.sparkContext.applicationId), sources[0].stem
    if _sent.get(package) == content:
        return
    # A name of its own each time: Spark sends a file once, and a worker imports from what came last.
    file = Path(_folder().name, f"{sources[0].stem}-{content}-{uuid.uuid4().hex[:8]}.zip")
    file.write_bytes(packed)
    spark.sparkContext.addPyFile(str(file))
    _sent[package] = content
    sys.path.remove(os.path.join(SparkFiles.getRootDirectory(), file.name))  # the driver sees when the code changes


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where the driver keeps what workers may ask for until it ends."""
    return tempfile.TemporaryDirectory(prefix="reelmill-code-")


def _packed(sources: list[Path]) -> bytes:
    """Modules and packages as a zip that can be imported from."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sources:
            for file in user_code.code_files(source):
                archive.writestr(zipfile.ZipInfo(str(file.relative_to(source.parent)), EPOCH), file.read_bytes())
    return packed.getvalue()
