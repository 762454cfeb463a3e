"""release.json: what an export is made of, so that the same files can be made again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pyspark.sql import functions as F

from jobs.config.errors import UsageError
from jobs.config.settings import RENAMED, Settings
from jobs.exports.options import FORMATS, Options
from jobs.lake import clock, history
from jobs.lake.recipes import RECIPES
from jobs.lake.run import Run
from udfs import export, filter
from udfs.core import redaction
from udfs.core.errors import MediaError, StoreError
from udfs.exports.shards import Summary
from udfs.storage import media_store
from udfs.storage.settings import Params as Sources

FILE = "release.json"
WITH_MODELS = {"aesthetics": "aesthetic", "embeddings": "embed", "captions": "caption", "enhanced": "enhance"}
VIEWS = {"curated": "curated", "clips": "current_clips", "videos": "current_videos"}


@dataclass(frozen=True)
class Request:
    """What determines the bytes of an export, beside the tables."""

    format: str
    query: str
    export: export.Params
    filter: filter.Params  # says how the views reduce the scores of frames to that of a clip

    def settings(self, settings: Settings) -> Settings:
        """The settings with those of the request."""
        return replace(settings, export=self.export, filter=self.filter)


def request(options: Options, settings: Settings) -> Request:
    """What the command line asks for, or the release that it names.

    Raises:
        UsageError: no format, more than a release, or no release.
    """
    if options.release:
        if options.format or options.query or options.as_of:
            raise UsageError("--release says what to export: leave --format, --query and --as-of away")
        return _request(load(options.release, settings.sources), options.release)
    if not options.format:
        raise UsageError("--format: say which, or name a release with --release")
    what = settings.export.what
    if what == "auto":
        what = "clips" if options.format == "nemo" else "curated"
    asked = options.query.rstrip().removesuffix(";") if options.query else f"SELECT * FROM {VIEWS[what]}"
    query = f"SELECT * FROM ({asked}\n) WHERE {settings.export.where}"
    return Request(options.format, query, settings.export, settings.filter)


def begun(to: str, wanted: Request, sources: Sources) -> dict[str, Any] | None:
    """The release that a folder holds, whole or in part; None if there is none.

    Raises:
        UsageError: another one than what is wanted, or the folder's store cannot be asked.
    """
    path = f"{to}/{FILE}"
    try:
        if media_store.size(path, sources) is None:
            return None
    except (MediaError, StoreError) as e:
        raise UsageError(f"--to {to}: {getattr(e, 'message', e)}") from e
    described = load(path, sources)
    there = _request(described, path)
    differs = [name for name in ("format", "query") if getattr(there, name) != getattr(wanted, name)]
    differs += [
        f"export.{name}" for name, value in asdict(wanted.export).items() if asdict(there.export)[name] != value
    ]
    if there.filter.aesthetic_reduction != wanted.filter.aesthetic_reduction:
        differs.append("filter.aesthetic_reduction")
    if differs:
        raise UsageError(f"--to {to}: holds an export with another {', '.join(differs)}; give another folder")
    return described


def load(path: str, sources: Sources) -> dict[str, Any]:
    """A release file.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        with media_store.open_uri(path, sources) as file:
            content = json.loads(file.read())
    except FileNotFoundError as e:
        raise UsageError(f"{path}: {e.strerror}") from e
    except (OSError, ValueError, MediaError, StoreError) as e:
        raise UsageError(f"{path}: {getattr(e, 'message', e)}") from e
    if not _is_release(content):
        raise UsageError(f"{path}: is no release")
    return dict(content)


def _is_release(content: Any) -> bool:
    """Whether this is a release as far as its types go; its settings are validated when they are used."""
    if not isinstance(content, dict) or not {"format", "query", "tables", "settings"} <= content.keys():
        return False
    tables, settings = content["tables"], content["settings"]
    if not isinstance(tables, dict) or not isinstance(settings, dict):
        return False
    versions = all(type(version) is int for version in tables.values())
    sections = all(isinstance(section, dict) for section in settings.values())
    return versions and sections and content["format"] in FORMATS and isinstance(content["query"], str)


