"""Spark settings for executors with two GPUs that exist only for its scheduler."""

from __future__ import annotations

from pathlib import Path

SCRIPT = """#!/bin/sh
echo '{"name": "gpu", "addresses": ["0", "1"]}'
"""


def conf(folder: Path, cores: int = 4) -> dict[str, str]:
    """Settings for two executors with `cores` cores and one GPU each.

    The discovery script is written to `folder`.
    """
    script = folder / "two_gpus.sh"
    script.write_text(SCRIPT, encoding="utf-8")
    script.chmod(0o755)
    return {
        "spark.master": f"local-cluster[1,{2 * cores},4096]",
        "spark.executor.cores": str(cores),
        "spark.executor.memory": "1g",
        "spark.executorEnv.PYTHONPATH": str(Path(__file__).parents[2]),
        "spark.worker.resource.gpu.amount": "2",
        "spark.worker.resource.gpu.discoveryScript": str(script),
        "spark.executor.resource.gpu.amount": "1",
        "spark.executor.resource.gpu.discoveryScript": str(script),
        "spark.task.resource.gpu.amount": "0.01",
    }
