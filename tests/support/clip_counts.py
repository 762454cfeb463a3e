"""Reading an output in another process, as workers of data loaders do."""

from __future__ import annotations

import reelmill


def num_kept(output: str) -> str:
    """How many clips are kept, or why that cannot be said."""
    try:
        return str(len(list(reelmill.open(output).clips("kept"))))
    except reelmill.CommandError as e:
        return str(e)
