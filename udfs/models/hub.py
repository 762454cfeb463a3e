"""Fetch models from the Hugging Face hub: complete and verified, and once per host."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from udfs.core import user_code
from udfs.core.host_files import lock
from udfs.models import checkpoints
from udfs.models.registry import Checkpoint, MissingModelError, Params, absolute_name, checkpoint, is_local

log = logging.getLogger("reelmill")

WEIGHTS = (".safetensors",)
PICKLED = (".bin", ".pth", ".pt")  # may hide code: fetched only where a model has no other weights
OTHER_FILES = (".json", ".txt", ".model", ".jinja")  # configurations, vocabularies, chat templates
INCOMPLETE = ".fetching"  # folder of models that are still being fetched
GB = 10**9


@dataclass(frozen=True)
class File:
    """A file as the hub describes it: a large one by its sha256, a small one by its git object id."""

    name: str
    size: int
    sha256: str | None
    git_sha1: str | None


def folder(name: str, params: Params) -> str:
    """The local folder of a model: a local name's own folder, or the fetched revision of a model of the hub.

    The name of a function stands for itself.

    Raises:
        MissingModelError: the model is not on this machine, and `fetch_missing` is off.
    """
    if user_code.is_function(name):
        return name
    if is_local(name):
        return absolute_name(name)
    model = checkpoint(name)
    if not checkpoints.is_fetched(model, params):
        if not params.fetch_missing:
            raise MissingModelError(checkpoints.fetch_command(name, model, params))
        fetch(model, params)
    return str(checkpoints.fetched_folder(model, params))


def allowed(name: str, params: Params) -> str:
    """The folder of a model that passes `checkpoints.check`.

    Raises:
        MissingModelError: as `checkpoints.check` and `folder` raise it.
    """
    checkpoints.check(name, params)
    return folder(name, params)


def fetch(model: Checkpoint, params: Params) -> bool:
    """Fetch a model into `checkpoints.fetched_folder`; False if it was already there.

    A second process waits for the first and uses its result. An interrupted fetch leaves its files
    in INCOMPLETE, and the next one continues from them. The environment's HF_ENDPOINT, HF_TOKEN and
    proxies apply.

    Raises:
        MissingModelError: huggingface_hub is not installed, the hub lacks the model or cannot be
            reached, the disk is full, or a file differs from the hub's description.
    """
    if find_spec("huggingface_hub") is None:
        raise MissingModelError("fetching models needs huggingface_hub: pip install 'reelmill[models]'")
    target = checkpoints.fetched_folder(model, params)
    with lock(_lock_file(target)):
        if checkpoints.is_fetched(model, params):
            return False
        incomplete = target.parent.parent / INCOMPLETE / target.parent.name / target.name
        incomplete.mkdir(parents=True, exist_ok=True)
        files = _download(model, incomplete)
        _check_files(files, incomplete, model)
        shutil.rmtree(incomplete / ".cache", ignore_errors=True)  # written by the hub's client
        _write_index(files, incomplete, model)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)  # without an index it is no complete model
        incomplete.rename(target)
    return True


def files_to_fetch(names: Iterable[str], remote_code: bool) -> list[str]:
    """The files of a repository that a loader reads."""
    visible = [
        name for name in names if not any(part.startswith((".", "onnx", "original")) for part in name.split("/"))
    ]
    safe = [name for name in visible if name.endswith(WEIGHTS)]
    weights = safe or [name for name in visible if name.endswith(PICKLED)]
    code = [name for name in visible if name.endswith(".py")] if remote_code else []
    others = [
        name
        for name in visible
        if name.endswith(OTHER_FILES) and (safe or not name.endswith(".safetensors.index.json"))
    ]
    return sorted({*weights, *code, *others})


def files_on_hub(model: Checkpoint) -> tuple[str, list[File]]:
    """The full commit of a model's revision, and the files to fetch from it."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(model.repo, revision=model.revision, files_metadata=True)
    siblings = {s.rfilename: s for s in info.siblings or []}
    names = files_to_fetch(siblings, model.remote_code)
    files = [File(n, s.size or 0, s.lfs.sha256 if s.lfs else None, s.blob_id) for n in names for s in [siblings[n]]]
    if not info.sha or not info.sha.startswith(model.revision):
        raise MissingModelError(f"{model.repo}: the hub has revision {info.sha} in place of {model.revision}")
    return info.sha, files


def _download(model: Checkpoint, incomplete: Path) -> list[File]:
    from huggingface_hub import errors, snapshot_download

    http_error = errors.HTTPError  # type: ignore[attr-defined]  # of whichever httpx the client has
    try:
        commit, files = files_on_hub(model)
        if not files:
            raise MissingModelError(f"{model.repo}@{model.revision} has no file that a model is loaded from")
        _check_free_space(files, incomplete, model)
        log.info("fetching %s@%s, %.2f GB", model.repo, commit[:7], sum(f.size for f in files) / GB)
        snapshot_download(model.repo, revision=commit, local_dir=incomplete, allow_patterns=[f.name for f in files])
    except (http_error, OSError, ValueError) as e:
        lines = str(e).strip().splitlines() or [type(e).__name__]
        raise MissingModelError(f"{model.repo}@{model.revision[:7]} cannot be fetched: {lines[0]}") from e
    return files


def _check_free_space(files: list[File], incomplete: Path, model: Checkpoint) -> None:
    downloaded = sum(path.stat().st_size for path in incomplete.rglob("*") if path.is_file())
    needed, free = sum(f.size for f in files) - downloaded, shutil.disk_usage(incomplete).free
    if needed > free:
        where = incomplete.parents[2]
        raise MissingModelError(f"{model.repo} needs {needed / GB:.1f} GB in {where}, {free / GB:.1f} GB are free")


def _check_files(files: list[File], folder: Path, model: Checkpoint) -> None:
    differences = [line for file in files if (line := _difference(file, folder / file.name))]
    if differences:
        shutil.rmtree(folder)  # so that the next fetch starts from nothing
        damage = "; ".join(differences)
        raise MissingModelError(f"{model.repo}@{model.revision[:7]} arrived damaged and was deleted: {damage}")


def _difference(file: File, path: Path) -> str:
    if not path.is_file():
        return f"{file.name} is missing"
    if path.stat().st_size != file.size:
        return f"{file.name} has {path.stat().st_size} bytes, not {file.size}"
    same = checkpoints.file_sha256(path) == file.sha256 if file.sha256 else file.git_sha1 in (None, _git_sha1(path))
    return "" if same else f"{file.name} differs from the hub's hash of it"


def _git_sha1(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _write_index(files: list[File], folder: Path, model: Checkpoint) -> None:
    facts = {f.name: {"size": f.size, "sha256": f.sha256 or checkpoints.file_sha256(folder / f.name)} for f in files}
    index = {"repo": model.repo, "revision": model.revision, "files": facts}
    (folder / checkpoints.INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def _lock_file(target: Path) -> Path:
    folder = target.parent.parent / INCOMPLETE
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{target.parent.name}-{target.name}.lock"
