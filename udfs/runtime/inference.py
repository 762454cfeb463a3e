"""Batches of rows -> items decoded by threads, batched across rows for a model, and each row's results."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import pandas as pd

from udfs.core import bugs
from udfs.core.errors import MediaError
from udfs.core.task_resources import Resources
from udfs.runtime import batching, sandbox
from udfs.runtime.batching import COST, GPU_COST, Env, Row
from udfs.runtime.model_cache import Load, Model, resident

Call = Callable[..., Any]
Prepare = Callable[[Row, Call], Iterable[Any]]
Finish = Callable[[Row, list[Any]], list[Row]]

QUEUED_BATCHES = 2  # that wait decoded: one more than the model can take at once
LOST_WORKER = 77  # exit status of a process whose GPU answers no more
STICKY = ("CUDA error", "device-side assert", "CUBLAS_STATUS", "CUDNN_STATUS", "illegal memory access")


@dataclass
class _Ticket:
    """A row on its way: its items' answers as they come, and what it has cost."""

    row: Row
    answers: dict[int, Any] = field(default_factory=dict)
    num_items: int | None = None  # known once the task's own thread has heard of its end, so that it is done once
    error: MediaError | None = None
    bug: Exception | None = None  # raised by `prepare`, and no MediaError
    cpu_s: float = 0.0
    gpu_s: float = 0.0

    @property
    def done(self) -> bool:
        """Whether nothing of it is under way any more."""
        return self.num_items is not None and len(self.answers) == self.num_items


Item = tuple[_Ticket, int, Any]  # whose, which, what
End = tuple[_Ticket, int]  # of how many items


def infer(
    batches: Iterable[pd.DataFrame],
    *,
    prepare: Prepare,
    load: Load,
    finish: Finish,
    key: str,
    columns: list[str],
    env: Env,
    resources: Resources,
    batch_size: int,
) -> Iterator[pd.DataFrame]:
    """Batches of inputs to batches of results and failures, as `batching.each` gives them; a row is given when it is done.

    `prepare(row, call)` runs on `resources.cpus` threads and yields the row's items; whatever decodes goes through `call`, which
    runs a module-level function in the thread's sandbox. `load(device)` gives the model: a function of at most `batch_size`
    items, of any rows, to as many answers, of which a MediaError fails its row. `finish(row, answers)` makes the results of
    one row. It and `prepare` may raise MediaError for their row; any other exception is its BUG, as in `batching.each`.
    """
    watch = bugs.watch(batching.name_of(prepare))
    with _Feeder(batches, prepare, env, resources.cpus, QUEUED_BATCHES * batch_size) as feeder:
        group: list[Item] = []
        if not feeder.under_way:
            return
        with resident(load, env.task, resources, env.models.device) as model:
            for event in feeder.events():
                touched = [event] if isinstance(event, _Ticket) else []
                if isinstance(event, tuple):
                    group.append(event)
                if len(group) >= batch_size or (group and feeder.is_dry):
                    touched += _answer(model, group)
                    group = []
                done = {id(ticket): ticket for ticket in touched if ticket.done}
                if done:
                    yield batching.frame([r for t in done.values() for r in _results(t, finish, key, watch)], columns)


def _answer(model: Model, group: list[Item]) -> list[_Ticket]:
    """Ask the model, and note its answers on the tickets of the items; the tickets."""
    started = time.monotonic()
    answers = _asked(model, [item for _, _, item in group])
    share = (time.monotonic() - started) / len(group)
    for (ticket, number, _), answer in zip(group, answers, strict=True):
        ticket.gpu_s += share
        ticket.answers[number] = answer
        if isinstance(answer, MediaError):
            ticket.error = ticket.error or answer
    return [ticket for ticket, _, _ in group]


def _asked(model: Model, items: list[Any]) -> Sequence[Any]:
    """The model's answers; out of GPU memory, those of the halves. An item too large by itself is answered by MediaError."""
    try:
        return list(model(items))
    except MemoryError as e:
        trouble = str(e)
    except RuntimeError as e:
        if not _is_out_of_memory(e):
            _leave_if_lost(e)
            raise
        trouble = str(e)
    # Not within `except`: the traceback holds what the failed batch had allocated.
    _free_memory()
    if len(items) == 1:
        return [MediaError("OOM", f"one input is more than the GPU holds: {trouble.splitlines()[0]}")]
    half = len(items) // 2
    return [*_asked(model, items[:half]), *_asked(model, items[half:])]


