"""Rows pass through decode threads, a bounded queue and a model, in batches across rows."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support import fake_models
from udfs.core.errors import OutputError
from udfs.core.task_resources import Resources
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env
from udfs.runtime.inference import LOST_WORKER, _answers

ENV = Env(media_root="unused", fingerprint="f" * 16)


def inputs(*rows: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["key", "num_items"]).assign(fingerprint="f")


def done(*rows: tuple[str, int], **options: Any) -> dict[str, dict[str, Any]]:
    frame = pd.concat(fake_models.rows([inputs(*rows)], ENV, **options))
    records: list[dict[str, Any]] = [{str(k): v for k, v in record.items()} for record in frame.to_dict("records")]
    return {record["key"] or record[FAILURE[0]]: record for record in records}


def test_every_row_gets_the_answers_of_its_own_items_in_order() -> None:
    found = done(("a", 3), ("b", 1), ("c", 6), ("d", 2), resources=Resources(cpus=3))
    assert {key: row["total"] for key, row in found.items()} == {"a": 111, "b": 1, "c": 111_111, "d": 11}


def test_batches_cross_rows_and_are_never_over_the_size() -> None:
    found = done(*((f"r{k}", 1) for k in range(10)), batch_size=4)
    sizes = sorted(size for row in found.values() for size in row["sizes"])
    assert sizes == [2, 2] + [4] * 8


def test_every_row_is_given_once_however_its_end_and_its_last_answer_race() -> None:
    rows = [(f"r{k}", k % 4) for k in range(300)]
    frame = pd.concat(fake_models.rows([inputs(*rows)], ENV, batch_size=1, resources=Resources(cpus=4)))
    assert sorted(frame["key"]) == sorted(key for key, _ in rows)


def test_a_row_without_items_is_finished_all_the_same() -> None:
    assert done(("a", 0))["a"]["total"] == 0


def test_nothing_in_nothing_out_and_no_model_answers_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert list(fake_models.rows([inputs()], ENV, model={"log": str(log)})) == []
    assert not log.exists()


def test_a_bad_input_is_a_failure_row_and_its_siblings_go_on() -> None:
    found = done(("a", 2), ("bad", 2), ("nan", 1), ("b", 2), batch_size=3)
    assert found["bad"][FAILURE[1]] == "CORRUPT"
    assert found["nan"][FAILURE[1]] == "BAD_OUTPUT"
    assert (found["a"]["total"], found["b"]["total"], len(found)) == (11, 11, 4)


@pytest.mark.parametrize("bug", ["bug", "late bug"])
def test_72_a_bug_is_a_row_and_its_siblings_go_on(bug: str) -> None:
    found = done(("a", 2), (bug, 1), ("b", 2))
    assert found[bug][FAILURE[1]] == "BUG"
    assert "'as the key asks' (support/fake_models.py:" in found[bug][FAILURE[2]]
    assert (found["a"]["total"], found["b"]["total"]) == (11, 11)


def test_what_no_input_can_help_is_loud_and_leaves_nothing_running() -> None:
    with pytest.raises(OutputError, match="as the key asks"):
        done(("a", 2), ("full", 1), ("b", 2))
    assert done(("a", 2))["a"]["total"] == 11


def test_out_of_memory_halves_the_batch_until_it_fits() -> None:
    found = done(*((f"r{k}", 1) for k in range(8)), batch_size=8, model={"room": 3})
    assert {size for row in found.values() for size in row["sizes"]} == {2}
    assert all(row["total"] == 1 for row in found.values())


def test_an_item_too_large_by_itself_fails_its_row_only() -> None:
    found = done(("a", 1), ("b", 0), model={"room": 0})
    assert found["a"][FAILURE[1]] == "OOM"
    assert found["b"]["total"] == 0


def test_memory_may_run_out_without_a_word() -> None:
    def model(items: list[int]) -> list[int]:
        raise MemoryError

    [failure] = _answers(model, [1])
    assert (failure.code, failure.message) == ("OOM", "one input needs more memory than there is: no message")


def test_costs_are_told_and_add_up() -> None:
    found = done(("a", 2), ("b", 2), model={"seconds": 0.2}, batch_size=2)
    assert sum(row[GPU_COST] for row in found.values()) == pytest.approx(0.4, abs=0.1)
    assert all(0 <= row[COST] < 0.5 for row in found.values())


def test_a_consumer_that_stops_early_ends_the_threads() -> None:
    batches = fake_models.rows([inputs(*((f"r{k}", 1) for k in range(50)))], ENV, decode_s=0.01, batch_size=1)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert done(("a", 1))["a"]["total"] == 1


def test_what_waits_decoded_is_bounded() -> None:
    seen: list[float] = []

    def told() -> Any:
        for k in range(40):
            seen.append(time.monotonic())
            yield inputs((f"r{k}", 1))

    batches = fake_models.rows(told(), ENV, model={"seconds": 0.05}, batch_size=1)
    next(batches)
    assert len(seen) <= 8  # of 40: one asked, two queued, two with each of its two threads' turns


def test_decoding_and_the_model_overlap() -> None:
    """12 items: 0.1 s each to decode on two threads, 0.1 s a pair in the model: 0.6 s each, not 1.2 s together."""
    options: dict[str, Any] = {"decode_s": 0.1, "batch_size": 2, "resources": Resources(cpus=2)}
    done(("warm", 2), ("up", 2), model={"seconds": 0.3}, **options)  # both threads' processes are started
    spent = []
    for _ in range(3):  # the best of three: the machine may have other things to do
        started = time.monotonic()
        done(*((f"r{k}", 4) for k in range(12)), model={"seconds": 0.1}, **options)
        spent.append(time.monotonic() - started)
    longer = 12 * 4 * 0.1 / 2
    assert min(spent) <= 1.15 * longer


def test_one_model_a_process_however_many_tasks(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    for _ in range(3):
        done(("a", 1), model={"log": log})
    assert len([line for line in Path(log).read_text().splitlines() if line.startswith("load")]) == 1


def test_a_lost_gpu_ends_the_worker() -> None:
    code = """
from udfs.runtime.inference import _answers
def model(items):
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
_answers(model, [1])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == LOST_WORKER
    assert "CUDA error" in run.stderr


def test_a_gpu_out_of_memory_is_told_from_other_errors() -> None:
    torch = pytest.importorskip("torch")

    def model(items: list[int]) -> list[int]:
        if len(items) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return items

    assert _answers(model, [1, 2, 3]) == [1, 2, 3]
    with pytest.raises(RuntimeError, match="shape"):
        _answers(lambda items: (_ for _ in ()).throw(RuntimeError("shape mismatch")), [1])
