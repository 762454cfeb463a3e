"""What an operator meets: no name, no disk, no descriptors: one line, and nothing half-written."""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import cli
from jobs.config.arguments import OutputOptions
from tests.support import small_output
from tests.support.footage import write_numbered
from tests.support.outputs import has_clips, table

ROOT = Path(__file__).resolve().parents[2]
MORE = {
    "curate": ["--manifest", "."],
    "ingest": ["--manifest", "."],
    "export": ["--to", "x", "--format", "parquet"],
    "search": ["--text", "x"],
    "why": ["x"],
    "sql": ["select 1"],
    "takedown": ["/a.mp4"],
    "compare": ["--other", "x"],
}
ON_OUTPUTS = [job for job in cli.JOBS if issubclass(importlib.import_module(f"jobs.{job}").Options, OutputOptions)]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output of literal rows."""
    return small_output.write(tmp_path / "output")


def run(
    *words: str, limits: dict[int, int] | None = None, stdout: str | None = None, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """A command as a user starts it, with limits of its own."""

    def limit() -> None:
        for kind, value in (limits or {}).items():
            resource.setrlimit(kind, (value, value))

    with open(stdout or os.devnull, "w", encoding="utf-8") as out:
        return subprocess.run(
            [*prefix, sys.executable, "-m", "jobs", *words],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            preexec_fn=limit,
        )


def files(folder: Path) -> dict[str, int]:
    """Every file below a folder with its size."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("job", ON_OUTPUTS)
@pytest.mark.parametrize("name", ["", " "])
def test_an_output_without_a_name_is_one_line(
    job: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    assert cli.main([job, *MORE.get(job, []), f"--output={name}"]) == 2
    assert capsys.readouterr().err == "reelmill: --output: an empty name\n"


@pytest.mark.parametrize("place", ["/dev/full/out", "/proc/out"])
def test_an_output_that_cannot_be_made_is_one_line(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    assert cli.main(["curate", "--manifest", str(tmp_path), "--output", place]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"reelmill: {place} cannot be written to: ")
    assert said.endswith("; once that is mended, the same command goes on\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", [("sql", "select * from range(100000)"), ("status",), ("failures",)])
def test_a_full_disk_behind_standard_output_is_one_line(words: tuple[str, ...], output: Path) -> None:
    done = run(words[0], "-o", str(output), *words[1:], stdout="/dev/full")
    assert (done.returncode, done.stderr) == (1, "reelmill: what is printed: No space left on device\n")


def test_a_page_that_a_full_disk_cuts_off_leaves_nothing(output: Path) -> None:
    before = files(output)
    done = run("report", "-o", str(output), limits={resource.RLIMIT_FSIZE: 4096})
    assert (done.returncode, done.stderr) == (2, f"reelmill: --to {output}/report.html: File too large\n")
    assert files(output) == before


def test_few_descriptors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    words = ("curate", "--manifest", str(tmp_path), "--output", str(tmp_path / "out"))
    done = run(*words, limits={resource.RLIMIT_NOFILE: 64})
    line = "reelmill: only 64 files may be open here, and Spark needs 512: raise `ulimit -n`\n"
    assert (done.returncode, done.stderr) == (1, line)
    assert [*files(tmp_path / "out")] == [".lock"]


# A shell that mounts a file system of its own, which ends with it, on a folder.
MOUNTED = 'mount -t tmpfs -o size="$1",mode=777 tmpfs "$0" && cd "$0" && shift && exec "$@"'


def mounting(folder: Path, size: str) -> tuple[str, ...]:
    """The command before a command that gives it a small disk; skips where that is not allowed."""
    prefix = ("unshare", "-rm", "sh", "-c", MOUNTED, str(folder), size)
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    return prefix


@pytest.mark.kill
def test_a_run_on_a_full_disk_is_one_line_without_a_trace(tmp_path: Path) -> None:
    videos, place = tmp_path / "videos", tmp_path / "disk"
    place.mkdir()
    videos.mkdir()
    write_numbered(videos / "a.mp4", 300, size=(640, 480))
    words = ("curate", "--manifest", str(videos), "--output", str(place / "out"), "--set", "split.clip_len_s=2")
    done = run(*words, prefix=mounting(place, "300k"))
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "No space left on device" in last
    assert last.endswith("; once that is mended, the same command goes on")
    assert "Traceback" not in done.stderr
    assert "\tat " not in done.stderr


@pytest.mark.kill
def test_an_output_that_goes_away_is_one_line_and_the_same_command_starts_over(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for i in range(4):
        write_numbered(videos / f"{i}.mp4", 300, size=(640, 480), first=300 * i)
    words = ["curate", "--manifest", str(videos), "--output", str(out), "--set", "split.clip_len_s=2"]
    command = [sys.executable, "-m", "jobs", *words]
    begun = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)
    while begun.poll() is None and not has_clips(out / "media"):
        time.sleep(0.02)
    out.rename(tmp_path / "away")
    _, said = begun.communicate(timeout=300)
    assert begun.returncode == 1, said
    assert "once that is mended, the same command goes on" in said.splitlines()[-1]
    assert "\tat " not in said
    shutil.rmtree(out, ignore_errors=True)
    (tmp_path / "away").rename(out)
    assert run(*words).returncode == 0
    assert len(table(out, "clips")) == 20
