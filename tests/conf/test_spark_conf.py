"""conf/spark: Spark 4, Delta or the RAPIDS Accelerator knows every key and can read its value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import IllegalArgumentException
from pyspark.sql import SparkSession

from jobs.config.settings import load
from jobs.spark.resources import Facts, choose
from tests.conf.test_rapids import KEYS as RAPIDS
from tests.support.conf_lines import lines
from udfs.core.task_resources import Resources

NAMES = sorted(path.stem for path in Path("conf/spark").glob("*.conf"))
# The objects in which Spark and Delta declare their settings; loading one enters them into Spark's list of all.
DECLARED_IN = (
    "org.apache.spark.internal.config.package$",
    "org.apache.spark.internal.config.Python$",
    "org.apache.spark.internal.config.UI$",
    "org.apache.spark.deploy.k8s.Config$",
    "org.apache.spark.deploy.yarn.config.package$",
    "org.apache.spark.sql.internal.SQLConf$",
    "org.apache.spark.sql.internal.StaticSQLConf$",
    "org.apache.spark.sql.delta.sources.DeltaSQLConf$",
)
# Keys that hold a name of one's own, which Spark builds as it reads them (its pages: configuration,
# running-on-kubernetes).
BUILT = re.compile(
    r"spark\.(executor|task|worker|driver)\.resource\.gpu\.(amount|discoveryScript|vendor)"
    r"|spark\.kubernetes\.executor\.volumes\.emptyDir\.[\w-]+\.mount\.(path|readOnly)"
    r"|spark\.executorEnv\.\w+"
    r"|spark\.emr-serverless\.(driverEnv\.\w+|executor\.disk)"  # EMR Serverless User Guide, "Spark job properties"
    r"|spark\.metrics\.conf\.\*\.sink\.prometheusServlet\.(class|path)"  # Spark's page: monitoring, "Metrics"
    r"|spark\.openlineage\.(namespace|transport\.(type|location))"  # of the listener that the same file names
    r"|spark\.master"
)


@pytest.fixture(scope="module")
def entries(spark: SparkSession) -> Any:
    """Spark's list of its settings, by the class that keeps it."""
    jvm: Any = spark.sparkContext._jvm
    for name in DECLARED_IN:
        jvm.org.apache.spark.util.Utils.classForName(name, True, False)
    return jvm.org.apache.spark.internal.config.ConfigEntry


def unreadable(entries: Any, key: str, value: str) -> str | None:
    """What is wrong with a line; None if it is known, and its value of the right type."""
    if key in RAPIDS or BUILT.fullmatch(key):
        return None
    entry = entries.findEntry(key)
    if entry is None:
        return f"{key}: no such setting"
    try:
        entry.valueConverter().apply(value)
    except IllegalArgumentException as e:
        return str(e)
    return None


@pytest.mark.spark
@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_known_and_readable(entries: Any, name: str) -> None:
    assert [wrong for key, value in lines(name) if (wrong := unreadable(entries, key, value))] == []


@pytest.mark.spark
@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("spark.executor.memoryOverhed", "1g", "no such setting"),
        (
            "spark.sql.adaptive.enabled",
            "yes",
            r"should be boolean, but was yes|'yes' .* should be a/an 'boolean' value",
        ),
        ("spark.databricks.delta.snapshotPartition", "2", "no such setting"),
    ],
)
def test_what_is_misspelt_is_seen(entries: Any, key: str, value: str, wrong: str) -> None:
    assert re.search(wrong, str(unreadable(entries, key, value)))  # Spark 4.0 | 4.1


@pytest.mark.parametrize("name", NAMES)
def test_no_key_stands_twice(name: str) -> None:
    keys = [key for key, _ in lines(name)]
    assert sorted(keys) == sorted(set(keys))


def test_on_executors_that_stay_a_stage_gets_a_profile_of_tasks() -> None:
    found = Facts.of("spark://host:7077", dict(lines("standalone")))
    assert choose(found, Resources(cpus=2, gpus=0.25)).why == "without dynamic allocation, a profile of tasks alone"
    assert choose(found, Resources()).profile is not None  # which holds no GPU
    assert round(found.executor_cores * found.task_gpus, 2) <= 1


@pytest.mark.parametrize(("name", "master"), [("yarn", "yarn"), ("kubernetes", "k8s://https://host")])
def test_where_executors_come_and_go_a_stage_gets_some_of_its_own(name: str, master: str) -> None:
    conf = dict(lines(name))
    found = Facts.of(master, conf)
    assert choose(found, Resources()).profile is None  # the executors of the file have no GPU
    captions = load(["conf/gpu.toml"], []).caption.resources
    profile, why = choose(found, captions)
    assert profile is not None
    assert why == "dynamic allocation starts executors of the stage's own kind"
    asked = profile.executorResources
    assert (asked["gpu"].amount, asked["cores"].amount) == (1, 7)
    assert asked["gpu"].discoveryScript == conf["spark.executor.resource.gpu.discoveryScript"]
    assert asked["gpu"].vendor == conf.get("spark.executor.resource.gpu.vendor", "")
    assert profile.taskResources["gpu"].amount == captions.gpus


@pytest.mark.parametrize("name", ["yarn", "kubernetes"])
def test_an_executor_of_each_kind_fits_on_a_host(name: str) -> None:
    """A host has 16 cores and 64 GB, of which its system leaves 14 and 56."""
    conf = dict(lines(name))
    gigabytes = [int(conf[f"spark.executor.{key}"].removesuffix("g")) for key in ("memory", "memoryOverhead")]
    assert 2 * int(conf["spark.executor.cores"]) <= 14
    assert 2 * sum(gigabytes) <= 56


def test_databricks_captions_without_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    settings = load(["conf/databricks/nightly.toml"], [])
    found = Facts.of("spark://driver:7077", dict(lines("databricks-captions")))
    for stage in (settings.caption, settings.enhance):
        assert choose(found, stage.resources).why == "Spark's own amounts a task are those of the stage"
    assert choose(found, settings.embed.resources).profile is not None


def test_what_a_name_says_of_delta_is_the_release_that_the_project_runs() -> None:
    names = ("local", "standalone", "lineage")
    jars = {name: dict(lines(name)).get("spark.jars.packages", "").partition(",")[0] for name in names}
    assert len(set(jars.values())) == 1
