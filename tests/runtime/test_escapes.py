"""The jail: what a taken-over decoding process tries is refused, and what decoding needs is not."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import escapes
from udfs.core import jail, wire
from udfs.core.errors import MediaError, OutputError
from udfs.core.limits import Limits
from udfs.runtime import sandbox
from udfs.runtime.context import Env
from udfs.runtime.sandbox import Needs, StartError

pytestmark = pytest.mark.skipif(bool(jail.missing()), reason=f"this machine lacks {jail.missing()}")
MEMORY_MB, DISK_MB = 512, 64
SECRET = "AWS_SECRET_ACCESS_KEY"


@pytest.fixture(scope="module", autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    sandbox.stop()


def call(function: Callable[..., Any], *args: Any, timeout_s: float = 30, **more: Any) -> Any:
    return sandbox.call(function, *args, timeout_s=timeout_s, memory_mb=MEMORY_MB, disk_mb=DISK_MB, **more)


def is_refused(function: Callable[..., Any], *args: Any) -> bool:
    """Whether the jail stops a function that runs without one."""
    try:
        call(function, *args)
    except PermissionError:
        call(function, *args, jail="off")
        return True
    return False


def test_76_the_environment_holds_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.stop()
    monkeypatch.setenv(SECRET, "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    known = call(escapes.environment)
    assert "secret" not in known.values()
    assert known["LANG"] == "C.UTF-8"
    assert call(escapes.environment, jail="off")[SECRET] == "secret"
    assert is_refused(escapes.parents_environment)


def test_76_it_connects_to_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"), daemon=True).start()
        assert is_refused(escapes.connect, server.getsockname()[1])


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_it_opens_no_socket(family: int) -> None:
    assert is_refused(escapes.look_up, int(family))


def test_76_it_writes_nowhere_but_in_its_own_folder(tmp_path: Path) -> None:
    assert is_refused(escapes.write, str(tmp_path / "elsewhere"))
    assert call(escapes.own_file) == "own"


def test_76_it_reads_no_file_that_the_call_does_not_name(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.write_text("private")
    assert is_refused(escapes.read, str(path))
    with pytest.raises(PermissionError, match="may not read it"):
        call(escapes.ask_for, [str(path)])


def test_it_changes_no_modes_and_sees_no_processes(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.touch(0o600)
    assert is_refused(escapes.change_mode, str(path))
    assert path.stat().st_mode & 0o777 == 0o644  # by the call without a jail
    assert is_refused(escapes.listing, "/proc")
    assert is_refused(escapes.listing, str(Path.home()))


def test_76_it_opens_no_memory_of_its_parent() -> None:
    word = ctypes.create_string_buffer(b"word")
    assert is_refused(escapes.parents_memory)
    assert is_refused(escapes.trace_parent)
    assert is_refused(escapes.copy_from_parent, ctypes.addressof(word))


@pytest.mark.parametrize("how", [escapes.signal_parent, escapes.signal_by_descriptor, escapes.limit_parent])
def test_76_it_signals_no_other_process(how: Callable[[], None]) -> None:
    assert is_refused(how)


def test_76_it_starts_no_shell() -> None:
    assert is_refused(escapes.run, "/bin/sh", "-c", "echo taken over")


@pytest.mark.parametrize("how", [escapes.fork, escapes.outlive_parent])
def test_76_it_does_not_fork_and_stay(how: Callable[[], None]) -> None:
    assert is_refused(how)


def test_it_stays_in_its_session_and_types_into_no_terminal() -> None:
    for how in (escapes.leave_session, escapes.type_into_terminal):
        with pytest.raises(PermissionError):
            call(how)


def test_76_it_does_not_fill_the_disk() -> None:
    assert call(escapes.write_file, DISK_MB - 1) == DISK_MB - 1 << 20
    with pytest.raises(MediaError, match=f"TOO_LARGE: more than {DISK_MB} MB of files, over limits.disk_mb"):
        call(escapes.write_file, DISK_MB + 1)
    with pytest.raises(MediaError, match="TOO_LARGE"):
        call(escapes.write_files, DISK_MB + 16, 20)
    assert call(escapes.write_files, DISK_MB - 16, 1.5) == DISK_MB - 16


@pytest.mark.parametrize("how", [escapes.shared_memory, escapes.private_memory])
def test_76_memory_by_maps_is_limited_as_well(how: Callable[[int], int]) -> None:
    with pytest.raises(MediaError, match=f"OOM: more than {MEMORY_MB} MB"):
        call(how, MEMORY_MB + 200)
    assert call(escapes.private_memory, 200) == 200 << 20


def test_it_makes_no_files_in_memory() -> None:
    with pytest.raises(PermissionError):
        call(escapes.file_in_memory, 1)


@pytest.mark.parametrize("how", [escapes.answer_with_code, escapes.answer_with_pickle_bytes])
def test_76_code_in_an_answer_does_not_run(how: Callable[[str], object], tmp_path: Path) -> None:
    made = tmp_path / "made"
    if how is escapes.answer_with_code:
        with pytest.raises(MediaError, match="CRASH: the decoding process answers with what is no answer"):
            call(how, str(made))
    else:
        assert isinstance(call(how, str(made)), bytes)
    assert not made.exists()


def test_76_half_an_answer_ends_at_the_deadline() -> None:
    before, started = call(os.getpid), time.monotonic()
    with pytest.raises(MediaError, match="TIMEOUT: no progress for 1 s"):
        call(escapes.answer_half, 60, timeout_s=1)
    assert time.monotonic() - started < 5
    assert not Path(f"/proc/{before}").exists()


def test_76_an_answer_that_comes_byte_by_byte_ends_at_the_deadline() -> None:
    before = call(os.getpid)
    with pytest.raises(MediaError, match="TIMEOUT: not done after 2 s"):
        call(escapes.answer_slowly, 0.05, total_s=2)
    assert not Path(f"/proc/{before}").exists()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (wire.HEAD.pack(wire.RESULT, 10, 1 << 40), b""),
        (wire.HEAD.pack(wire.RESULT, wire.MAX_JSON + 1, 0), b""),
        (wire.HEAD.pack(wire.RESULT, 4, 0), b"null"),
        (wire.HEAD.pack(wire.RESULT, 200_000, 0), b"[" * 200_000),
        (wire.HEAD.pack(wire.ERROR, 7, 0), b"[{},[]]"),
        (wire.HEAD.pack(wire.RESULT, 40, 0), b'[{"$":["array","O",[1],0]},[8]]'.ljust(40)),
    ],
)
def test_what_is_no_answer_is_a_crash(head: bytes, body: bytes) -> None:
    with pytest.raises(MediaError, match="CRASH: the decoding process answers with what is no answer"):
        call(escapes.answer_with, head, body, timeout_s=5)
    assert call(abs, -1) == 1


def test_an_answer_names_no_file_that_the_call_did_not(tmp_path: Path) -> None:
    assert call(escapes.claim, "/a.mp4", ["/a.mp4"])[0]["uri"] == "/a.mp4"
    with pytest.raises(MediaError, match="CRASH: the decoding process answers with a uri that it did not write"):
        call(escapes.claim, "/a.mp4", ["/etc/passwd"])


def test_what_it_hands_over_is_a_file_of_its_row(tmp_path: Path) -> None:
    env = Env(str(tmp_path), "f").with_media()
    uri = f"{tmp_path}/clips/ab/abc-f.mp4"
    call(escapes.put_file, {"clip_id": "abc"}, [uri], env)
    assert Path(uri).read_text() == "made"
    for other in (f"{tmp_path}/clips/de/def-f.mp4", f"{tmp_path}/abc/../x", "/tmp/abc.mp4", f"{tmp_path}-abc/abc"):
        with pytest.raises(PermissionError, match="may not write it"):
            call(escapes.put_file, {"clip_id": "abc"}, [other], env)
    with pytest.raises(PermissionError, match="no file, and no folder of files"):
        call(put_link, {"clip_id": "abc"}, "/etc/passwd", [uri], env)
    assert Path(uri).read_text() == "made"


def put_link(row: object, target: str, uri: list[str], env: object) -> None:
    escapes.put_link(target, uri)


def test_the_first_version_of_landlock_lets_it_hand_over_what_it_has_made(tmp_path: Path) -> None:
    uri = f"{tmp_path}/clips/ab/abc-f.mp4"
    sandbox.stop()
    call(escapes.put_file_on_an_old_kernel, {"clip_id": "abc"}, [uri], Env(str(tmp_path), "f").with_media())
    assert Path(uri).read_text() == "made"
    sandbox.stop()  # the rules of both versions stay


def test_no_version_lets_it_move_a_file_to_another_folder() -> None:
    with pytest.raises(OSError, match="Invalid cross-device link"):
        call(escapes.move_to_another_folder)


def test_a_child_whose_folder_is_gone_is_replaced_and_its_folder_goes_with_it(tmp_path: Path) -> None:
    env, unfinished = Env(str(tmp_path), "f").with_media(), tmp_path / ".writing"
    row, uri = {"clip_id": "abc"}, f"{tmp_path}/abc"
    for _ in range(2):
        call(escapes.put_file, row, [uri], env)
        shutil.rmtree(unfinished)
    call(escapes.put_file, row, [uri], env)
    assert len([*unfinished.iterdir()]) == 1
    assert call(abs, -1) == 1  # by the same child, which may have any folder
    assert len([*unfinished.iterdir()]) == 1
    sandbox.stop()
    assert [*unfinished.iterdir()] == []


def test_it_has_no_privileges_and_gets_none() -> None:
    no_new, filtered, *held = call(escapes.status, "NoNewPrivs", "Seccomp", "CapEff", "CapPrm", "CapInh")
    assert (no_new, filtered) == ("1", "2")
    assert all(int(each, 16) & ~jail.OF_OTHERS == 0 for each in held)


def test_its_files_and_cpu_seconds_are_limited() -> None:
    cpu_s = 2 * 1000 * (os.cpu_count() or 1)
    assert call(escapes.limits, total_s=1000) == [jail.OWN_FILES, cpu_s, DISK_MB << 20]
    with pytest.raises(OutputError, match="Too many open files"):
        call(escapes.open_many, jail.OWN_FILES + 1)


def test_it_holds_no_files_but_its_socket_its_heartbeats_and_the_output_for_messages() -> None:
    sandbox.stop()
    stderr = os.readlink("/proc/self/fd/2")
    held = {re.sub(r":\[\d+\]", "", name) for name in call(escapes.open_files)} - {stderr, "/dev/null"}
    assert {name for name in held if not name.startswith(("/proc/", "pipe", "/tmp/"))} == {
        "socket",
        "/memfd:reelmill-beats (deleted)",
    }


def test_threads_run_in_the_jail() -> None:
    assert call(escapes.in_threads, 8) == 8


def test_one_program_runs_where_a_stage_needs_it_in_the_same_jail(tmp_path: Path) -> None:
    program, private = str(Path("/bin/cat").resolve()), tmp_path / "private"
    private.write_text("private")
    needs = Needs(program=program)
    assert call(escapes.run, program, "/proc/cpuinfo", needs=needs)
    assert call(escapes.run, program, str(private), jail="off") == "private"
    with pytest.raises(Exception, match="returned non-zero exit status 1"):
        call(escapes.run, program, str(private), needs=needs)
    with pytest.raises(PermissionError):
        call(escapes.run, "/bin/sh", "-c", "true", needs=needs)


@pytest.mark.parametrize("needs", [Needs(gpu=True), Needs(own_code=True)])
def test_a_required_jail_refuses_what_has_none(needs: Needs) -> None:
    with pytest.raises(StartError, match=r"limits\.jail is require, but .* not jailed: set it to auto"):
        call(abs, -1, needs=needs, jail="require")
    assert call(abs, -1, needs=needs) == 1
    assert call(abs, -1, jail="require") == 1


def test_a_machine_that_lacks_it_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    jail.missing.cache_clear()
    sandbox._check_jail.cache_clear()
    try:
        for _ in range(2):
            sandbox.stop()
            assert call(abs, -1) == 1
        assert [r.message for r in caplog.records] == [
            "the decoding process is not fully jailed: this machine lacks Linux on riscv64 (docs/security.md)"
        ]
        sandbox.stop()
        with pytest.raises(StartError, match="this machine lacks Linux on riscv64"):
            call(abs, -1, jail="require")
    finally:
        jail.missing.cache_clear()
        sandbox._check_jail.cache_clear()


def test_the_setting_reaches_the_call() -> None:
    assert sandbox.bounds(Limits(jail="require", disk_mb=7))["jail"] == "require"
    assert sandbox.bounds(Limits(disk_mb=7))["disk_mb"] == 7
