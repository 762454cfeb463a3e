"""Start a Spark session with Delta, or take the one that is there."""

from __future__ import annotations

import atexit
import logging
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import pyspark
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from jobs.config import faults
from jobs.config.errors import SessionError
from jobs.spark import class_archive, java, jvm_start, scratch
from udfs.core.own_code import MODULE, PACKAGES

log = logging.getLogger("reelmill")

ATTEMPTS = (
    4  # of a task: a Python worker may be killed for lack of memory. In local mode only the master's name can set this
)
LOCAL_MASTER = re.compile(r"local(\[(?P<cores>\*|\d+)\])?")  # without a number of attempts, which is then 1
ONE_MACHINE = re.compile(r"local(\[.*\])?")  # spark.master, and not local-cluster
LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")  # the first that is set says how names of files are encoded
UTF_8 = re.compile("utf-?8", re.IGNORECASE)
DELTA = "io.delta.sql.DeltaSparkSessionExtension"
EVERYWHERE = {
    "spark.sql.extensions": DELTA,
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.scheduler.mode": "FAIR",  # waves overlap
    # Else each column of a query asks the JVM five times, to remember the line of Python that it comes from.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    "spark.task.maxFailures": str(ATTEMPTS),
}
# On one machine: no web page, no 200 partitions for a handful of rows, no second opinion of the host's name.
LOCAL = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # The JVM plans and moves few rows; Python does the work. Compiling code, re-planning and
    # skipping files by their statistics cost more than they bring: without, start to third commit
    # 49 s -> 20 s on 2 busy cores. A join of a million rows takes 1.8 s, and 1.0 s with code compiled.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    # Nearly a third of the time that all rules take on plans, for filters that save sending rows to other machines.
    "spark.sql.optimizer.runtime.bloomFilter.enabled": "false",
    "spark.databricks.delta.stats.skipping": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.databricks.delta.merge.materializeSource": "none",  # what is merged is stored already
    # Each hash table of a broadcast, sort and aggregate takes a page at once, by default 64 MB of a
    # heap of 6 GB. With these two a session holds 0.7 GB after a first curate of two videos, not
    # 3.4, and 2.3 s of its CPU go into collecting garbage, not 7.2.
    "spark.buffer.pageSize": "1m",
    "spark.sql.ui.retainedExecutions": "5",  # of a thousand, plans and all, for a web page that there is not
}


OPEN_FILES, LEAST_OPEN_FILES = 4096, 512  # of a process; a new JVM alone holds some 200
# What LOCAL turns off and a job wants where few files of many count, or for many rows with much in them.
FILES = {"spark.databricks.delta.stats.skipping": "true"}
MANY_ROWS = 100_000
PAGE_ROWS = 256
ROWS = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2048",
    "spark.sql.parquet.columnarReaderBatchSize": "512",  # of vectors of 3 KB: what a core's cache holds
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
}


def connect(extra: dict[str, str], *, verbose: bool) -> SparkSession:
    """The session that is there (Databricks, a notebook, a test), else a new one: spark-submit's master, or local[*].

    Raises:
        SessionError: no usable Java, or no Delta on the class path.
    """
    active = SparkSession.getActiveSession()
    if active is None and "DATABRICKS_RUNTIME_VERSION" in os.environ:
        active = SparkSession.builder.getOrCreate()  # the cluster's own, whose Delta and catalog are not those below
    if active is not None:
        return active
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    settings = _settings(extra, submitted=submitted)
    builder = SparkSession.builder.appName("reelmill").config(map={**settings})
    if not submitted and (trouble := java.problem() or _too_few_files()):
        raise SessionError(trouble)
    if not submitted:
        log.info("starting Spark (20 to 60 seconds on a small machine)")
    with jvm_start.logged(quiet=not verbose and not submitted) as log_path, _keep_interrupt_handler():
        spark = _start(builder, settings, log_path)
    spark.sparkContext.setLogLevel("WARN" if verbose else "ERROR")
    if not verbose:
        _say_nothing_twice(spark)
    _forget_jars(spark)
    _ship_code(spark)
    return spark


