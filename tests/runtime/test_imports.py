"""Processes load only what they need: no decoder for arithmetic, no tables for cutting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SIMILARITY = sorted(f"udfs.similarity.{path.stem}" for path in Path("udfs/similarity").glob("[!_]*.py"))
MODULES = ["udfs.runtime.context", "udfs.runtime.batching", "udfs.dedup", "udfs.copies", "udfs.filter", *SIMILARITY]


def loaded(module: str, name: str) -> bool:
    """Whether a fresh process that imports the module has another one loaded."""
    code = f"import sys, {module}; print({name!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout == "True\n"


@pytest.mark.parametrize("module", MODULES)
def test_what_decodes_nothing_imports_no_pyav(module: str) -> None:
    assert not loaded(module, "av")


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_cutting_makes_no_tables_and_loads_no_library_for_them(package: str) -> None:
    assert not loaded("udfs.clip", package)


def test_a_stage_that_decodes_imports_pyav() -> None:
    assert loaded("udfs.clip", "av")
