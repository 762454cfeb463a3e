"""The jail of the decoding process: Landlock, a seccomp filter and limits, which the process puts on itself.

Sources: Documentation/userspace-api/landlock.rst and seccomp_filter.rst of Linux, and its tables
of system calls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from udfs.core.own_code import CODE, MODULE

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446  # on every processor
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER = 1 << 13  # to move a file to another folder: given to none, as the first version always refuses it
READ = READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14  # the rights that a single file can have; 14: to truncate
NUM_RIGHTS = (0, 13, 14, 15, 15, 16)  # of files, by Landlock's version; the last number from then on
OF_OTHERS = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
PRIORITY = 1 << 23  # CAP_SYS_NICE
MOST_NUMBER = 451  # newer system calls appear not to exist
OWN_FILES = 1024  # open at once
KEPT_VARIABLES = {"PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES", "PYTHONHASHSEED"}
KEPT_PREFIXES = ("LC_", "OMP_", "OPENBLAS_", "OPENCV_FOR_THREADS", "MALLOC_")
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/etc/localtime")
MACHINE = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/dev/urandom", "/dev/null")
OWN_CODE = (*CODE, f"{MODULE}.py", "tests")  # tests: in a checkout
# Numbers of x86_64 and aarch64; None: that processor has no such call.
PROGRAMS = {"fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281)}
REFUSED = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # Ways around: what a ring does, no filter sees.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # Other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "perf_event_open": (298, 241),
    # Memory that RLIMIT_DATA does not count, and memory that other processes can reach.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    # Files beside Landlock's rules.
    "truncate": (76, 45),  # which Landlock knows since Linux 6.2
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    # The kernel itself.
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "unshare": (272, 97),
    "setns": (308, 268),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "personality": (135, 92),
}
OTHERS = {"mmap": (9, 222), "ioctl": (16, 29), "prctl": (157, 167), "kill": (62, 129), "tgkill": (234, 131)}
OTHERS |= {"prlimit64": (302, 261), "sched_setaffinity": (203, 122), "clone": (56, 220), "clone3": (435, 435)}
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, name of the kernel's audit
CLONE_THREAD, MAP_SHARED_ANONYMOUS, TERMINAL_INPUT = 0x10000, 0x21, (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
LOAD, AND, EQUAL, GREATER, RETURN = 0x20, 0x54, 0x15, 0x25, 0x06  # of the kernel's filter language (BPF)
NUMBER, MACHINE_AT, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
KILL, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000

_libc = ctypes.CDLL(None, use_errno=True)


class Rules(NamedTuple):
    """What a jailed process may use: code to read, one folder to write to, and one program to start."""

    code: tuple[str, ...]
    listed: tuple[str, ...]  # folders below which it may list names, not read files
    folder: str
    program: str = ""  # empty: none


@cache
def missing() -> str:
    """What this machine lacks for the jail; empty if it has all."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return f"{platform.system()} on {platform.machine()}"
    lacks = []
    if landlock_version() < 1:
        lacks.append("Landlock (Linux 5.13)")
    if _libc.prctl(PR_SET_SECCOMP, 2, None) != -1 or ctypes.get_errno() != errno.EFAULT:
        lacks.append("seccomp filters")
    return " and ".join(lacks)


def landlock_version() -> int:
    """The version of Landlock that the kernel has; below 1 if it has none."""
    return int(_libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)) if sys.platform == "linux" else 0


