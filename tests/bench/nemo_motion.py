"""Program that prints NeMo Curator's motion scores of clips, one JSON line each.

It runs in the environment that has nemo-curator.
"""

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
# Frames at once, as its command line sets; the function's default takes four times the memory.
BATCH = 64


def backend() -> ModuleType:
    """The scoring module, loaded by its file: the package's __init__ imports Ray and more."""
    path = str(distribution("nemo-curator").locate_file(BACKEND))
    spec = importlib.util.spec_from_file_location("motion_vector_backend", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def motion_scores(nemo: ModuleType, path: str) -> dict[str, float]:
    """Both scores of a clip, and the CPU seconds of decoding and of scoring it.

    One thread decodes: with NeMo Curator's four threads of type AUTO, FFmpeg drops motion vectors
    at random. The number of vectors left then is reported too.
    """
    content = Path(path).read_bytes()
    begin = time.process_time()
    decoded = nemo.decode_for_motion(io.BytesIO(content), thread_count=1)
    middle = time.process_time()
    scores = nemo.check_if_small_motion(decoded.frames, decoded.frame_size, batch_size=BATCH)
    end = time.process_time()
    return {
        "global_mean": scores.global_mean,
        "per_patch_min_256": scores.per_patch_min_256,
        "decode_s": middle - begin,
        "score_s": end - middle,
        "vectors": sum(map(len, decoded.frames)),
        "vectors_of_four_threads": sum(map(len, nemo.decode_for_motion(io.BytesIO(content)).frames)),
    }


if __name__ == "__main__":
    nemo = backend()
    motion_scores(nemo, sys.argv[1])  # a first call, so that loading kernels is not timed
    for path in sys.argv[1:]:
        print(json.dumps(motion_scores(nemo, path)))
