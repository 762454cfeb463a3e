"""Check the machine's Java; the one line says which to install."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

SUPPORTED = (17, 21)  # what Spark 4.0 runs on
ADVICE = (
    "Spark needs a JDK 17: install one (Debian: apt-get install openjdk-17-jdk-headless) "
    "and set JAVA_HOME if it is not on PATH"
)


def program() -> str | None:
    """The Java that Spark would start; None if there is none."""
    home = os.environ.get("JAVA_HOME")
    path = os.path.join(home, "bin", "java") if home else shutil.which("java")
    return path if path is not None and os.access(path, os.X_OK) else None


def problem() -> str | None:
    """What is wrong with the Java that Spark would start, in one line; None if it will do."""
    path = program()
    if path is None:
        home = os.environ.get("JAVA_HOME")
        return f"no Java found{f' in JAVA_HOME={home}' if home else ''}. {ADVICE}"
    output = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    stated = re.search(r'version "(?:1\.)?(\d+)', output)
    if stated is None:
        return f"{path} -version names no version. {ADVICE}"
    if int(stated[1]) not in SUPPORTED:
        return f"{path} is Java {stated[1]}. {ADVICE}"
    return None


if __name__ == "__main__":
    sys.exit(problem())
