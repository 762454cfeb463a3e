"""prepare: make Spark start faster on this machine, by an archive of its classes"""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import av
import numpy as np
from pyspark import SparkContext

from jobs import cli
from jobs.spark import class_archive, java, session

PATIENCE_S = 300.0  # with a JVM that writes its archive
JAR = re.compile(r"file:(?://)?(?P<path>/[^,]*\.jar)")


def main() -> int:
    """Make the archive where there is none, by a run of the whole chain on a small video."""
    options = session.LOCAL["spark.driver.extraJavaOptions"]
    folder = class_archive.folder_of(options, session.delta_package())
    classes = folder / class_archive.CLASSES
    if classes.exists():
        return 0
    print("once per machine: an archive of Spark's classes, so that it starts faster (about a minute)", flush=True)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _note_jars(folder / class_archive.JARS)
    unfinished = f"{classes}.{os.getpid()}"
    dump = f"{options} -XX:ArchiveClassesAtExit={unfinished} -Xlog:disable"
    logging.getLogger("reelmill").disabled = True
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(io.StringIO()):
        _write_video(Path(scratch, "a.mp4"))
        given = [scratch, "--output", f"{scratch}/out", f"--set=spark.spark.driver.extraJavaOptions={dump}"]
        status = cli.main(["curate", *given])
        _stop()
    if status == 0 and os.path.exists(unfinished):
        os.rename(unfinished, classes)
    else:
        print("no archive was made: all works without, but Spark starts more slowly", file=sys.stderr)
    return 0


def _note_jars(path: Path) -> None:
    """Let Ivy fetch Delta's jars, and note where they lie."""
    context = session.connect({}, verbose=False).sparkContext
    jars = [match["path"] for match in JAR.finditer(context.getConf().get("spark.jars") or "")]
    _stop()
    if jars:
        path.write_text("\n".join(jars))


def _stop() -> None:
    """End the session and its JVM, which writes its archive then."""
    context, gateway = SparkContext._active_spark_context, SparkContext._gateway
    if context is None or gateway is None:
        return
    context.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    try:
        gateway.proc.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
    SparkContext._gateway = SparkContext._jvm = None


def _write_video(path: Path) -> None:
    """Three seconds of noise."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(60):
            picture = random.integers(0, 255, (96, 128, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    sys.exit(java.problem() or main())
