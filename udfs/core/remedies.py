"""What each failure code means, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Remedy(NamedTuple):
    """Why an input failed, and what helps."""

    cause: str
    advice: str


REMEDIES: Mapping[str, Remedy] = {  # one for each of udfs.core.errors.CODES
    "EMPTY": Remedy("no bytes", "Upload the file again."),
    "UNSUPPORTED": Remedy(
        "not a video container or codec that is accepted", "Convert the file, or leave it out of the manifest."
    ),
    "CORRUPT": Remedy(
        "a video whose data cannot be decoded", "Get another copy; the message says what the decoder saw."
    ),
    "PARTIAL": Remedy(
        "decodes, but not to its end",
        "Upload the file again, or accept the clips up to limits.max_corrupt_share.",
    ),
    "NO_VIDEO": Remedy("no video stream (audio only, cover art only)", "Nothing: leave it out of the manifest."),
    "TOO_SHORT": Remedy(
        "gives no clip with these settings",
        "Lower split.min_clip_length_s or split.min_length_s, or ignore it.",
    ),
    "TOO_LARGE": Remedy(
        "over a limit on pixels, frames, seconds or bytes",
        "Raise the limit that the message names, in [limits] or [sources].",
    ),
    "TIMEOUT": Remedy(
        "no packet, frame or bytes for limits.timeout_s, or not done after limits.timeout_total_s",
        "Raise the limit if the machine or the store was slow, then --retry-failed TIMEOUT.",
    ),
    "CRASH": Remedy(
        "the decoder's process died",
        "Retry once; if it stays, convert the file. Please report it, see Security.",
    ),
    "OOM": Remedy(
        "the decoder's process hit its memory limit, or one input is more than the GPU holds",
        "Raise limits.memory_mb, or give the stage a larger GPU.",
    ),
    "NOT_FOUND": Remedy(
        "no such file, or not a regular one",
        "Correct the manifest or mount the folder, then --retry-failed NOT_FOUND.",
    ),
    "DENIED": Remedy(
        "outside the allowed roots, protocols or formats, or its store refuses it",
        "Add the place to sources.roots, grant the rights, or leave it: a video that was taken down stays denied.",
    ),
    "UNREACHABLE": Remedy(
        "its disk or store did not answer in full, however often it was asked; the next run tries again",
        "Nothing at first; if it stays, look at the network or sources.requests_per_s.",
    ),
    "CHANGED": Remedy(
        "the file is not the one that was ingested; the next run tries again",
        "Nothing: the next run ingests the new file.",
    ),
    "BAD_OUTPUT": Remedy(
        "a model's answer that cannot be used: NaN, a wrong shape, an empty text",
        "Try another dtype or prompt, then --retry-failed BAD_OUTPUT.",
    ),
    "BUG": Remedy(
        "an exception that Reelmill did not expect: its type and the last lines of code; the next run tries again",
        "Report the message.",
    ),
}


def remedy(code: str) -> Remedy:
    """The remedy for a code; a code of another release has none."""
    return REMEDIES.get(code, Remedy("a code that this release does not know", "Ask the release that wrote it."))
