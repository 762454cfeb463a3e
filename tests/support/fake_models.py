"""A fake model and its stage, in a module that workers and decoding processes can import."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pandas as pd

from udfs.core.errors import MediaError, OutputError
from udfs.core.task_resources import Resources
from udfs.runtime import inference
from udfs.runtime.context import Env, Row
from udfs.runtime.inference import Call

COLUMNS = ["key", "total", "sizes", "pid", "gpu", "started", "ended"]
ONE = Resources()
Answer = tuple[int, int, float, float]  # the item, the size of its batch, and the start and end of that batch


def slow_answer(seconds: float, answer: Any) -> Any:
    """Return `answer` after sleeping as long as decoding would take."""
    time.sleep(seconds)
    return answer


def prepare(row: Row, call: Call, seconds: float = 0.0) -> Iterator[int]:
    """`num_items` items, each 10 times the one before; the key decides on an error after them."""
    for k in range(row["num_items"]):
        yield call(slow_answer, seconds, 10**k)
    if row["key"].startswith("bad"):
        raise MediaError("CORRUPT", "as the key asks")
    if row["key"].startswith("bug"):
        raise KeyError("as the key asks")
    if row["key"].startswith("full"):
        raise OutputError("as the key asks")


def load(device: str, seconds: float = 0.0, log: str = "", room: int = 10**9) -> Callable[[list[int]], list[Answer]]:
    """A model that takes `seconds` per batch of at most `room` items.

    It writes to `log` when it is loaded and when it is dropped.
    """
    lifetime = _LifetimeLog(log)

    def answers(items: list[int]) -> list[Answer]:
        if len(items) > room:
            raise MemoryError(f"room for {room}, not for {len(items)}")
        started = time.time()
        time.sleep(seconds)
        return [(item, len(items), started, time.time()) for item in items if lifetime]

    return answers


class _LifetimeLog:
    """Logs its creation and, after the last reference to it is gone, its end."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.write("load")

    def __del__(self) -> None:
        self.write("drop")

    def write(self, what: str) -> None:
        if self.log:
            with open(self.log, "a", encoding="utf-8") as f:
                f.write(f"{what} {os.getpid()} {time.time()}\n")


def finish(row: Row, answers: list[Answer], gpu: str = "") -> list[Row]:
    """One row per input row: the sum of its items, their batch sizes, process, GPU and times."""
    if row["key"].startswith("nan"):
        raise MediaError("BAD_OUTPUT", "as the key asks")
    if row["key"].startswith("late bug"):
        raise KeyError("as the key asks")
    facts = {"key": row["key"], "total": sum(a[0] for a in answers), "sizes": [a[1] for a in answers]}
    times = {"started": min((a[2] for a in answers), default=None), "ended": max((a[3] for a in answers), default=None)}
    return [facts | times | {"pid": os.getpid(), "gpu": gpu}]


def rows(
    batches: Iterable[pd.DataFrame],
    env: Env,
    *,
    model: dict[str, Any] | None = None,
    decode_s: float = 0.0,
    batch_size: int = 4,
    resources: Resources = ONE,
) -> Iterator[pd.DataFrame]:
    """The stage that runs this model."""
    return inference.infer(
        batches,
        prepare=partial(prepare, seconds=decode_s),
        load=partial(load, **(model or {})),
        finish=partial(finish, gpu=",".join(env.task.gpus)),
        key="key",
        columns=COLUMNS,
        env=env,
        resources=resources,
        batch_size=batch_size,
    )
