"""Fuzz one target, guided by the branches that its inputs reach: python -m tests.fuzz TARGET [options of libFuzzer].

Without a target, print the names of all.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

CORPUS = Path("build/fuzz")  # inputs that reached something new, by target; the next run begins with them

with atheris.instrument_imports(include=["jobs", "udfs", "json", "csv", "urllib", "http"]):
    from tests.fuzz.targets import SEEDS, TARGETS


def main(name: str, options: list[str]) -> None:
    """Fuzz until libFuzzer's options end it, or an input raises; that input lies in build/fuzz then."""
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    found = f"-artifact_prefix={CORPUS}/{name}-"
    atheris.Setup([sys.argv[0], str(corpus), found, "-timeout=20", "-rss_limit_mb=4096", *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1], sys.argv[2:])
    else:
        print("\n".join(TARGETS))