def _is_out_of_memory(error: RuntimeError) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error)


def _leave_if_lost(error: RuntimeError) -> None:
    """End this process if its GPU answers no more: every later call would fail too, and Spark would use it again."""
    if any(sign in str(error) for sign in STICKY):
        print(f"the GPU is lost to this worker, which ends: {error}", file=sys.stderr, flush=True)
        os._exit(LOST_WORKER)


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _results(ticket: _Ticket, finish: Finish, key: str, watch: bugs.Watch) -> list[Row]:
    name, video = ticket.row[key], batching.video_of(ticket.row, key)
    watch.take(video)
    try:
        if ticket.error is not None or ticket.bug is not None:
            raise ticket.error or ticket.bug or AssertionError
        results = finish(ticket.row, [ticket.answers[i] for i in range(ticket.num_items or 0)])
    except MediaError as e:
        results = [batching.failure(name, e)]
    except Exception as e:  # noqa: BLE001 - the border at which a bug that one input meets becomes its failure
        results = [batching.failure(name, watch.failure(e, batching.display_name(ticket.row, key), video))]
    costs = {COST: ticket.cpu_s / max(1, len(results)), GPU_COST: ticket.gpu_s / max(1, len(results))}
    return [result | {"fingerprint": ticket.row.get("fingerprint")} | costs for result in results]


class _Feeder:
    """Rows that threads prepare -> their items, as they come, and each row's ticket when its last item is out."""

    def __init__(self, batches: Iterable[pd.DataFrame], prepare: Prepare, env: Env, threads: int, ahead: int) -> None:
        """At most `ahead` items wait, so that memory stays bounded however slow the model is."""
        self.rows = (row for batch in batches for row in batching.records(batch))
        self.prepare, self.env, self.threads = prepare, env, threads
        self.queue: queue.Queue[Item | End | Exception] = queue.Queue(ahead)
        self.under_way = 0
        self.exhausted = False
        self._stop = threading.Event()

    def __enter__(self) -> _Feeder:
        for _ in range(self.threads + 1):  # one waits, so that no thread does
            self._submit()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self.under_way:  # their threads are kept for the next task, so they must come to an end
            event = self.queue.get()
            self.under_way -= isinstance(event, Exception) or len(event) == 2

    @property
    def is_dry(self) -> bool:
        """Whether no item can follow those that were given."""
        return self.exhausted and not self.under_way

    def events(self) -> Iterator[Item | _Ticket]:
        """Items and tickets, in the order in which they get ready.

        Raises:
            Exception: an error of the run that `prepare` raised.
        """
        while self.under_way:
            event = self.queue.get()
            if isinstance(event, Exception):
                self.under_way -= 1
                raise event
            if len(event) == 3:
                yield event
                continue
            self.under_way -= 1
            self._submit()
            ticket, num_items = event
            ticket.num_items = num_items
            yield ticket

    def _submit(self) -> None:
        row = next(self.rows, None)
        if row is None:
            self.exhausted = True
            return
        self.under_way += 1
        _threads(self.threads).submit(self._work, row)

    def _work(self, row: Row) -> None:
        ticket, number = _Ticket(row), 0
        try:
            for number, item in enumerate(self.prepare(row, partial(self._call, ticket)), 1):
                if self._stop.is_set():
                    break
                self.queue.put((ticket, number - 1, item))
        except MediaError as e:
            ticket.error = e
        except Exception as e:  # noqa: BLE001 - nothing ends here: the task's own thread judges it
            if (concern := bugs.run_error(e)) is not None:
                self.queue.put(concern)
                return
            ticket.bug = e
        self.queue.put((ticket, number))

    def _call(self, ticket: _Ticket, function: Callable[..., Any], *args: Any) -> Any:
        result, cpu_s = sandbox.call(batching.measured, function, *args, **sandbox.bounds(self.env.limits))
        ticket.cpu_s += cpu_s
        return result


@lru_cache(maxsize=1)
def _threads(number: int) -> ThreadPoolExecutor:
    """Kept from task to task, since each thread keeps a decoding process."""
    return ThreadPoolExecutor(number, thread_name_prefix="decode")
