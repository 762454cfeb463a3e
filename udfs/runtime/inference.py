"""Run a model over rows: threads decode items, the model takes them in batches across rows."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import pandas as pd

from udfs.core import bugs, gpu_device
from udfs.core.errors import MediaError
from udfs.core.task_resources import Resources
from udfs.runtime import batching, sandbox
from udfs.runtime.context import COST, GPU_COST, Env, Row
from udfs.runtime.model_cache import Load, Model, cached_model
from udfs.runtime.sandbox import Needs

Call = Callable[..., Any]
Prepare = Callable[[Row, Call], Iterable[Any]]
Finish = Callable[[Row, list[Any]], list[Row]]

QUEUED_BATCHES = 2  # of decoded items: one more than the model takes at once
LOST_WORKER = 77  # exit status of a process whose GPU has failed


@dataclass
class _Progress:
    """The progress of one row: its items' answers as they come, and their cost."""

    row: Row
    answers: dict[int, Any] = field(default_factory=dict)
    num_items: int | None = None  # known once the task's thread has seen the row's end, so that a row is done once
    error: MediaError | None = None
    bug: Exception | None = None  # raised by `prepare` or the answer to an item, other than a MediaError
    cpu_s: float = 0.0
    gpu_s: float = 0.0

    @property
    def done(self) -> bool:
        """Whether all items have been answered."""
        return self.num_items is not None and len(self.answers) == self.num_items


Item = tuple[_Progress, int, Any]  # of a row, its number, and the decoded item
End = tuple[_Progress, int]  # of a row, and the number of its items


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
    on_gpu: bool = False,
    own_code: bool = False,
    holds_model: bool = True,
) -> Iterator[pd.DataFrame]:
    """Yield results and failures in the format of `batching.each`, rows in order of completion.

    `prepare(row, call)` runs on `resources.cpus` threads and yields the row's items. It decodes
    through `call`, which runs a module-level function in the thread's sandbox. `load(device)`
    returns the model: a function from at most `batch_size` items of any rows to one answer per
    item, where an exception fails the item's row. `finish(row, answers)` returns the results of one
    row. `prepare` and `finish` may raise MediaError for their row; any other exception is a BUG of
    the row, as in `batching.each`.

    With `on_gpu`, decoding processes may use the GPU, and end with the task. With `own_code`, they
    run functions of the user's. Neither are jailed. Without `holds_model`, which is so where an
    endpoint is asked, `models.device` does not concern the task.
    """
    watch = bugs.watch(batching.qualified_name(prepare))
    env = replace(env, limits=env.limits.with_cuda()) if on_gpu else env
    needs = Needs(gpu=on_gpu, own_code=own_code)
    with (
        _decoding_ended(resources.cpus, on_gpu),
        _Feeder(batches, prepare, env, needs, resources.cpus, QUEUED_BATCHES * batch_size) as feeder,
    ):
        group: list[Item] = []
        if not feeder.num_running:
            return
        with cached_model(load, env.task, resources, env.models.device if holds_model else "auto") as model:
            for event in feeder.events():
                updated = [event] if isinstance(event, _Progress) else []
                if isinstance(event, tuple):
                    group.append(event)
                if len(group) >= batch_size or (group and feeder.is_exhausted):
                    updated += _answer(model, group)
                    group = []
                done = {id(progress): progress for progress in updated if progress.done}
                if done:
                    yield batching.frame([r for t in done.values() for r in _results(t, finish, key, watch)], columns)


def _answer(model: Model, group: list[Item]) -> list[_Progress]:
    """Ask the model and store its answers; returns the progress of the items' rows."""
    started = time.monotonic()
    answers = _answers(model, [item for _, _, item in group])
    share = (time.monotonic() - started) / len(group)
    for (progress, number, _), answer in zip(group, answers, strict=True):
        progress.gpu_s += share
        progress.answers[number] = answer
        if isinstance(answer, MediaError):
            progress.error = progress.error or answer
        elif isinstance(answer, Exception):
            progress.bug = progress.bug or answer
    return [progress for progress, _, _ in group]


def _answers(model: Model, items: list[Any]) -> Sequence[Any]:
    """The model's answers. If GPU memory runs out, halves are tried.

    The answer to a single item that is too large is a MediaError.
    """
    try:
        return list(model(items))
    except MemoryError as e:
        message = str(e)
    except RuntimeError as e:
        if not gpu_device.is_out_of_memory(e):
            _exit_if_gpu_failed(e)
            raise
        message = str(e)
    # Not within `except`: the traceback keeps the failed batch's memory.
    _free_memory()
    if len(items) == 1:
        [line, *_] = message.splitlines() or ["no message"]
        return [MediaError("OOM", f"one input needs more memory than there is: {line}")]
    half = len(items) // 2
    return [*_answers(model, items[:half]), *_answers(model, items[half:])]


