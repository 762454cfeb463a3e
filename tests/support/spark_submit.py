"""Wheels of the checkout, and an environment with its libraries but without its code."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The base interpreter; on PYTHONPATH, .pth files and so editable installs have no effect.
BARE = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
LIBRARIES = site.getsitepackages()[0]
BIN = f"{LIBRARIES}/pyspark/bin"


def environment(*paths: str) -> dict[str, str]:
    """The environment of spark-submit's driver and workers, with folders to import from."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([*paths, LIBRARIES]), "PYSPARK_PYTHON": BARE}


def copy_source(folder: Path) -> Path:
    """Copy the checkout without tests and build outputs; returns the copy."""
    return Path(
        shutil.copytree(
            ROOT, folder / "source", ignore=shutil.ignore_patterns(".*", "build", "dist", "tests", "*.egg-info")
        )
    )


def build_wheel(folder: Path) -> Path:
    """Build the wheel of the checkout, from a copy that is deleted afterwards."""
    copy = copy_source(folder)
    command = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--wheel-dir", str(folder), str(copy)]
    subprocess.run(command, check=True)
    shutil.rmtree(copy)
    return next(folder.glob("*.whl"))


def install_wheel(wheel: Path, folder: Path) -> Path:
    """Install a wheel without its dependencies into a folder; returns the folder."""
    command = [sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True)
    return folder