def describe(run: Run, wanted: Request) -> dict[str, Any]:
    """The release as far as it is known before its files are written; the run reads pinned tables."""
    values = {name: value for name, value in asdict(run.settings).items() if name != "spark"}
    settings = TypeAdapter(dict).dump_json(redaction.redacted_values(values))
    return {
        "format": wanted.format,
        "query": wanted.query,
        "tables": dict(run.pinned or {}),
        "settings": json.loads(settings),
        "stages": _stages(run),
        "models": _models(run),
        "code": revision(),
        "versions": history.versions(),
        "output": run.output if wanted.export.paths == "absolute" else None,
        "output_id": _output_id(run),
        "run_id": run.run_id,
        "begun_at": clock.now().isoformat(),
    }


def is_of_another(described: Mapping[str, Any], run: Run) -> bool:
    """Whether a release is of another output than that of the run; those of 0.1.0 do not say of which."""
    return "output_id" in described and described["output_id"] != _output_id(run)


def finished(release: Mapping[str, Any], parts: Mapping[str, Summary]) -> dict[str, Any]:
    """The release with its results: counts, and a sha256 per part, of its file or of the index of its files."""
    complete = [{"part": name, **part._asdict()} for name, part in sorted(parts.items())]
    counts = {key: sum(part[key] for part in complete) for key in ("num_clips", "num_files", "num_bytes")}
    counts["num_failed"] = sum(part.pop("note")["num_failed"] for part in complete)
    return dict(release) | {"ended_at": clock.now().isoformat(), "counts": counts, "parts": complete}


def after_takedown(release: Mapping[str, Any], parts: Mapping[str, Summary]) -> dict[str, Any]:
    """A finished release with what is left of its parts, and the time at which that was noted; the same if all is."""
    left = finished(release, parts)
    if left["parts"] == release["parts"]:
        return dict(release)
    return left | {"ended_at": release["ended_at"], "taken_down_at": left["ended_at"]}


def write(to: str, release: Mapping[str, Any], sources: Sources) -> None:
    """Put release.json into the folder of an export."""
    with media_store.write_to(f"{to}/{FILE}", sources, root=to) as path:
        Path(path).write_text(json.dumps(release, indent=2) + "\n", encoding="utf-8")


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The parts that differ between two releases, or that only one of them has."""
    before, after = ({part["part"]: part["sha256"] for part in r.get("parts", [])} for r in (old, new))
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def revision() -> str | None:
    """The commit of a checkout, -dirty if it was changed since; None where the code is installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or a repository of another user
        return None


def _output_id(run: Run) -> str | None:
    """What an output, and every copy of it, has alone, wherever it lies."""
    return run.tables.identity("videos")


def _request(described: Mapping[str, Any], path: str) -> Request:
    try:
        there = described["settings"]
        exported = TypeAdapter(export.Params).validate_python(_as_now(there["export"]))
        filtered = TypeAdapter(filter.Params).validate_python(there["filter"])
    except (KeyError, ValidationError) as e:
        raise UsageError(f"{path}: its settings are not those of this version: {str(e).splitlines()[0]}") from e
    return Request(described["format"], described["query"], exported, filtered)


def _as_now(exported: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a release made before [export.frames] and export.paths were there."""
    if "frames" in exported:
        return dict(exported)
    moved = {name.rpartition(".")[2] for name in RENAMED} & exported.keys()
    kept = {name: value for name, value in exported.items() if name not in moved}
    return kept | {"frames": {name: exported[name] for name in moved}, "paths": "absolute"}


def _stages(run: Run) -> dict[str, Any]:
    """How the current rows of each stage were made: fingerprint, run, versions and settings."""
    columns = ("fingerprint", "run_id", "versions", "conf")
    last = run.tables.read("runs").groupBy("stage").agg(F.max_by(F.struct(*columns), "started_at").alias("row"))
    stages = {}
    for stage, row in sorted(last.collect()):
        conf = redaction.redacted_values(json.loads(row["conf"]))
        if stage in RECIPES and stage != "export":
            stages[stage] = row.asDict() | {"conf": {name: conf[name] for name in RECIPES[stage].sections}}
        elif stage in conf.get("custom", {}):
            stages[stage] = row.asDict() | {"conf": {"custom": {stage: conf["custom"][stage]}}}
    return stages


def _models(run: Run) -> dict[str, list[str]]:
    """The models of the current rows, by stage."""
    rows = [run.made(name).select(F.lit(stage).alias("stage"), "model") for name, stage in WITH_MODELS.items()]
    models: dict[str, list[str]] = {}
    for row in rows[0].union(rows[1]).union(rows[2]).union(rows[3]).distinct().orderBy("stage", "model").collect():
        models.setdefault(row["stage"], []).append(row["model"])
    return models
