"""The context of a stage's work (Env), and the columns that results have beside the table's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from udfs.core.gpu_device import Task
from udfs.core.limits import Limits
from udfs.models import registry
from udfs.storage.settings import Params as Sources

Row = dict[str, Any]

# The driver removes these columns again (jobs/flow/stage.py).
FAILURE = ("failed_key", "failed_code", "failed_message")
COST, GPU_COST = "cpu_s", "gpu_s"


@dataclass(frozen=True)
class Outputs:
    """Where the decoding process may write: below a root, by way of a folder for what is unfinished."""

    root: str
    unfinished: str


@dataclass(frozen=True)
class Env:
    """What a stage's work needs beside its own settings."""

    media_root: str  # <output>/media
    fingerprint: str  # of the stage, part of the names of the files it writes
    limits: Limits = field(default_factory=Limits)
    sources: Sources = field(default_factory=Sources)
    models: registry.Params = field(default_factory=registry.Params)
    task: Task = field(default_factory=Task)  # the running task; known on the executor only
    outputs: Outputs | None = None  # of the decoding process; None: it writes no files

    def with_media(self) -> Env:
        """The Env of a stage whose decoding process writes below the media root."""
        return replace(self, outputs=Outputs(self.media_root, self.media_root))


class Counter(Protocol):
    """A counter that can be raised, such as an accumulator of Spark's."""

    def add(self, term: int) -> None:
        """Raise the counter."""