def variables(environment: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The variables of an environment that the decoding process keeps: none that may hold a secret."""
    return {name: value for name, value in environment if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)}


@cache
def code_paths(import_path: tuple[str, ...]) -> tuple[str, ...]:
    """The files and folders of code: of the system, of Python, and of the folders that modules are imported from.

    Of another folder, such as the working directory, only what pip has installed there counts.
    """
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    own = [*SYSTEM, *(f"{prefix}/lib" for prefix in (sys.prefix, sys.base_prefix)), *filter(os.path.isabs, libraries)]
    own += [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found = dict.fromkeys(path for path in own if os.path.exists(path))
    above = Path(__file__).parents[2]
    for entry in (*map(Path, import_path), above):
        if entry.is_file() or entry.name in ("site-packages", "dist-packages"):
            found[str(entry)] = None
        elif not any(entry.is_relative_to(path) for path in own):
            found |= dict.fromkeys(map(str, _installed(entry)))
    found |= dict.fromkeys(str(above / name) for name in OWN_CODE if (above / name).exists())
    return tuple(found)


def _installed(folder: Path) -> Iterator[Path]:
    """The modules and packages directly in a folder into which pip has installed (`--target`); none in any other.

    The working directory is on the path, too, and may hold a million videos, or keys.
    """
    try:
        names = os.listdir(folder)
    except OSError:  # no folder, or one of others
        return
    if any(name.endswith(".dist-info") for name in names):
        for path in map(folder.joinpath, sorted(names)):
            if path.suffix in (".py", ".so", ".zip", ".egg", ".libs") or (path.is_dir() and _is_package(path)):
                yield path


def _is_package(folder: Path) -> bool:
    try:
        return not folder.name.startswith(".") and next(folder.glob("*.py"), None) is not None
    except OSError:  # a folder of others
        return False


def limit(memory_mb: int, disk_mb: int, cpu_s: int) -> None:
    """Bound this process's data, file sizes, open files, CPU seconds and core files."""
    # Not RLIMIT_AS: each thread reserves 64 MiB of address space that it never uses.
    for name, most in (
        (resource.RLIMIT_DATA, memory_mb << 20),
        (resource.RLIMIT_FSIZE, disk_mb << 20),
        (resource.RLIMIT_NOFILE, OWN_FILES),
        (resource.RLIMIT_CPU, cpu_s or resource.RLIM_INFINITY),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(name)[1]
        most = most if hard == resource.RLIM_INFINITY or most == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (most, most if most != resource.RLIM_INFINITY else hard))


def end_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends, also in the middle of a call."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def give_up_real_time() -> None:
    """Give up root's right to real-time priority.

    SVT-AV1 takes it for its own threads and for the one that opens it, and for all that this one
    starts: nothing else then runs on the machine.
    """
    if sys.platform == "linux":
        _keep_capabilities(~PRIORITY & 0xFFFFFFFF, 0xFFFFFFFF)


def close(rules: Rules) -> None:
    """Jail this process, which must have one thread only: it never gets out again.

    What the kernel lacks is left out (see `missing`).

    Raises:
        OSError: the kernel refuses what it has.
    """
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _keep_capabilities(OF_OTHERS)  # which Landlock's rules bound
    if (version := landlock_version()) >= 1:
        _restrict_files(rules, version)
    if platform.machine() in MACHINES and "seccomp" not in missing():
        steps = b"".join(struct.pack("=HBBI", *step) for step in _filter(bool(rules.program)))
        buffer = ctypes.create_string_buffer(steps, len(steps))
        program = struct.pack("=HxxxxxxQ", len(steps) // 8, ctypes.addressof(buffer))
        _checked(_libc.prctl(PR_SET_SECCOMP, 2, program))


def _keep_capabilities(kept: int, kept_above: int = 0) -> None:
    """Give up the rights of root but for these: bits 0 to 31, and 32 and above."""
    version, held = struct.pack("=II", 0x20080522, 0), ctypes.create_string_buffer(24)
    _checked(_libc.capget(version, held))
    masks = (kept, kept, 0, kept_above, kept_above, 0)  # effective, permitted, inheritable
    now = (each & mask for each, mask in zip(struct.unpack("=6I", held.raw), masks, strict=True))
    _checked(_libc.capset(version, struct.pack("=6I", *now)))


def _restrict_files(rules: Rules, version: int) -> None:
    """Allow to read code and the machine's facts, to write to one folder, and no network (Landlock)."""
    rights = (1 << NUM_RIGHTS[min(version, len(NUM_RIGHTS) - 1)]) - 1
    attributes = struct.pack("=QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _checked(_libc.syscall(LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), 0))
    allowed = [(path, READ) for path in (*rules.code, *MACHINE)] + [("/dev/null", READ_FILE | WRITE_FILE)]
    allowed += [*((path, READ_DIR) for path in rules.listed), (rules.folder, rights & ~(EXECUTE | REFER))]
    if rules.program:
        loaders = [str(path) for folder in ("/lib64", "/lib") for path in Path(folder).glob("ld-*.so*")]
        allowed += [(path, READ | EXECUTE) for path in (rules.program, *loaders)]
    for path, access in allowed:
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # not on this machine
            continue
        own = access & rights & (-1 if os.path.isdir(path) else OF_FILES)
        _checked(_libc.syscall(LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", own, handle), 0))
        os.close(handle)
    _checked(_libc.syscall(LANDLOCK_RESTRICT, ruleset, 0))
    os.close(ruleset)


def _filter(starts_program: bool) -> list[tuple[int, int, int, int]]:
    """The steps of the filter of system calls: operation, steps to jump if true and if false, value."""
    column, audit = MACHINES[platform.machine()]
    numbers = {name: each[column] for name, each in (REFUSED | PROGRAMS | OTHERS).items()}

    def refuse(name: str, *condition: tuple[int, int, int, int], error: int = errno.EPERM) -> None:
        """Refuse a call; with a condition only where that falls through to its end."""
        if numbers[name] is not None:
            block = [*condition, (RETURN, 0, 0, ERRNO | error), (LOAD, 0, 0, NUMBER)]
            steps.extend([(EQUAL, 0, len(block), numbers[name] or 0), *block])

    def argument(number: int) -> tuple[int, int, int, int]:
        return (LOAD, 0, 0, ARGUMENTS + 8 * number)

    pid = os.getpid()
    steps = [(LOAD, 0, 0, MACHINE_AT), (EQUAL, 1, 0, audit), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    steps += [(GREATER, 0, 1, MOST_NUMBER), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    shared = (AND, 0, 0, MAP_SHARED_ANONYMOUS), (EQUAL, 0, 1, MAP_SHARED_ANONYMOUS)
    refuse("mmap", argument(3), *shared, error=errno.ENOMEM)
    for command in TERMINAL_INPUT:
        refuse("ioctl", argument(1), (EQUAL, 0, 1, command))
    # It ends with its parent, and a program that it starts ends with it.
    but_kill = argument(1), (EQUAL, 1, 0, signal.SIGKILL)
    refuse("prctl", argument(0), (EQUAL, 0, 3, PR_SET_PDEATHSIG), *but_kill)
    for name in ("kill", "tgkill"):
        refuse(name, argument(0), (EQUAL, 1, 0, pid))
    for name in ("prlimit64", "sched_setaffinity"):
        refuse(name, argument(0), (EQUAL, 2, 0, 0), (EQUAL, 1, 0, pid))
    if not starts_program:
        refuse("clone3", error=errno.ENOSYS)  # its arguments lie in memory; libraries then call clone
        refuse("clone", argument(0), (AND, 0, 0, CLONE_THREAD), (EQUAL, 1, 0, CLONE_THREAD))
    for name in (*REFUSED, *(() if starts_program else PROGRAMS)):
        refuse(name)
    return [*steps, (RETURN, 0, 0, ALLOW)]


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
