"""Let Spark's JVM start from an archive of its classes, which `python -m jobs.prepare` makes.

Without, a JVM reads and verifies some 20,000 classes of Spark and Delta in every run: a third of the
CPU time of a short one. Oracle's guide "Class Data Sharing" describes such archives. One belongs to a
machine's Java and to one set of jars: others need one of their own, and use none until it is made.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pyspark

from jobs.spark import java

CLASSES, JARS = "classes.jsa", "jars.txt"  # the files of an archive: its classes; paths of Delta's jars
QUIET = "-Xlog:cds*=off"  # an archive that does not fit is left aside without a word


def settings(options: str, jars: str) -> dict[str, str]:
    """What a session with these Java options and Maven coordinates takes from its archive; nothing if there is none."""
    folder = folder_of(options, jars)
    try:
        paths = (folder / JARS).read_text().split("\n")
        if os.stat(folder).st_uid != os.getuid() or not all(map(os.path.exists, paths)):
            return {}
    except OSError:
        return {}
    classes = f" -XX:SharedArchiveFile={folder / CLASSES} {QUIET}" if (folder / CLASSES).exists() else ""
    return {
        "spark.jars.packages": "",  # they need not be looked for
        "spark.driver.extraClassPath": ":".join(paths),
        "spark.driver.extraJavaOptions": f"{options}{classes}",
    }


def folder_of(options: str, jars: str) -> Path:
    """Where the archive lies of sessions of this Java, these options and these jars."""
    program = java.program() or ""
    parts = (os.path.realpath(program), _changed(program), pyspark.__file__, pyspark.__version__, options, jars)
    name = hashlib.blake2b("\n".join(map(str, parts)).encode(), digest_size=8).hexdigest()
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache, "reelmill", f"jvm-{name}")


def _changed(path: str) -> int:
    return os.stat(path).st_mtime_ns if path else 0
