"""The checkout -> its wheel, and an environment in which spark-submit knows libraries but none of the code."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The bare interpreter with the venv's libraries: on PYTHONPATH their .pth files do not count, so no editable install.
BARE = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
LIBRARIES = site.getsitepackages()[0]
BIN = f"{LIBRARIES}/pyspark/bin"


def environment(*paths: str) -> dict[str, str]:
    """This process's, for spark-submit's driver and workers, with more folders to import from."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([*paths, LIBRARIES]), "PYSPARK_PYTHON": BARE}


def source(folder: Path) -> Path:
    """A copy of the checkout without tests and what was built."""
    return Path(
        shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(".*", "build", "dist", "tests", "*.egg-info"))
    )


def wheel(folder: Path) -> Path:
    """The wheel of the checkout, built from a copy that is gone afterwards."""
    copy = source(folder)
    command = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--wheel-dir", str(folder), str(copy)]
    subprocess.run(command, check=True)
    shutil.rmtree(copy)
    return next(folder.glob("*.whl"))


def installed(wheel: Path, folder: Path) -> Path:
    """A folder with what a wheel installs, and none of what it depends on."""
    command = [sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True)
    return folder
