"""conf/airflow: both DAGs load in Airflow, and their requests match the bundle and conf/emr."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator

from tests.support.databricks_bundle import nightly

PYTHON = Path(".venv-airflow/bin/python")
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="Airflow has an environment of its own: make test-airflow")
LOADS = """
import json
from airflow.dag_processing.dagbag import DagBag

bag = DagBag("conf/airflow")
tasks = {name: {key: getattr(dag.get_task("curate"), key, None) for key in FIELDS} for name, dag in bag.dags.items()}
dags = {name: {"max_active_runs": dag.max_active_runs, "catchup": dag.catchup} for name, dag in bag.dags.items()}
print(json.dumps({"errors": bag.import_errors, "tasks": tasks, "dags": dags}))
"""
FIELDS = ("job_name", "job_parameters", "job_flow_overrides", "wait_policy", "task_type")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow makes of the file, in a home of its own."""
    home = tmp_path_factory.mktemp("airflow")
    env = os.environ | {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONPATH": "."}
    program = LOADS.replace("FIELDS", repr(FIELDS))
    run = subprocess.run([PYTHON, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_both_dags_load(loaded: dict[str, Any]) -> None:
    assert loaded["errors"] == {}
    alone = {"max_active_runs": 1, "catchup": False}
    assert loaded["dags"] == {"reelmill_databricks": alone, "reelmill_emr": alone}


def test_databricks_is_asked_for_the_job_of_the_bundle(loaded: dict[str, Any]) -> None:
    task = loaded["tasks"]["reelmill_databricks"]
    assert task["task_type"] == "DatabricksRunNowOperator"
    assert task["job_name"] == nightly("prod")["name"]
    assert set(task["job_parameters"]) <= {parameter["name"] for parameter in nightly("prod")["parameters"]}


def test_emr_is_asked_for_a_cluster_that_boto_takes(loaded: dict[str, Any]) -> None:
    task = loaded["tasks"]["reelmill_emr"]
    assert task["task_type"] == "EmrCreateJobFlowOperator"
    assert task["wait_policy"] == "wait_for_steps_completion"  # a cluster that runs is no night that is done
    shape = get_session().get_service_model("emr").operation_model("RunJobFlow").input_shape
    assert not ParamValidator().validate(task["job_flow_overrides"], shape).has_errors()
    assert "{{ var.value.reelmill_output }}" in task["job_flow_overrides"]["Steps"][0]["HadoopJarStep"]["Args"]
