"""Airflow DAGs that run the main job every night: on Databricks, and on EMR. Keep the one you use.

On Databricks the job is that of the bundle. Copy this file into Airflow's folder of DAGs, and
install the wheel beside Airflow without its dependencies: `pip install --no-deps reelmill-*.whl`.
The DAGs use the connections databricks_default and aws_default, and the variables named below.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.amazon.aws.operators.emr import EmrCreateJobFlowOperator
from airflow.providers.amazon.aws.utils.waiter import WaitPolicy
from airflow.providers.databricks.operators.databricks import DatabricksRunNowOperator
from airflow.sdk import DAG

from conf.emr import submit

MANIFEST = "{{ var.value.reelmill_manifest }}"
OUTPUT = "{{ var.value.reelmill_output }}"
EMR = {
    "bucket": "{{ var.value.reelmill_bucket }}",
    "subnet": "{{ var.value.reelmill_subnet }}",
    "nodes": 4,
    "max_nodes": 12,
    "manifest": MANIFEST,
    "output": OUTPUT,
}
# One run at a time works on an output. A missed run is not made up for, since the next run takes
# up what is left.
NIGHTLY: dict[str, Any] = {
    "schedule": "30 1 * * *",
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {"retries": 1, "retry_delay": timedelta(minutes=10), "execution_timeout": timedelta(hours=18)},
    "tags": ["reelmill"],
}

with DAG("reelmill_databricks", **NIGHTLY):
    DatabricksRunNowOperator(
        task_id="curate",
        job_name="reelmill-nightly",
        job_parameters={"manifest": MANIFEST, "output": OUTPUT},
    )

with DAG("reelmill_emr", **NIGHTLY):
    # The cluster ends with its step, and the task waits for that: a step that fails makes it fail.
    EmrCreateJobFlowOperator(
        task_id="curate",
        job_flow_overrides=submit.request("cluster", EMR),
        wait_policy=WaitPolicy.WAIT_FOR_STEPS_COMPLETION,
        waiter_delay=120,
        waiter_max_attempts=540,
    )
