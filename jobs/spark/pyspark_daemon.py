"""The process that Spark forks its Python workers from on one machine, with no archive on its path.

Spark puts its core jar, pyspark.zip and the jars of spark.jars.packages on the path, and Python
reads the directory of each at the start of every task: 0.3 s of CPU time. On one machine the
installed pyspark, which the driver runs, serves as well.
"""

from __future__ import annotations

import sys

sys.path[:] = [entry for entry in sys.path if not entry.endswith((".jar", ".zip"))]
sys.path_importer_cache.clear()

from pyspark.daemon import manager  # noqa: E402 - from the path as it is now

if __name__ == "__main__":
    manager()  # type: ignore[no-untyped-call]
