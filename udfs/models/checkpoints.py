"""Folders of models on disk: where they are, whether they are complete, and what identifies them."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from udfs.core import program, user_code
from udfs.models import user_models
from udfs.models.registry import (
    Checkpoint,
    MissingModelError,
    Params,
    absolute_name,
    checkpoint,
    is_local,
    may_run_code,
)

# Size and sha256 of each file. It is written last: a folder without it was not fetched completely.
INDEX = ".reelmill.json"
SAMPLE_BYTES = 1 << 16  # of a file's start and end, for the identity of a local folder


def models_folder(params: Params) -> Path:
    """The folder of fetched models."""
    return Path(os.path.expanduser(params.dir)).absolute()  # pathlib's raises for an unknown user


def with_absolute_dir(params: Params) -> Params:
    """The settings for processes that run in another folder, as executors do."""
    return replace(params, dir=str(models_folder(params)))


def fetched_folder(model: Checkpoint, params: Params) -> Path:
    """Where a model of the hub is once it has been fetched."""
    return models_folder(params) / model.repo.replace("/", "--") / model.revision


def is_fetched(model: Checkpoint, params: Params) -> bool:
    """Whether the model was fetched completely."""
    return (fetched_folder(model, params) / INDEX).is_file()


def check(name: str, params: Params) -> None:
    """Find on the driver, before Spark starts, what would stop a loader on a worker.

    Raises:
        MissingModelError: the model is missing, comes with code that `models.remote_code` does not
            allow, or needs packages that are not installed.
    """
    if user_code.is_function(name):
        user_models.check(name)
        return
    if not all(map(find_spec, ("torch", "transformers"))):
        raise MissingModelError(f"{name} needs torch and transformers: pip install 'reelmill[models]'")
    if is_local(name):
        has_code = _has_code(name)
    else:
        model = checkpoint(name)
        has_code = model.remote_code
        if not (is_fetched(model, params) or params.fetch_missing):
            raise MissingModelError(fetch_command(name, model, params))
    if has_code and not may_run_code(name, params):
        names = json.dumps([*params.remote_code, name])
        raise MissingModelError(f"{name} runs Python code of its own: allow it with --set 'models.remote_code={names}'")


def fetch_command(name: str, model: Checkpoint, params: Params) -> str:
    """The line that says how to fetch a missing model."""
    where = "" if params.dir == Params().dir else f" --dir {shlex.quote(params.dir)}"
    fetch = f"{program.command()} models --fetch {name}{where}"
    return f"{name} ({model.repo}) is not in {params.dir}: fetch it with `{fetch}`"


def identity(name: str) -> str:
    """What a fingerprint holds of a model: repository and revision, or a hash of a local folder's files or of code."""
    if user_code.is_function(name):
        return user_models.identity(name)
    if is_local(name):
        return _folder_digest(absolute_name(name))
    try:
        model = checkpoint(name)
    except MissingModelError:
        return name  # `check` has refused the name, or its stage is off
    return f"{model.repo}@{model.revision}"


def verify(path: Path) -> list[str]:
    """Read every file of a fetched folder; one line per file that differs from what was fetched."""
    try:
        files = json.loads((path / INDEX).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError) as e:
        return [f"{INDEX}: {e}"]
    return [line for name, facts in files.items() if (line := _difference(path / name, facts))]


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(path: Path, facts: dict[str, str | int]) -> str:
    if not path.is_file():
        return f"{path.name}: is missing"
    if path.stat().st_size != facts["size"]:
        return f"{path.name}: {path.stat().st_size} bytes, not {facts['size']}"
    return "" if file_sha256(path) == facts["sha256"] else f"{path.name}: its bytes are not those that were fetched"


def _has_code(path: str) -> bool:
    names = ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
    files = [file for name in names if (file := Path(os.path.expanduser(path)) / name).is_file()]
    return any("auto_map" in file.read_text(encoding="utf-8") for file in files)


@lru_cache
def _folder_digest(path: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(p for p in Path(path).rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(path)} {size} ".encode())
        with file.open("rb") as opened:
            digest.update(opened.read(SAMPLE_BYTES))
            opened.seek(max(0, size - SAMPLE_BYTES))
            digest.update(opened.read(SAMPLE_BYTES))
    return digest.hexdigest()
