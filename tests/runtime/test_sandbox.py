"""The sandbox: one child answers many calls; its crash, hang or memory use harms no other process."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from tests.support import sandbox_calls
from udfs.core.errors import MediaError
from udfs.runtime import sandbox


def call(
    function: Callable[..., Any], *args: Any, timeout_s: float = 30, memory_mb: int = 512, total_s: float = math.inf
) -> Any:
    return sandbox.call(function, *args, timeout_s=timeout_s, memory_mb=memory_mb, total_s=total_s)


def test_the_child_is_kept_from_call_to_call() -> None:
    assert call(os.getpid) == call(os.getpid) != os.getpid()


def test_the_child_is_replaced_after_so_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.stop()
    monkeypatch.setattr(sandbox, "RECYCLE_AFTER", 3)
    pids = [call(os.getpid) for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_another_memory_limit_needs_another_child() -> None:
    assert call(os.getpid, memory_mb=512) != call(os.getpid, memory_mb=600)


def test_31_a_crash_is_named_and_the_next_call_is_served() -> None:
    with pytest.raises(MediaError, match="CRASH: the decoding process died: SIGSEGV"):
        call(sandbox_calls.die, signal.SIGSEGV)
    assert call(abs, -1) == 1


def test_32_a_hang_that_holds_the_gil_is_ended_in_time() -> None:
    before, started = call(os.getpid), time.monotonic()
    with pytest.raises(MediaError, match="TIMEOUT: no progress for 1 s"):
        call(sandbox_calls.hold_the_gil, timeout_s=1)
    assert time.monotonic() - started < 3
    assert not Path(f"/proc/{before}").exists()
    assert call(os.getpid) != before


def test_84_slow_work_that_gets_on_is_left_alone_and_what_gets_on_for_ever_is_not() -> None:
    call(sandbox_calls.imported_modules)  # a busy machine may import for longer than the call below may wait
    assert call(sandbox_calls.beat_for, 3.0, timeout_s=1.5) == "done"
    with pytest.raises(MediaError, match="TIMEOUT: not done after 2 s"):
        call(sandbox_calls.beat_for, 60.0, timeout_s=30, total_s=2)


STOPPED = """
from tests.support import sandbox_calls
from udfs.runtime import sandbox

sandbox.call(sandbox_calls.write_pid_and_sleep, {path!r}, 2, timeout_s=4, memory_mb=512, jail="off")
"""


@pytest.mark.kill
def test_the_time_for_which_all_of_it_is_stopped_does_not_count(tmp_path: Path) -> None:
    """As by Ctrl-Z, `docker pause` or a machine that is moved: no input is given up for that."""
    code = STOPPED.format(path=str(tmp_path / "pid"))
    run = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "pid").exists)
    for number, pause_s in ((signal.SIGSTOP, 6.0), (signal.SIGCONT, 0.0)):
        os.killpg(run.pid, number)
        time.sleep(pause_s)
    _, told = run.communicate(timeout=30)
    assert run.returncode == 0, told


def test_74_a_child_that_is_killed_as_it_starts_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.stop()
    starts, popen = [], subprocess.Popen

    def killed_twice(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        starts.append(command)
        if len(starts) < 3:  # by itself, so that it cannot be ready before
            command = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
        return popen(command, **options)

    monkeypatch.setattr(sandbox, "START_PAUSE_S", 0.01)
    monkeypatch.setattr(subprocess, "Popen", killed_twice)
    assert call(abs, -1) == 1
    assert len(starts) == 3


def test_74_a_machine_on_which_none_starts_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.stop()
    monkeypatch.setattr(sandbox, "START_PAUSE_S", 0.01)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(sandbox.StartError, match="does not start, at the last of 4 attempts: exit 1"):
        call(abs, -1)


def test_33_memory_over_the_limit_is_oom() -> None:
    with pytest.raises(MediaError, match="OOM: more than 512 MB"):
        call(sandbox_calls.allocate, 600)
    assert call(sandbox_calls.allocate, 300) == 300 << 20


def test_33_the_kernels_memory_killer_is_oom() -> None:
    with pytest.raises(MediaError, match="OOM: the decoding process was killed, twice"):
        call(sandbox_calls.die, signal.SIGKILL)


def test_a_child_that_is_killed_once_is_called_again() -> None:
    first = call(os.getpid)
    threading.Timer(0.2, os.kill, (first, signal.SIGKILL)).start()
    assert call(time.sleep, 1) is None
    assert call(os.getpid) != first


def test_a_child_that_died_idle_is_no_fault_of_the_next_call() -> None:
    before = call(os.getpid)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: ") Z " in Path(f"/proc/{before}/stat").read_text())
    assert call(abs, -1) == 1


def test_code_that_ends_its_process_is_a_bug_and_no_crash() -> None:
    with pytest.raises(RuntimeError, match="SystemExit: no license"):
        call(sandbox_calls.leave)


def test_a_bug_stays_loud_and_tells_where_it_was() -> None:
    with pytest.raises(KeyError, match="no such column") as raised:
        call(sandbox_calls.raise_bug)
    assert "in raise_bug" in raised.value.__notes__[0]


def test_a_refusal_keeps_its_code() -> None:
    with pytest.raises(MediaError) as raised:
        call(sandbox_calls.raise_media_error)
    assert (raised.value.code, raised.value.message) == ("CORRUPT", "as ordered")


def test_every_thread_has_its_own_child() -> None:
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(call(os.getpid))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*pids, call(os.getpid)}) == 3


def test_what_a_child_prints_is_kept_out_of_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    sandbox.stop()  # a child started now writes to what is captured
    call(sandbox_calls.print_twice, "noise")
    sandbox.stop()
    assert "noise" not in capfd.readouterr().out


def test_the_childs_main_is_not_the_parents() -> None:
    assert not {"pytest", "pyspark"} & set(call(sandbox_calls.imported_modules))


@pytest.mark.spark
def test_in_a_spark_worker_the_child_imports_no_pyspark(spark: SparkSession) -> None:
    def rows(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            yield pd.DataFrame({"loaded": sandbox_calls.has_pyspark(batch)})

    loaded = spark.range(2, numPartitions=1).mapInPandas(rows, "loaded boolean").collect()
    assert [row["loaded"] for row in loaded] == [False, False]


def wait_for(condition: Callable[[], bool], at_most_s: float = 20) -> None:
    deadline = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
