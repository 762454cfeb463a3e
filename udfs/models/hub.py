"""A model of the hub -> its files in the folder of models: complete and checked, or not there at all; once a host."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from udfs.core.host_files import lock
from udfs.models import checkpoints
from udfs.models.checkpoints import Checkpoint, MissingModelError, Params

log = logging.getLogger("reelmill")

WEIGHTS = (".safetensors",)
PICKLED = (".bin", ".pth", ".pt")  # weights that may hide code: taken only where a model has no others
BESIDE = (".json", ".txt", ".model", ".jinja")  # settings, vocabularies, chat templates
ASIDE = ".fetching"
GB = 10**9


@dataclass(frozen=True)
class File:
    """A file as the hub states it: of a large one the sha256 of its bytes, of a small one git's name for it."""

    name: str
    size: int
    sha256: str | None
    git_sha1: str | None


def fetch(found: Checkpoint, params: Params) -> bool:
    """Put a model where `checkpoints.place` says, unless it is there; whether it had to be fetched.

    A second process waits for the first and finds the model there. What an interrupted fetch leaves lies aside, and the next
    one goes on from it. HF_ENDPOINT, HF_TOKEN and the proxies of the environment count.

    Raises:
        MissingModelError: the hub does not have it or cannot be reached, no room is left, or a file is not what the hub states.
    """
    target = checkpoints.place(found, params)
    with lock(_lock_file(target)):
        if checkpoints.present(found, params):
            return False
        aside = target.parent.parent / ASIDE / target.parent.name / target.name
        aside.mkdir(parents=True, exist_ok=True)
        files = _download(found, aside)
        _check(files, aside, found)
        shutil.rmtree(aside / ".cache", ignore_errors=True)  # the hub client's own notes
        _index(files, aside, found)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)  # something without an index: not one of ours
        aside.rename(target)
    return True


def wanted(names: Iterable[str], remote_code: bool) -> list[str]:
    """Of a repository's files those that a loader reads."""
    flat = [name for name in names if not any(part.startswith((".", "onnx", "original")) for part in name.split("/"))]
    safe = [name for name in flat if name.endswith(WEIGHTS)]
    weights = safe or [name for name in flat if name.endswith(PICKLED)]
    code = [name for name in flat if name.endswith(".py")] if remote_code else []
    beside = [name for name in flat if name.endswith(BESIDE) and (safe or not name.endswith(".safetensors.index.json"))]
    return sorted({*weights, *code, *beside})


def stated(found: Checkpoint) -> tuple[str, list[File]]:
    """The commit a model's revision stands for, and the files to take from it."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(found.repo, revision=found.revision, files_metadata=True)
    siblings = {s.rfilename: s for s in info.siblings or []}
    names = wanted(siblings, found.remote_code)
    files = [File(n, s.size or 0, s.lfs.sha256 if s.lfs else None, s.blob_id) for n in names for s in [siblings[n]]]
    if not info.sha or not info.sha.startswith(found.revision):
        raise MissingModelError(f"{found.repo}: asked for revision {found.revision}, the hub gave {info.sha}")
    return info.sha, files


def _download(found: Checkpoint, aside: Path) -> list[File]:
    from huggingface_hub import errors, snapshot_download

    lost = errors.HTTPError  # type: ignore[attr-defined]  # of whichever httpx the client has
    try:
        commit, files = stated(found)
        if not files:
            raise MissingModelError(f"{found.repo}@{found.revision} holds no file that a model is loaded from")
        _check_room(files, aside, found)
        log.info("fetching %s@%s, %.2f GB", found.repo, commit[:7], sum(f.size for f in files) / GB)
        snapshot_download(found.repo, revision=commit, local_dir=aside, allow_patterns=[f.name for f in files])
    except (lost, OSError, ValueError) as e:
        said = str(e).strip().splitlines() or [type(e).__name__]
        raise MissingModelError(f"{found.repo}@{found.revision[:7]} cannot be fetched: {said[0]}") from e
    return files


def _check_room(files: list[File], aside: Path, found: Checkpoint) -> None:
    there = sum(path.stat().st_size for path in aside.rglob("*") if path.is_file())
    needed, free = sum(f.size for f in files) - there, shutil.disk_usage(aside).free
    if needed > free:
        raise MissingModelError(f"{found.repo} needs {needed / GB:.1f} GB in {aside.parents[2]}, {free / GB:.1f} are free")


def _check(files: list[File], folder: Path, found: Checkpoint) -> None:
    wrong = [line for file in files if (line := _differs(file, folder / file.name))]
    if wrong:
        shutil.rmtree(folder)  # so that the next fetch begins anew
        raise MissingModelError(f"{found.repo}@{found.revision[:7]} came damaged and was thrown away: {'; '.join(wrong)}")


def _differs(file: File, path: Path) -> str:
    if not path.is_file():
        return f"{file.name} is missing"
    if path.stat().st_size != file.size:
        return f"{file.name} has {path.stat().st_size} bytes, not {file.size}"
    same = checkpoints.sha256(path) == file.sha256 if file.sha256 else file.git_sha1 in (None, _git_sha1(path))
    return "" if same else f"{file.name} has other bytes than the hub states"


def _git_sha1(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _index(files: list[File], folder: Path, found: Checkpoint) -> None:
    facts = {f.name: {"size": f.size, "sha256": f.sha256 or checkpoints.sha256(folder / f.name)} for f in files}
    index = {"repo": found.repo, "revision": found.revision, "files": facts}
    (folder / checkpoints.INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def _lock_file(target: Path) -> Path:
    folder = target.parent.parent / ASIDE
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{target.parent.name}-{target.name}.lock"