def _say_nothing_twice(spark: SparkSession) -> None:
    """An error is raised: Spark does not print it as JSON, too, nor the thread that listens to a JVM that has ended."""
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).setLevel("CRITICAL")
    server = spark.sparkContext._accumulatorServer
    if server is not None:
        server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]


@contextmanager
def skipping(spark: SparkSession) -> Iterator[None]:
    """For a while, skip files by their statistics, at a quarter of a second per table and query."""
    with _set(spark, FILES):
        yield


@contextmanager
def compiled(spark: SparkSession, num_rows: int = MANY_ROWS) -> Iterator[None]:
    """For a while, compile code, if there are many rows."""
    with _set(spark, ROWS if num_rows >= MANY_ROWS else {}):
        yield


@contextmanager
def vacuuming(spark: SparkSession) -> Iterator[None]:
    """For a while, let VACUUM keep less than a week, and list a table's files in one task per core, not in 10,000."""
    tasks = str(spark.sparkContext.defaultParallelism)
    with _set(
        spark,
        {
            "spark.databricks.delta.retentionDurationCheck.enabled": "false",
            "spark.sql.sources.parallelPartitionDiscovery.parallelism": tasks,
        },
    ):
        yield


@contextmanager
def finding(spark: SparkSession, columns: Iterable[str]) -> Iterator[None]:
    """For a while, write a Bloom filter of these columns into each part of a file that has them.

    Whoever then asks for one value, DuckDB too, reads the parts that may hold it, and not the column. A
    filter takes 64 KB or more: it is for files of many rows. A part whose values repeat so that all of
    them are in its dictionary gets none.
    """
    filters = {f"parquet.bloom.filter.enabled#{column}": "true" for column in columns}
    with _set(spark, filters | {"parquet.bloom.filter.adaptive.enabled": "true"}):
        yield


@contextmanager
def finely_paged(spark: SparkSession) -> Iterator[None]:
    """For a while, write Parquet files with few rows per page: a query for some of sorted rows reads few others.

    By default a page has up to 20,000 rows, which may be all vectors of a night.
    """
    with _set(spark, {"parquet.page.row.count.limit": str(PAGE_ROWS)}):
        yield


@contextmanager
def _set(spark: SparkSession, values: dict[str, str]) -> Iterator[None]:
    before = {key: spark.conf.get(key, None) for key in values}
    for key, value in values.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, old in before.items():
            spark.conf.unset(key) if old is None else spark.conf.set(key, old)


def _too_few_files() -> str | None:
    """Let this process and Spark's have more files open, as far as they may; why that is not enough, in one line."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < LEAST_OPEN_FILES:
        return f"only {allowed} files may be open here, and Spark needs {LEAST_OPEN_FILES}: raise `ulimit -n`"
    return None


def _start(builder: SparkSession.Builder, settings: dict[str, str], log_path: Path | None) -> SparkSession:
    try:
        if settings.get("spark.jars.packages"):
            jvm_start.start(settings)
        spark = builder.getOrCreate()
    except (Py4JError, PySparkException, RuntimeError) as e:
        said = jvm_start.said(log_path) if log_path and jvm_start.GAVE_UP in str(e) else ""
        where = f"; Spark's log is {log_path}" if log_path else ""
        raise SessionError(f"Spark did not start: {said or faults.first_line(e)}{where}") from e
    if not spark.sparkContext._jvm.org.apache.spark.util.Utils.classIsLoadable(DELTA):  # type: ignore[union-attr]
        raise SessionError(f"Delta Lake is not on Spark's class path: add --packages {delta_package()}")
    return spark


@contextmanager
def _keep_interrupt_handler() -> Iterator[None]:
    """Keep this program's own handler of SIGINT, if it has one: a new Spark context replaces it."""
    own = signal.getsignal(signal.SIGINT)
    yield
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and own not in (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler, None):
        signal.signal(signal.SIGINT, own)


