"""What a taken-over decoder would try: each function does it where it runs, and raises where it is stopped."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import pickle
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from udfs.core import jail, wire
from udfs.storage import parent_files
from udfs.video import encoder_options

PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
PR_SET_PDEATHSIG = 1
TIOCSTI = 0x5412
_libc = ctypes.CDLL(None, use_errno=True)


class Run:
    """A value that runs code when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def environment() -> dict[str, str]:
    """The variables that this process was started with."""
    return dict(os.environ)


def parents_environment() -> int:
    """Read the environment of the parent."""
    return len(Path(f"/proc/{os.getppid()}/environ").read_bytes())


def connect(port: int) -> str:
    """Connect to a server on this machine."""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        return sock.recv(5).decode()


def look_up(family: int) -> int:
    """Open a socket of a family."""
    with socket.socket(family) as sock:
        return sock.fileno()


def write(path: str) -> int:
    """Write a file."""
    return Path(path).write_text("taken over")


def read(path: str) -> str:
    """Read a file without asking the parent."""
    return Path(path).read_text()


def ask_for(path: str) -> bytes:
    """Read a file that the parent opens; `path` is in a list, which names nothing to the parent."""
    with parent_files.open_file(path[0]) as file:
        return file.read()


def listing(path: str) -> list[str]:
    """List a folder."""
    return os.listdir(path)


def change_mode(path: str) -> int:
    """Make a file readable for all."""
    os.chmod(path, 0o644)
    return os.stat(path).st_mode & 0o777


def parents_memory() -> int:
    """Open the parent's memory."""
    with open(f"/proc/{os.getppid()}/mem", "rb") as file:
        return file.fileno()


def trace_parent() -> int:
    """Attach to the parent as a debugger does."""
    _checked(_libc.ptrace(PTRACE_SEIZE, os.getppid(), None, None))
    return int(_libc.ptrace(PTRACE_DETACH, os.getppid(), None, None))


def copy_from_parent(address: int) -> bytes:
    """Copy four bytes out of the parent's memory."""
    buffer = ctypes.create_string_buffer(4)
    own = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 4)
    other = (ctypes.c_size_t * 2)(address, 4)
    _checked(_libc.process_vm_readv(os.getppid(), own, 1, other, 1, 0))
    return buffer.raw


def signal_parent() -> None:
    """Send the parent a signal that does nothing."""
    os.kill(os.getppid(), 0)


def signal_by_descriptor() -> None:
    """The same, by a descriptor of the process."""
    signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)


def limit_parent() -> object:
    """Change a limit of the parent to what it is."""
    return resource.prlimit(os.getppid(), resource.RLIMIT_CORE, resource.prlimit(os.getppid(), resource.RLIMIT_CORE))


def run(*command: str) -> str:
    """Start a program; what it prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def fork() -> int:
    """Start a process that stays."""
    if (pid := os.fork()) == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[0]


def leave_session() -> None:
    """Leave the session of the parent."""
    os.setsid()


def outlive_parent() -> None:
    """Undo that the process ends with its parent."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0))


def type_into_terminal() -> None:
    """Type into the terminal of whoever runs the job."""
    fcntl.ioctl(2, TIOCSTI, b"x")


def shared_memory(megabytes: int) -> int:
    """Take memory that limits on data do not count."""
    with mmap.mmap(-1, megabytes << 20) as memory:
        return touched(memory)


