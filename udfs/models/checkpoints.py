"""The name of a model -> the local folder of its pinned revision, checked; nothing here reaches for a network."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from udfs.core.errors import RunError

INDEX = ".reelmill.json"  # size and sha256 of each file, written last: a folder without it was not fetched whole
NAMED = re.compile(r"(?P<model>[^@]+)@(?P<revision>[0-9a-f]{7,40})")  # any model of the hub, or another revision of a known one
REPO = re.compile(r"[\w.-]+/[\w.-]+")
SAMPLE_BYTES = 1 << 16  # of a file's head and tail, for the identity of a local folder


def is_local(name: str) -> bool:
    """Whether a name is the path of a folder."""
    return os.sep in name and Path(name).expanduser().is_dir()


def resolved(name: str) -> str:
    """A name as a process in any folder reads it: the path of a local model made absolute."""
    return os.path.abspath(os.path.expanduser(name)) if is_local(name) else name


Name = Annotated[str, AfterValidator(resolved)]  # of a model in the settings


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[models]"""

    dir: Annotated[str, Field(min_length=1, description="folder of fetched models, the same path on every worker")] = "models"
    device: Annotated[Literal["auto", "cpu", "cuda"], Field(description="auto: a GPU where a stage is given one")] = "auto"
    fetch_missing: Annotated[bool, Field(description="the first worker of a host that misses a model fetches it")] = False
    remote_code: Annotated[tuple[Name, ...], Field(description="models whose own Python code may run")] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A model on the hub; `remote_code`: it comes with Python code of its own."""

    repo: str
    revision: str  # a commit of the repository
    about: str
    remote_code: bool = False


class MissingModelError(RunError):
    """A model that is not there, not known, or may not run; its text is one line that says what to do."""


KNOWN: dict[str, Checkpoint] = {
    "clip": Checkpoint("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41", "pictures and text, 768"),
    "aesthetic-mlp": Checkpoint(
        "ttj/sac-logos-ava1-l14-linearMSE", "1e77fa05081323d99725fc40a9bf9f88180490e7", "aesthetic score of a CLIP vector"
    ),
    "siglip2": Checkpoint(
        "google/siglip2-so400m-patch14-384", "e8e487298228002f3d8a82e0cd5c8ea9c567f57f", "pictures and text, 1152"
    ),
    "x-clip": Checkpoint("microsoft/xclip-base-patch32", "a2e27a78a2b5d802e894b8a1ef14f3a8ce490963", "8 frames and text, 512"),
    "cosmos-embed1-224p": Checkpoint(
        "nvidia/Cosmos-Embed1-224p", "787e0b996f5260a71ad474a283c90539a2e12986", "8 frames and text, 256", remote_code=True
    ),
    "cosmos-embed1-336p": Checkpoint(
        "nvidia/Cosmos-Embed1-336p", "0e8a28f7bf370f2dcb3b9b61d23e167d0d6b0e6f", "8 frames and text, 768", remote_code=True
    ),
    "cosmos-embed1-448p": Checkpoint(
        "nvidia/Cosmos-Embed1-448p", "f60ec73636eb7c9cc25267367713b7b1b0cffaf3", "8 frames and text, 768", remote_code=True
    ),
    "internvideo2": Checkpoint(
        "OpenGVLab/InternVideo2-Stage2_1B-224p-f4", "4362e1f88a992e7edbfd7696f7f78b7f79426dfd", "4 frames and text, 512"
    ),
    "bert-large": Checkpoint(
        "google-bert/bert-large-uncased", "6da4b6a26a1877e173fca3225479512db81a5e5b", "the text side of internvideo2"
    ),
    "qwen2.5": Checkpoint("Qwen/Qwen2.5-VL-7B-Instruct", "cc594898137f460bfe9f0759e9844b3ce807cfb5", "captions of video"),
    "qwen3": Checkpoint("Qwen/Qwen3-VL-8B-Instruct", "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b", "captions of video"),
    "qwen-lm": Checkpoint("Qwen/Qwen2.5-14B-Instruct", "cf98f3b3bbb457ad9e2bb7baf9a0125b6b88caa8", "rewrites captions"),
    "qwen3-lm": Checkpoint("Qwen/Qwen3-14B", "40c069824f4251a91eefaf281ebe4c544efd3e18", "rewrites captions"),
}


def checkpoint(name: str) -> Checkpoint:
    """What a name means on the hub: a known one, `known@revision` or `org/name@revision`.

    Raises:
        MissingModelError: none of these; the line names the nearest known one.
    """
    if name in KNOWN:
        return KNOWN[name]
    named = NAMED.fullmatch(name)
    model = named["model"] if named else name
    known = KNOWN.get(model)
    if named and (known or REPO.fullmatch(model)):
        return replace(known or Checkpoint(model, "", ""), revision=named["revision"], about="")
    if os.sep in name:
        raise MissingModelError(f"no model {name}: no such folder; one of the hub is written org/name@commit")
    close = get_close_matches(model, KNOWN, n=1, cutoff=0.4)
    raise MissingModelError(f"no model {name}: " + (f"did you mean {close[0]}?" if close else f"known are {', '.join(KNOWN)}"))


def root(params: Params) -> Path:
    """The folder of fetched models."""
    return Path(params.dir).expanduser().absolute()


def absolute(params: Params) -> Params:
    """The settings as a process in another folder must have them: executors do not start where the driver does."""
    return replace(params, dir=str(root(params)))


def place(found: Checkpoint, params: Params) -> Path:
    """Where a model of the hub lies once it is fetched."""
    return root(params) / found.repo.replace("/", "--") / found.revision


def present(found: Checkpoint, params: Params) -> bool:
    """Whether it was fetched whole."""
    return (place(found, params) / INDEX).is_file()


def folder(name: str, params: Params) -> str:
    """The local folder of a model: of a name of the hub its fetched revision, of a path that folder itself.

    Raises:
        MissingModelError: it is not there, and `fetch_missing` is off.
    """
    if is_local(name):
        return resolved(name)
    found = checkpoint(name)
    if not present(found, params):
        if not params.fetch_missing:
            raise MissingModelError(_fetch_line(name, found, params))
        from udfs.models import hub  # what fetches is not needed, and may not be installed, where nothing is

        hub.fetch(found, params)
    return str(place(found, params))


def trusted(name: str, params: Params) -> bool:
    """Whether the model's own Python code may run: `trust_remote_code` for its loader."""
    return resolved(name) in params.remote_code


