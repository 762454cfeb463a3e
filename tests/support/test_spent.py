"""Measured seconds: of processes that lost their parent, of a warm program, and in turn."""

from __future__ import annotations

import os
import sys
from functools import partial

import pytest

from tests.support import reaper, spent
from tests.support.spent import CommandFailed, Program, Spent

BUSY = "import time\nend = time.process_time() + {s}\nwhile time.process_time() < end: pass\n"
# Burns CPU time in a child, which counts for whoever waits for it.
BURN = f"""
import subprocess, sys
from tests.bench.serve import serve

def burn(s):
    subprocess.run([sys.executable, "-c", {BUSY!r}.format(s=s)])
    print("noise")
    return s

serve({{"burn": burn}})
"""


def test_a_process_that_lost_its_parent_counts() -> None:
    busy = BUSY.format(s=0.4)
    orphan = f"import os, subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {busy!r}])\nos._exit(0)"
    command = [sys.executable, "-c", f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {orphan!r}])"]
    assert 0.4 <= spent.run(command).cpu_s < 3


def test_a_process_for_which_its_parent_does_not_wait_counts() -> None:
    if not any((group / "cgroup.procs").exists() and os.access(group, os.W_OK) for group in reaper.GROUPS):
        pytest.skip("no control group can be made here")
    careless = "import signal, subprocess, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    command = f"{careless}subprocess.run([sys.executable, '-c', {BUSY.format(s=0.4)!r}])"
    assert 0.4 <= spent.run([sys.executable, "-c", command]).cpu_s < 3


def test_the_output_and_the_memory_of_a_command_are_reported() -> None:
    result = spent.run([sys.executable, "-c", "import time; x = bytearray(2**27); time.sleep(0.5); print(len(x))"])
    assert result.answer == "134217728\n"
    assert 128 < result.peak_mb < 400
    assert result.wall_s >= 0.5


def test_a_command_that_fails_raises_with_its_last_words() -> None:
    with pytest.raises(CommandFailed, match=r"status 3: .*the end"):
        spent.run([sys.executable, "-c", "import sys; print('the end', file=sys.stderr); sys.exit(3)"])


def test_each_answer_of_a_warm_program_has_its_own_seconds() -> None:
    with Program((sys.executable, "-c", BURN)).warm() as ask:
        assert ask("burn", s=0.3).cpu_s == pytest.approx(0.35, abs=0.25)
        short = ask("burn", s=0.0)
    assert short.answer == 0.0
    assert short.cpu_s < 0.3


def test_a_program_answers_one_request_and_ends() -> None:
    result = Program((sys.executable, "-c", BURN)).once("burn", s=0.1)
    assert result.answer == 0.1
    assert result.cpu_s >= 0.1


def test_contenders_run_in_turn() -> None:
    order = list[str]()

    def work(name: str) -> Spent:
        order.append(name)
        return Spent(1, 1)

    contenders = {name: partial(work, name) for name in "ab"}
    assert spent.interleaved(contenders, 2) == {"a": [Spent(1, 1)] * 2, "b": [Spent(1, 1)] * 2}
    assert order == ["a", "b", "a", "b"]


def test_answers_must_be_equal_before_anything_is_timed() -> None:
    calls = {"a": lambda: Spent(1, 1, answer=7), "b": lambda: Spent(1, 1, answer=8)}
    with pytest.raises(AssertionError, match="b and a answer differently"):
        spent.compared(calls, 1)


@pytest.mark.parametrize(("warm_up", "median"), [(True, Spent(2, 2)), (False, Spent(3, 3))])
def test_the_first_round_counts_where_each_is_started(warm_up: bool, median: Spent) -> None:
    took = iter([9, 1, 3])
    calls = {"a": lambda: Spent(seconds := next(took), seconds)}
    assert spent.compared(calls, 2 if warm_up else 3, warm_up=warm_up) == {"a": median}


def test_the_median_is_of_each_number_for_itself() -> None:
    assert spent.median([Spent(1, 9), Spent(2, 7, 50.0), Spent(9, 8)]) == Spent(2, 8, 50.0)