def private_memory(megabytes: int) -> int:
    """Take memory by a mapping of one's own."""
    with mmap.mmap(-1, megabytes << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        return touched(memory)


def file_in_memory(megabytes: int) -> int:
    """Take memory as a file without a name."""
    handle = os.memfd_create("memory")
    os.truncate(handle, megabytes << 20)
    return handle


def touched(memory: mmap.mmap) -> int:
    """Touch every page of a mapping."""
    for at in range(0, len(memory), mmap.PAGESIZE):
        memory[at] = 1
    return len(memory)


def write_file(megabytes: int) -> int:
    """Write one file to the process's own folder."""
    with tempfile.TemporaryFile() as file:
        for _ in range(megabytes):
            file.write(bytes(1 << 20))
        return file.tell()


def write_files(megabytes: int, seconds: float) -> int:
    """Write files of 1 MiB to the process's own folder, and wait."""
    folder = tempfile.mkdtemp()
    for number in range(megabytes):
        Path(folder, str(number)).write_bytes(bytes(1 << 20))
    time.sleep(seconds)
    shutil.rmtree(folder)
    return megabytes


def open_many(number: int) -> int:
    """Open a file many times."""
    return len([os.open(__file__, os.O_RDONLY) for _ in range(number)])


def answer_with_code(path: str) -> None:
    """Answer with a pickle that makes a file, in place of an answer, and in an answer."""
    code = pickle.dumps((Run(path), None))
    _raw(wire.HEAD.pack(wire.RESULT, len(code), 0) + code)


def answer_with_pickle_bytes(path: str) -> bytes:
    """Such a pickle as the value of an answer."""
    return pickle.dumps(Run(path))


def answer_half(seconds: float) -> None:
    """Send half an answer, and nothing more."""
    _raw(wire.HEAD.pack(wire.RESULT, 100, 0) + b"[" * 50)
    time.sleep(seconds)


def answer_slowly(pause_s: float) -> None:
    """Send an answer byte by byte, for ever."""
    _raw(wire.HEAD.pack(wire.RESULT, wire.MAX_JSON, 0))
    while True:
        _raw(b" ")
        time.sleep(pause_s)


def answer_with(head: bytes, body: bytes) -> None:
    """Send these bytes as an answer."""
    _raw(head + body)
    time.sleep(60)


def claim(uri: str, words: list[str]) -> list[dict[str, str]]:
    """Answer with a row that names another file."""
    return [{"clip_id": "a", "uri": words[0]}]


def status(*names: str) -> list[str]:
    """What the kernel says of this process."""
    lines = (line.partition(":") for line in Path("/proc/self/status").read_text().splitlines())
    found = {name: value.strip() for name, _, value in lines}
    return [found[name] for name in names]


def limits() -> list[int]:
    """This process's limits on open files, CPU seconds and the size of a file."""
    return [
        resource.getrlimit(each)[1] for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)
    ]


def open_files() -> list[str]:
    """What the files are that this process has open."""
    handles = [int(name) for name in os.listdir("/proc/self/fd")]
    return [os.readlink(f"/proc/self/fd/{handle}") for handle in handles if os.path.exists(f"/proc/self/fd/{handle}")]


def in_threads(number: int) -> int:
    """Work in threads, which decoders do."""
    done: list[int] = []
    threads = [threading.Thread(target=done.append, args=(each,)) for each in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done)


def own_file() -> str:
    """Write a file to the process's own folder, rename it and read it."""
    folder = Path(tempfile.mkdtemp())
    (folder / "a").write_text("own")
    (folder / "a").rename(folder / "b")
    text = (folder / "b").read_text()
    shutil.rmtree(folder)
    return text


def move_to_another_folder() -> None:
    """Move a file from one folder of the process's own to another."""
    path = Path(tempfile.mkdtemp(), "file")
    path.touch()
    path.rename(Path(tempfile.mkdtemp(), "file"))


def put_link(target: str, uri: list[str]) -> None:
    """Hand a link to the parent as a finished file."""
    path = Path(tempfile.mkdtemp(), "link")
    path.symlink_to(target)
    parent_files.put(str(path), uri[0])


def put_file(row: dict[str, str], uri: list[str], env: object) -> None:
    """Hand a file to the parent for a place."""
    path = Path(tempfile.mkdtemp(), "file")
    path.write_text("made")
    parent_files.put(str(path), uri[0])


def put_file_on_an_old_kernel(row: dict[str, str], uri: list[str], env: object) -> None:
    """The same by the rules of the first version of Landlock, on top of those of the present one."""
    jail._restrict_files(jail.Rules((), (), parent_files._folder), 1)
    put_file(row, uri, env)


def encode_for_ever(name: str, params: encoder_options.Params) -> None:
    """Start an encoding program that waits for its input."""
    source = os.path.join(tempfile.gettempdir(), name)
    os.mkfifo(source)
    encoder_options.encode_file(source, f"{source}.mp4", params, None, 1000)


def _raw(data: bytes) -> None:
    assert parent_files._socket is not None
    parent_files._socket.sendall(data)


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