def _settings(extra: dict[str, str], *, submitted: bool) -> dict[str, str]:
    """Every setting of a new session; a local master makes ATTEMPTS at a task."""
    settings = (EVERYWHERE if submitted else EVERYWHERE | _standalone(extra) | _archive(extra)) | extra
    master = LOCAL_MASTER.fullmatch(settings.get("spark.master", ""))
    return settings | ({"spark.master": f"local[{master['cores'] or 1},{ATTEMPTS}]"} if master else {})


def _standalone(extra: dict[str, str]) -> dict[str, str]:
    """What a session needs that no spark-submit has prepared."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else workers start another python
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    # local-cluster starts its executors by these.
    os.environ.setdefault("SPARK_HOME", os.path.dirname(pyspark.__file__))
    os.environ.setdefault("SPARK_SCALA_VERSION", "2.13")
    _let_java_name_files_as_python()
    # Executors elsewhere do not have this code yet when their daemon starts, nor the folder.
    own = {}
    if ONE_MACHINE.fullmatch(extra.get("spark.master", "local")):
        folder = extra.get("spark.local.dir") or scratch.folder()
        own = {"spark.python.daemon.module": "jobs.spark.pyspark_daemon", "spark.local.dir": folder}
    settings = {"spark.master": "local[*]", "spark.driver.memory": _heap(), "spark.jars.packages": delta_package()}
    # With another catalog the warehouse holds the schemas, which outlive the session.
    if extra.get("spark.sql.catalogImplementation", "in-memory") == "in-memory":
        settings["spark.sql.warehouse.dir"] = os.path.join(tempfile.gettempdir(), f"reelmill-warehouse-{os.getuid()}")
    return LOCAL | settings | own


def _let_java_name_files_as_python() -> None:
    """Set a locale of UTF-8 for the JVM where Python takes UTF-8 by itself, as in cron jobs and under LC_ALL=C.

    By the locale C, Java writes a question mark for each character that is not ASCII, also in the path of an output.
    """
    chosen = next(filter(None, map(os.environ.get, LOCALE)), "C")
    if sys.getfilesystemencoding() == "utf-8" and not UTF_8.search(chosen):
        os.environ["LC_ALL" if os.environ.get("LC_ALL") else "LC_CTYPE"] = "C.UTF-8"


def _archive(extra: dict[str, str]) -> dict[str, str]:
    """The archive of classes, if the session is one of this machine alone with our own jars."""
    if "spark.jars.packages" in extra or not ONE_MACHINE.fullmatch(extra.get("spark.master", "local")):
        return {}
    return class_archive.settings(LOCAL["spark.driver.extraJavaOptions"], delta_package())


def _heap() -> str:
    """A quarter of the memory of the machine or control group, as Java has it; at least 2 GB."""
    num_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no control group, or "max"
        num_bytes = min(num_bytes, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return f"{max(2 << 30, num_bytes // 4) >> 20}m"


def delta_package() -> str:
    """The Maven coordinate that goes with the installed delta-spark."""
    return f"io.delta:delta-spark_2.13:{version('delta-spark')}"


def _forget_jars(spark: SparkSession) -> None:
    """Keep the jars of spark.jars.packages off the workers' Python path.

    Spark puts them there since one could hold Python. At the start of every task Python reads the
    directory of each archive on its path.
    """
    includes = getattr(spark.sparkContext, "_python_includes", [])
    includes[:] = [name for name in includes if not name.endswith(".jar")]


def _ship_code(spark: SparkSession) -> None:
    """From a checkout, let the workers find the packages; an installed wheel or --py-files is there already."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").exists():
        return
    if ONE_MACHINE.fullmatch(str(spark.sparkContext.master)):
        spark.sparkContext.environment["PYTHONPATH"] = str(root)  # not as a zip, whose modules are compiled each time
        return
    folder = tempfile.mkdtemp(prefix="reelmill-code-")  # executors that start later fetch it then
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(root / package, f"{folder}/code/{package}", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / f"{MODULE}.py", f"{folder}/code")
    spark.sparkContext.addPyFile(shutil.make_archive(f"{folder}/reelmill", "zip", f"{folder}/code"))
