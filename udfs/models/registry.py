"""Known models with their revisions on the Hugging Face hub, and the settings of [models]."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from udfs.core import user_code, words
from udfs.core.errors import RunError

NAME_AT_COMMIT = re.compile(r"(?P<model>[^@]+)@(?P<revision>[0-9a-f]{7,40})")
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def is_local(name: str) -> bool:
    """Whether a model's name is the path of an existing folder."""
    return os.sep in name and os.path.isdir(os.path.expanduser(name))


def absolute_name(name: str) -> str:
    """The name with a local folder's path made absolute: workers run in other folders than the driver."""
    return os.path.abspath(os.path.expanduser(name)) if is_local(name) else name


@dataclass(frozen=True)
class Checkpoint:
    """A model on the hub."""

    repo: str
    revision: str  # a commit of the repository
    about: str
    remote_code: bool = False  # the model comes with Python code of its own


class MissingModelError(RunError):
    """A model is unknown, missing, or may not run. The text is one line that says what to do."""


KNOWN: dict[str, Checkpoint] = {
    "clip": Checkpoint(
        "openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41", "pictures and text, 768"
    ),
    "aesthetic-mlp": Checkpoint(
        "ttj/sac-logos-ava1-l14-linearMSE",
        "1e77fa05081323d99725fc40a9bf9f88180490e7",
        "aesthetic score of a CLIP vector",
    ),
    "siglip2": Checkpoint(
        "google/siglip2-so400m-patch14-384", "e8e487298228002f3d8a82e0cd5c8ea9c567f57f", "pictures and text, 1152"
    ),
    "x-clip": Checkpoint(
        "microsoft/xclip-base-patch32", "a2e27a78a2b5d802e894b8a1ef14f3a8ce490963", "8 frames and text, 512"
    ),
    "cosmos-embed1-224p": Checkpoint(
        "nvidia/Cosmos-Embed1-224p",
        "787e0b996f5260a71ad474a283c90539a2e12986",
        "8 frames and text, 256",
        remote_code=True,
    ),
    "cosmos-embed1-336p": Checkpoint(
        "nvidia/Cosmos-Embed1-336p",
        "0e8a28f7bf370f2dcb3b9b61d23e167d0d6b0e6f",
        "8 frames and text, 768",
        remote_code=True,
    ),
    "cosmos-embed1-448p": Checkpoint(
        "nvidia/Cosmos-Embed1-448p",
        "f60ec73636eb7c9cc25267367713b7b1b0cffaf3",
        "8 frames and text, 768",
        remote_code=True,
    ),
    "qwen2.5": Checkpoint(
        "Qwen/Qwen2.5-VL-7B-Instruct", "cc594898137f460bfe9f0759e9844b3ce807cfb5", "captions of video"
    ),
    "qwen3": Checkpoint("Qwen/Qwen3-VL-8B-Instruct", "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b", "captions of video"),
    "qwen-lm": Checkpoint("Qwen/Qwen2.5-14B-Instruct", "cf98f3b3bbb457ad9e2bb7baf9a0125b6b88caa8", "rewrites captions"),
    "qwen3-lm": Checkpoint("Qwen/Qwen3-14B", "40c069824f4251a91eefaf281ebe4c544efd3e18", "rewrites captions"),
}


# What NeMo Curator's users call models beside these names; it calls cosmos-embed1 what its script takes first.
ALIASES = {"qwen": "qwen2.5", "cosmos-embed1": "cosmos-embed1-224p"}
# Its names of the models that rewrite captions are those of the models that write them.
REWRITERS = {"qwen2.5": "qwen-lm", "qwen3": "qwen3-lm"}
# Its models of which the hub has weights without code, and a repository that has both.
WITHOUT_CODE = {"internvideo2": "OpenGVLab/InternVideo2-Stage2_6B"}


def known_name(name: str, instead: Mapping[str, str] = words.NO_ALIASES) -> str | None:
    """The name in KNOWN of a model that a user names by it, an alias or its repository, in any spelling.

    `instead` says which models a stage takes for others. None: the model is not known.
    """
    by_repository = {model.repo.lower(): known for known, model in KNOWN.items()}
    if name.lower() in by_repository:
        return by_repository[name.lower()]
    known = words.known_name(name, KNOWN, ALIASES)
    return instead.get(known, known) if known else None


def full_name(name: str) -> str:
    """The name by which settings hold a model: a folder's absolute path, a known name, or the name as it is."""
    return absolute_name(name) if is_local(name) else known_name(name) or name


def model_name(name: str, known: Iterable[str] = KNOWN) -> str:
    """`full_name`, which must be a folder, one on the hub, one of the known names, or a function of the user's own.

    Raises:
        ValueError: one word that is none of the known names; the line says which is nearest.
    """
    full = full_name(name)
    if full in known or "/" in full or "@" in full or user_code.is_function(full):
        return full
    raise ValueError(_no_model(name, known))


def _no_model(name: str, known: Iterable[str], model: str | None = None) -> str:
    """The line about a name that no model has; `model` is the name without a commit."""
    like = WITHOUT_CODE.get(words.spelled(model or name))
    found = (
        f"name a folder with its own code, laid out as {like} is" if like else words.right_names(model or name, known)
    )
    return f"no model {name}: {found}"


ModelName = Annotated[str, AfterValidator(model_name)]


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[models]"""

    dir: Annotated[str, Field(min_length=1, description="folder of fetched models; the same path on every worker")] = (
        "models"
    )
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Field(description="auto: a GPU for the stages whose tasks take one, else the CPU"),
    ] = "auto"
    fetch_missing: Annotated[bool, Field(description="the first worker of a host that lacks a model fetches it")] = (
        False
    )
    remote_code: Annotated[tuple[ModelName, ...], Field(description="models whose own Python code may run")] = ()


def checkpoint(name: str) -> Checkpoint:
    """The checkpoint of a model: a name as `known_name` takes it, `name@revision` or `org/name@revision`.

    Raises:
        MissingModelError: the name is none of these; the line names the nearest known model.
    """
    match = NAME_AT_COMMIT.fullmatch(name)
    model = match["model"] if match else name
    known = KNOWN.get(known_name(model) or "")
    if not match and known:
        return known
    if match and (known or REPOSITORY.fullmatch(model)):
        return replace(known or Checkpoint(model, "", ""), revision=match["revision"], about="")
    if os.sep in name:
        raise MissingModelError(f"no model {name}: no such folder; a model on the hub is written org/name@commit")
    raise MissingModelError(_no_model(name, KNOWN, model))


def may_run_code(name: str, params: Params) -> bool:
    """Whether the settings allow the model's own Python code to run (transformers' `trust_remote_code`)."""
    return full_name(name) in params.remote_code
