"""Run the checks of a GPU kit: `python run.py`, and `python run.py --dry` up to the first CUDA call.

Unpacks the wheels beside it, those of SPARE only where the machine lacks the module, and runs
tests.gpukit.checks with them. Imports nothing but the standard library.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

# Packages in the versions that Reelmill was tested with.
WHEELS = ("av", "pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions")
# Packages whose version does not matter, and a module of each.
SPARE = {
    "pillow": "PIL",
    "imagehash": "imagehash",
    "torchvision": "torchvision",
    "pytest": "pytest",
    "iniconfig": "iniconfig",
    "pluggy": "pluggy",
    "packaging": "packaging",
    "pygments": "pygments",
}
# The tests that need a GPU and no Spark.
TESTS = ("tests/video/test_nvdec_on_gpu.py", "tests/core/test_gpu_device.py")


def main(kit: Path, arguments: list[str]) -> int:
    """Run the checks of a kit; its exit status is 0 if every goal was met."""
    with tempfile.TemporaryDirectory(prefix="gpu-kit-") as folder:
        paths = [str(kit / "code"), *unpacked(kit, Path(folder))]
        paths += [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        command = [sys.executable, "-m", "tests.gpukit.checks", "--clips", str(kit / "clips"), *arguments]
        return subprocess.call(command, cwd=kit / "code", env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})


def unpacked(kit: Path, folder: Path) -> Iterator[str]:
    """The folders of the packages that this machine is to take from the kit."""
    for wheel in sorted(kit.glob("wheels/*.whl")):
        yield _unpacked(wheel, folder)
    for wheel in sorted(kit.glob("spare/*.whl")):
        if find_spec(SPARE[wheel.name.partition("-")[0].lower()]) is None:
            yield _unpacked(wheel, folder)


def _unpacked(wheel: Path, folder: Path) -> str:
    target = folder / wheel.stem
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return str(target)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent, sys.argv[1:]))
