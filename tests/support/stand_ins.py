"""Stand-ins for models, at module level so that workers and decoding processes can import them."""

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
from udfs.runtime.batching import Env, Row
from udfs.runtime.inference import Call

COLUMNS = ["key", "total", "sizes", "pid", "gpu", "started", "ended"]
ONE = Resources()
Answer = tuple[int, int, float, float]  # the item, the size of its batch, and when that was in the model


def busy(seconds: float, answer: Any) -> Any:
    """Decoding that takes CPU time: it sleeps here, since two cores cannot show two things at once."""
    time.sleep(seconds)
    return answer


def prepare(row: Row, call: Call, seconds: float = 0.0) -> Iterator[int]:
    """As many items as the row says, each 10 times the one before."""
    for k in range(row["num_items"]):
        yield call(busy, seconds, 10**k)
    if row["key"].startswith("bad"):
        raise MediaError("CORRUPT", "as asked")
    if row["key"].startswith("bug"):
        raise KeyError("as asked")
    if row["key"].startswith("full"):
        raise OutputError("as asked")


def load(device: str, seconds: float = 0.0, log: str = "", room: int = 10**9) -> Callable[[list[int]], list[Answer]]:
    """A model that takes its time and has room for so many items at once; `log` is told when it comes and when it goes."""
    living = _Living(log)

    def answers(items: list[int]) -> list[Answer]:
        if len(items) > room:
            raise MemoryError(f"room for {room}, not for {len(items)}")
        started = time.time()
        time.sleep(seconds)
        return [(item, len(items), started, time.time()) for item in items if living]

    return answers


class _Living:
    """Tells a log of its birth and, once nobody holds it any more, of its death."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.tell("load")

    def __del__(self) -> None:
        self.tell("drop")

    def tell(self, what: str) -> None:
        if self.log:
            with open(self.log, "a", encoding="utf-8") as f:
                f.write(f"{what} {os.getpid()} {time.time()}\n")


def finish(row: Row, answers: list[Answer], gpu: str = "") -> list[Row]:
    """One row a row: the sum of its items, the batches that they were in, where and when."""
    if row["key"].startswith("nan"):
        raise MediaError("BAD_OUTPUT", "as asked")
    if row["key"].startswith("late bug"):
        raise KeyError("as asked")
    told = {"key": row["key"], "total": sum(a[0] for a in answers), "sizes": [a[1] for a in answers]}
    when = {"started": min((a[2] for a in answers), default=None), "ended": max((a[3] for a in answers), default=None)}
    return [told | when | {"pid": os.getpid(), "gpu": gpu}]


def rows(
    batches: Iterable[pd.DataFrame],
    env: Env,
    *,
    model: dict[str, Any] | None = None,
    decode_s: float = 0.0,
    batch_size: int = 4,
    resources: Resources = ONE,
) -> Iterator[pd.DataFrame]:
    """The stage of this model."""
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
