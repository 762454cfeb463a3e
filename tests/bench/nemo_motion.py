"""Paths of clips -> a JSON line each with NeMo Curator's own motion scores; runs in the environment that has nemo-curator."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import time
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

BACKEND = "nemo_curator/stages/video/filtering/motion_vector_backend.py"
BATCH = (
    64  # frames painted at once: what its command line asks for; the function's own default takes four times the memory
)


def backend() -> ModuleType:
    """The one module that scores, by its file: the package's own __init__ asks for Ray and more."""
    path = str(distribution("nemo-curator").locate_file(BACKEND))
    spec = importlib.util.spec_from_file_location("motion_vector_backend", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def scored(nemo: ModuleType, path: str) -> dict[str, float]:
    """Both scores of a clip and the CPU seconds of its decoding and its scoring.

    Decoded by one thread: with its own four, whose kind is AUTO, FFmpeg drops motion vectors by chance, how many is told too.
    """
    content = Path(path).read_bytes()
    begin = time.process_time()
    decoded = nemo.decode_for_motion(io.BytesIO(content), thread_count=1)
    middle = time.process_time()
    found = nemo.check_if_small_motion(decoded.frames, decoded.frame_size, batch_size=BATCH)
    end = time.process_time()
    return {
        "global_mean": found.global_mean,
        "per_patch_min_256": found.per_patch_min_256,
        "decode_s": middle - begin,
        "score_s": end - middle,
        "vectors": sum(map(len, decoded.frames)),
        "vectors_of_four_threads": sum(map(len, nemo.decode_for_motion(io.BytesIO(content)).frames)),
    }


if __name__ == "__main__":
    nemo = backend()
    scored(nemo, sys.argv[1])  # once for nothing, so that loading kernels is not timed
    for path in sys.argv[1:]:
        print(json.dumps(scored(nemo, path)))
