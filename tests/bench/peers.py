"""The environments of the peers, with pinned versions: one venv for each below build/peers.

What they need and the environment of the benchmarks has already (torch, PyAV, PyArrow ...) is read from
there, so that no second copy of torch and its CUDA libraries (5 GB) is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

from tests.support.spent import Program

HOME = Path(os.environ.get("REELMILL_BENCH_CACHE", "build/peers")).absolute()
# Versions that were found to install and run together, 2026-11-28.
PINS = {
    "daft": ("daft==0.7.26",),
    "ray": ("ray[data]==2.60.0",),
    "nemo": ("nemo-curator==1.4.0", "ray[data,default]==2.60.0", "cosmos-xenna==0.2.0"),
}


class PeerMissing(Exception):
    """A peer could not be installed; the text is pip's last line."""


def program(peer: str) -> Program:
    """The program of a peer, tests/bench/peer_NAME.py, in its environment.

    Raises:
        PeerMissing: it could not be installed.
    """
    quiet = (("RAY_DEDUP_LOGS", "0"), ("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"))
    telemetry = (("DO_NOT_TRACK", "true"), ("DAFT_ANALYTICS_ENABLED", "0"), ("DAFT_PROGRESS_BAR", "0"))
    return Program((str(python(peer)), "-m", f"tests.bench.peer_{peer}"), (*quiet, *telemetry))


def ours() -> Program:
    """Reelmill's own program."""
    return Program((sys.executable, "-m", "tests.bench.ours"))


def python(peer: str) -> Path:
    """The interpreter of a peer's environment, which is made if it is missing or has other pins.

    Raises:
        PeerMissing: it could not be installed.
    """
    home = HOME / peer
    interpreter, marker = home / "bin" / "python", home / "installed"
    pins = "\n".join(PINS[peer])
    if not marker.exists() or marker.read_text(encoding="utf-8") != pins:
        _run([sys.executable, "-m", "venv", "--clear", str(home)])
        _lend_packages(home)
        _run([str(interpreter), "-m", "pip", "install", "--quiet", *PINS[peer]])
        marker.write_text(pins, encoding="utf-8")
    return interpreter


def versions(peer: str) -> dict[str, str]:
    """The installed versions of the pinned packages of a peer."""
    pins = (pin.partition("==") for pin in PINS[peer])
    return {name.partition("[")[0]: number for name, _, number in pins} | {"av": version("av")}


def _lend_packages(home: Path) -> None:
    """Let the environment see the packages of this one, after its own."""
    own = sysconfig.get_path("purelib")
    folder = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (folder / "lent.pth").write_text(f"{own}\n", encoding="utf-8")


def _run(command: list[str]) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise PeerMissing(f"{' '.join(command)}: {(ran.stderr.strip() or 'failed').splitlines()[-1]}")