def _exit_if_gpu_failed(error: RuntimeError) -> None:
    """End this process if its GPU has failed: every later call would fail, too, and Spark would reuse the process."""
    if gpu_device.has_failed(error):
        print(f"the GPU has failed for this worker, which exits: {error}", file=sys.stderr, flush=True)
        os._exit(LOST_WORKER)


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _results(progress: _Progress, finish: Finish, key: str, watch: bugs.Watch) -> list[Row]:
    name, video_id = progress.row[key], batching.video_id_of(progress.row, key)
    watch.take(video_id)
    try:
        if progress.error is not None or progress.bug is not None:
            raise progress.error or progress.bug or AssertionError
        results = finish(progress.row, [progress.answers[i] for i in range(progress.num_items or 0)])
    except MediaError as e:
        results = [batching.failure(name, e)]
    except Exception as e:  # noqa: BLE001 - the border at which a bug that one input meets becomes its failure
        results = [batching.failure(name, watch.failure(e, batching.display_name(progress.row, key), video_id))]
    costs = {COST: progress.cpu_s / max(1, len(results)), GPU_COST: progress.gpu_s / max(1, len(results))}
    return [result | {"fingerprint": progress.row.get("fingerprint")} | costs for result in results]


class _Feeder:
    """Threads that prepare rows; yields their items as they come, and each row's progress after its last item."""

    def __init__(
        self, batches: Iterable[pd.DataFrame], prepare: Prepare, env: Env, needs: Needs, threads: int, ahead: int
    ) -> None:
        """At most `ahead` items wait in the queue, so that memory is bounded however slow the model is."""
        self.rows = (row for batch in batches for row in batching.records(batch))
        self.prepare, self.env, self.needs, self.threads = prepare, env, needs, threads
        self.queue: queue.Queue[Item | End | Exception] = queue.Queue(ahead)
        self.num_running = 0
        self.exhausted = False
        self._stop = threading.Event()

    def __enter__(self) -> _Feeder:
        for _ in range(self.threads + 1):  # one row more than threads, so that no thread waits
            self._submit()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self.num_running:  # the threads serve the next task, too, so their work must end first
            event = self.queue.get()
            self.num_running -= isinstance(event, Exception) or len(event) == 2

    @property
    def is_exhausted(self) -> bool:
        """Whether no further item can come."""
        return self.exhausted and not self.num_running

    def events(self) -> Iterator[Item | _Progress]:
        """Items, and the progress of rows whose last item has come, in order of completion.

        Raises:
            Exception: an error of the run that `prepare` raised.
        """
        while self.num_running:
            event = self.queue.get()
            if isinstance(event, Exception):
                self.num_running -= 1
                raise event
            if len(event) == 3:
                yield event
                continue
            self.num_running -= 1
            self._submit()
            progress, num_items = event
            progress.num_items = num_items
            yield progress

    def _submit(self) -> None:
        row = next(self.rows, None)
        if row is None:
            self.exhausted = True
            return
        self.num_running += 1
        _decode_threads(self.threads).submit(self._work, row)

    def _work(self, row: Row) -> None:
        progress, number = _Progress(row), 0
        try:
            for number, item in enumerate(self.prepare(row, partial(self._call, progress)), 1):
                if self._stop.is_set():
                    break
                self.queue.put((progress, number - 1, item))
        except MediaError as e:
            progress.error = e
        except Exception as e:  # noqa: BLE001 - the task's own thread handles it
            if (run_error := bugs.run_error(e)) is not None:
                self.queue.put(run_error)
                return
            progress.bug = e
        self.queue.put((progress, number))

    def _call(self, progress: _Progress, function: Callable[..., Any], *args: Any) -> Any:
        bounds = sandbox.bounds(self.env.limits)
        result, cpu_s = sandbox.call(batching.with_cpu_seconds, function, *args, **bounds, needs=self.needs)
        progress.cpu_s += cpu_s
        return result


@contextmanager
def _decoding_ended(threads: int, on_gpu: bool) -> Iterator[None]:
    """At the end, end the decoding process of every thread, if it may hold memory of a GPU."""
    try:
        yield
    finally:
        if on_gpu:
            together = threading.Barrier(threads)  # so that each thread takes one of the calls
            calls = [_decode_threads(threads).submit(_end_decoding, together) for _ in range(threads)]
            wait(calls)


def _end_decoding(together: threading.Barrier) -> None:
    together.wait()
    sandbox.stop()


@lru_cache(maxsize=1)
def _decode_threads(number: int) -> ThreadPoolExecutor:
    """A pool kept from task to task, since each thread keeps a decoding process."""
    return ThreadPoolExecutor(number, thread_name_prefix="decode")
