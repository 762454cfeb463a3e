"""CPU and wall seconds of whole process trees: of a command, and of the answers of a program that stays warm."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.support import reaper

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


@dataclass(frozen=True)
class Spent:
    """What work took: CPU seconds of all its processes, wall seconds, and memory in MB where it was sampled."""

    cpu_s: float
    wall_s: float
    peak_mb: float = 0.0  # of the command and its JVMs
    answer: Any = None  # what a program answered, or a command printed
    log: str = field(default="", compare=False, repr=False)  # what a command wrote to standard error

    def __str__(self) -> str:
        return f"{self.cpu_s:.2f} CPU s, {self.wall_s:.2f} s"


class CommandFailed(Exception):
    """A measured command ended with another status than 0."""


def run(command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Spent:
    """Run a command, and wait for all processes that it started.

    Raises:
        CommandFailed: it ends with another status than 0; the text ends with its last lines.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, log = Path(folder) / "report.json", Path(folder) / "log"
        with log.open("wb") as errors:
            ended = subprocess.run(
                _reaped(report, command),
                env=_environment(env),
                cwd=cwd or ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                check=False,
            )
        said = log.read_text(encoding="utf-8", errors="replace")
        if ended.returncode:
            raise CommandFailed(f"{' '.join(command)}: status {ended.returncode}: {said[-2000:]}")
        facts = json.loads(report.read_text(encoding="utf-8"))
    return Spent(facts["cpu_s"], facts["wall_s"], facts["peak_mb"], ended.stdout.decode(errors="replace"), said)


@dataclass(frozen=True)
class Program:
    """A program that answers requests as `tests/bench/serve.py` does: one as its argument, or one per line."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()

    def once(self, name: str, **arguments: Any) -> Spent:
        """Start the program for one request: what that took, and the answer."""
        spent = run([*self.command, _request(name, arguments)], dict(self.env))
        lines = str(spent.answer).splitlines()
        return Spent(spent.cpu_s, spent.wall_s, spent.peak_mb, json.loads(lines[-1]))

    @contextmanager
    def warm(self) -> Iterator[Callable[..., Spent]]:
        """Start the program; the function that asks it (name, arguments) and measures the answer."""
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            with (
                log.open("wb") as errors,
                subprocess.Popen(
                    _reaped(Path(folder) / "report.json", self.command),
                    env=_environment(dict(self.env)),
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                ) as process,
            ):
                while not reaper.descendants(process.pid) and process.poll() is None:
                    time.sleep(0.01)
                yield lambda name, **arguments: _ask(process, _request(name, arguments), log)
                assert process.stdin is not None
                process.stdin.close()
                process.wait()


def _ask(process: subprocess.Popen[bytes], request: str, log: Path) -> Spent:
    assert process.stdin is not None
    assert process.stdout is not None
    cpu_s, started = reaper.cpu_seconds(process.pid), time.monotonic()
    process.stdin.write(f"{request}\n".encode())
    process.stdin.flush()
    line = process.stdout.readline()
    wall_s = time.monotonic() - started
    if not line:
        raise CommandFailed(f"{request}: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
    return Spent(reaper.cpu_seconds(process.pid) - cpu_s, wall_s, answer=json.loads(line))


def _request(name: str, arguments: Mapping[str, Any]) -> str:
    return json.dumps({"call": name, "arguments": arguments})


def _reaped(report: Path, command: Sequence[str]) -> list[str]:
    return [sys.executable, "-S", "-E", reaper.__file__, str(report), *command]


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **(extra or {})}


def here(work: Callable[[], T]) -> Spent:
    """The CPU seconds of this process and of children that it waited for, while it does the work."""
    before, started = os.times(), time.monotonic()
    answer = work()
    after, wall_s = os.times(), time.monotonic() - started
    return Spent(sum(after[:4]) - sum(before[:4]), wall_s, answer=answer)


def interleaved(contenders: Mapping[str, Callable[[], Spent]], rounds: int) -> dict[str, list[Spent]]:
    """Run the contenders in turn (A B A B ...), so that what else the machine does meets all of them."""
    results: dict[str, list[Spent]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            results[name].append(work())
    return results


def median(results: Sequence[Spent]) -> Spent:
    """The medians of CPU and wall seconds, and the greatest memory."""
    return Spent(
        statistics.median(spent.cpu_s for spent in results),
        statistics.median(spent.wall_s for spent in results),
        max(spent.peak_mb for spent in results),
        results[0].answer,
    )


def compared(contenders: Mapping[str, Callable[[], Spent]], rounds: int, *, warm_up: bool = True) -> dict[str, Spent]:
    """The medians of contenders that ran in turn, after a check that all gave the same answer.

    The check is of the first round, which is not timed; without `warm_up`, for programs that are
    started in each round, it is one of the rounds.

    Raises:
        AssertionError: two answers differ.
    """
    results = interleaved(contenders, 1)
    answers = {name: result.answer for name, (result,) in results.items()}
    first, *others = answers
    for other in others:
        assert answers[other] == answers[first], f"{other} and {first} answer differently"
    timed = interleaved(contenders, rounds if warm_up else rounds - 1)
    return {name: median(timed[name] if warm_up else results[name] + timed[name]) for name in contenders}
