"""The Databricks bundle of conf/databricks as its CLI resolves it, for one target."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path("conf/databricks")
# Variables that the CLI sets itself.
BUILT_IN = {
    "bundle.name": "reelmill",
    "workspace.file_path": "/Workspace/Users/me@example.com/.bundle/reelmill/files",
}
# Variables of the command line: those without a default, and the addresses to notify.
COMMAND_LINE = {
    "manifest": "s3://bucket/videos",
    "output": "s3://bucket/reelmill",
    "instance_profile": "arn:aws:iam::123456789012:instance-profile/reelmill",
    "notify": ["night@example.com"],
}
REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def bundle(target: str) -> dict[str, Any]:
    """Everything the bundle declares, for one of its targets."""
    whole: dict[str, Any] = read(FOLDER / "databricks.yml")
    for pattern in whole["include"]:
        for path in sorted(FOLDER.glob(pattern)):
            whole["resources"] = whole.get("resources", {}) | read(path)["resources"]
    resolved: dict[str, Any] = _resolved(whole, BUILT_IN | {"bundle.target": target} | _variables(whole, target))
    return resolved


def nightly(target: str) -> dict[str, Any]:
    """The nightly job of a target."""
    job: dict[str, Any] = bundle(target)["resources"]["jobs"]["nightly"]
    return job


def read(path: Path) -> dict[str, Any]:
    """A file of the bundle, parsed but not resolved."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def _variables(whole: dict[str, Any], target: str) -> dict[str, Any]:
    defaults = {name: declared["default"] for name, declared in whole["variables"].items() if "default" in declared}
    chosen = defaults | whole["targets"][target].get("variables", {}) | COMMAND_LINE
    return {f"var.{name}": chosen[name] for name in whole["variables"]}


def _resolved(value: Any, known: dict[str, Any]) -> Any:
    """The value with every reference replaced; a reference that stands alone keeps its type."""
    if isinstance(value, dict):
        return {key: _resolved(inner, known) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, known) for inner in value]
    if not isinstance(value, str) or not REFERENCE.search(value):
        return value
    alone = REFERENCE.fullmatch(value)
    replaced = known[alone[1]] if alone else REFERENCE.sub(lambda match: str(known[match[1]]), value)
    return _resolved(replaced, known)
