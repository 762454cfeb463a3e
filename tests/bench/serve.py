"""Answer requests of `tests/support/spent.py`: one that is the argument, or one per line until the input ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any


def serve(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Call the functions that requests name, and write each result as a line of JSON.

    What libraries print goes to standard error.
    """
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        for line in sys.argv[1:2] or sys.stdin:
            request = json.loads(line)
            print(json.dumps(functions[request["call"]](**request["arguments"])), file=out, flush=True)
