"""Fill in the requests beside this file, and print them (--dry-run) or send them to EMR by boto3."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
REFERENCE = re.compile(r"\$\{(\w+)\}")
# What EMR on EKS takes from the virtual cluster.
EKS_OWN = ("spark.kubernetes.namespace", "spark.kubernetes.authenticate")
# Delta in EMR's images: Amazon EMR on EKS Development Guide, "Using Delta Lake with Amazon EMR on EKS".
EKS_JARS = ",".join(f"local:///usr/share/aws/delta/lib/{name}.jar" for name in ("delta-spark", "delta-storage"))


class Call(NamedTuple):
    """A method of one of boto3's clients, the options it needs and the file of conf/spark it sends along."""

    service: str
    method: str
    options: tuple[str, ...]
    spark: str | None = None
    about: str = ""


CALLS = {
    "cluster": Call(
        "emr",
        "run_job_flow",
        ("bucket", "subnet", "nodes", "max_nodes", "manifest", "output"),
        "yarn",
        "a cluster for a night",
    ),
    "steps": Call(
        "emr", "add_job_flow_steps", ("cluster", "manifest", "output"), None, "a night on a cluster that is there"
    ),
    "application": Call("emr-serverless", "create_application", (), None, "an application, once"),
    "serverless": Call(
        "emr-serverless",
        "start_job_run",
        ("application", "role", "bucket", "manifest", "output"),
        "serverless",
        "a night on it, without GPUs",
    ),
    "eks": Call(
        "emr-containers",
        "start_job_run",
        ("virtual_cluster", "role", "image", "max_nodes", "bucket", "manifest", "output"),
        "kubernetes",
        "a night on EKS",
    ),
}
ABOUT = {
    "bucket": "where bootstrap.sh, the wheel and the models lie, and logs go",
    "subnet": "subnet of the cluster",
    "nodes": "nodes with one GPU each that the cluster has at least",
    "max_nodes": "nodes with one GPU each that there may be at most",
    "manifest": "as reelmill curate takes it",
    "output": "as reelmill curate takes it",
    "cluster": "id of a running cluster",
    "application": "id of the application",
    "role": "ARN of the role that the job runs as",
    "virtual_cluster": "id of the virtual cluster",
    "image": "an image of EMR's with the wheel in /opt/reelmill",
}


def request(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of one of CALLS, its file's ${references} replaced by the options."""
    known = {"release": "emr-spark-8.0.0", **options}
    known["spark_defaults"] = _filled(_defaults(CALLS[name].spark, options), known)
    # The cluster of one night ends in an error when its step fails; one that is there goes on.
    known["on_failure"] = "TERMINATE_CLUSTER" if name == "cluster" else "CANCEL_AND_WAIT"
    known["steps"] = [_filled(_read("step"), known)] if name in ("cluster", "steps") else []
    parameters: dict[str, Any] = _filled(_read(name), known)
    return parameters


def main(argv: Sequence[str] | None = None) -> int:
    """Print the request, or send it and print the answer."""
    parser = _parser()
    options = vars(parser.parse_args(argv))
    if options.get("nodes", 0) > options.get("max_nodes", math.inf):
        parser.error(f"--nodes {options['nodes']} is over --max-nodes {options['max_nodes']}")
    name, dry_run = options.pop("name"), options.pop("dry_run")
    call, parameters = CALLS[name], request(name, options)
    if dry_run:
        print(json.dumps({"service": call.service, "method": call.method, "parameters": parameters}, indent=2))
        return 0
    import boto3

    answer = getattr(boto3.client(call.service), call.method)(**parameters)
    print(json.dumps({key: value for key, value in answer.items() if key != "ResponseMetadata"}, indent=2, default=str))
    return 0


def _defaults(conf: str | None, options: Mapping[str, Any]) -> dict[str, str]:
    """The lines of a file of conf/spark, with what the options say instead."""
    if conf is None:
        return {}
    text = (HERE.parent / "spark" / f"{conf}.conf").read_text(encoding="utf-8")
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#"))
    lines = {key: value.strip() for key, value in pairs}
    if "max_nodes" in options:
        lines["spark.dynamicAllocation.maxExecutors"] = str(options["max_nodes"])
    if "image" in options:
        lines = {key: value for key, value in lines.items() if not key.startswith(EKS_OWN)}
        lines |= {"spark.kubernetes.container.image": options["image"], "spark.jars": EKS_JARS}
    return lines


def _read(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def _filled(value: Any, known: Mapping[str, Any]) -> Any:
    """A value with every reference replaced.

    A reference that is the whole value becomes what it names, be that a number or a list.
    """
    if isinstance(value, dict):
        return {key: _filled(inner, known) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, known) for inner in value]
    if not isinstance(value, str):
        return value
    if alone := REFERENCE.fullmatch(value):
        return known[alone[1]]
    return REFERENCE.sub(lambda found: str(known[found[1]]), value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="submit.py", description="Start the main job on EMR.")
    calls = parser.add_subparsers(dest="name", required=True, metavar="WHAT")
    for name, call in CALLS.items():
        what = calls.add_parser(name, help=call.about, description=call.about)
        for option in call.options:
            number = int if option.endswith("nodes") else str
            what.add_argument(
                f"--{option.replace('_', '-')}", required=True, type=number, metavar="X", help=ABOUT[option]
            )
        what.add_argument("--release", default="emr-spark-8.0.0", metavar="X", help="EMR's release: Spark 4.0")
        what.add_argument("--dry-run", action="store_true", help="print the request, send nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