def check(name: str, params: Params) -> None:
    """What would stop a loader on a worker, found on the driver before Spark starts.

    Raises:
        MissingModelError: the model is not there, comes with code of its own that `models.remote_code` does not allow, or cannot
            be loaded since the packages for it are missing.
    """
    if not all(map(find_spec, ("torch", "transformers"))):
        raise MissingModelError(f"{name} needs torch and transformers: pip install 'reelmill[models]'")
    local = is_local(name)
    found = None if local else checkpoint(name)
    if found and not present(found, params) and not params.fetch_missing:
        raise MissingModelError(_fetch_line(name, found, params))
    if not trusted(name, params) and ((found and found.remote_code) or (local and _has_code(name))):
        allow = json.dumps([*params.remote_code, name])
        raise MissingModelError(f"{name} runs Python code of its own: allow it with --set 'models.remote_code={allow}'")


def allowed(name: str, params: Params) -> str:
    """The folder of a model that `check` lets pass.

    Raises:
        MissingModelError: what `check` raises.
    """
    check(name, params)
    return folder(name, params)


def identity(name: str) -> str:
    """What a fingerprint says of a model: repository and revision, or of a local folder a hash of what is in it."""
    if is_local(name):
        return _digest(resolved(name))
    try:
        found = checkpoint(name)
    except MissingModelError:
        return name  # `check` has refused it, or the stage that names it is off
    return f"{found.repo}@{found.revision}"


def verify(path: Path) -> list[str]:
    """What differs in a fetched folder from what was fetched, a line a file; reads every byte."""
    try:
        files = json.loads((path / INDEX).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError) as e:
        return [f"{INDEX}: {e}"]
    return [line for name, facts in files.items() if (line := _differs(path / name, facts))]


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _differs(path: Path, facts: dict[str, str | int]) -> str:
    if not path.is_file():
        return f"{path.name}: is gone"
    if path.stat().st_size != facts["size"]:
        return f"{path.name}: {path.stat().st_size} bytes, not {facts['size']}"
    return "" if sha256(path) == facts["sha256"] else f"{path.name}: other bytes than were fetched"


def _fetch_line(name: str, found: Checkpoint, params: Params) -> str:
    where = "" if params.dir == Params().dir else f" --dir {shlex.quote(params.dir)}"
    return f"{name} ({found.repo}) is not in {params.dir}: fetch it with `reelmill models --fetch {name}{where}`"


def _has_code(path: str) -> bool:
    names = ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
    files = [file for name in names if (file := Path(path).expanduser() / name).is_file()]
    return any("auto_map" in file.read_text(encoding="utf-8") for file in files)


@lru_cache
def _digest(path: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(p for p in Path(path).rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(path)} {size} ".encode())
        with file.open("rb") as opened:
            digest.update(opened.read(SAMPLE_BYTES))
            opened.seek(max(0, size - SAMPLE_BYTES))
            digest.update(opened.read(SAMPLE_BYTES))
    return digest.hexdigest()
