"""What each code of a failure means, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    """The meaning of a code, and what to do, with names of settings and options in backticks."""

    meaning: str
    what_to_do: str


ADVICE: dict[str, Advice] = {
    "EMPTY": Advice("no bytes", "Upload the file again."),
    "UNSUPPORTED": Advice(
        "not a video container or codec that is accepted",
        "Convert the file, or leave it out of the manifest.",
    ),
    "CORRUPT": Advice(
        "a video whose data cannot be decoded",
        "Get another copy; the message says what the decoder saw.",
    ),
    "PARTIAL": Advice(
        "decodes, but not to its end",
        "Upload the file again, or accept the clips up to `limits.max_corrupt_share`.",
    ),
    "NO_VIDEO": Advice("no video stream (audio only, cover art only)", "Nothing: leave it out of the manifest."),
    "TOO_SHORT": Advice(
        "too short for a clip, or a clip for a caption, with these settings",
        "Lower `split.min_clip_length_s` or `split.min_length_s`, or leave it: the file is well.",
    ),
    "TOO_LARGE": Advice(
        "over a limit on pixels, frames, seconds or bytes",
        "Raise the limit that the message names, in `[limits]` or `[sources]`.",
    ),
    "TIMEOUT": Advice(
        "no packet, frame or bytes for `limits.timeout_s`, or not done after `limits.timeout_total_s`",
        "Raise the limit if the machine or the store was slow, then `--retry-failed TIMEOUT`.",
    ),
    "CRASH": Advice(
        "the decoder's process died, or vLLM over this request",
        "Retry once; if it stays, convert the file, and please report it.",
    ),
    "OOM": Advice(
        "the decoder's process hit its memory limit or was killed twice, or one input is more than the GPU holds",
        "Raise `limits.memory_mb`, or give the stage a larger GPU.",
    ),
    "NOT_FOUND": Advice(
        "no such file, a link to none, not a regular one, or no right to read it",
        "Correct the manifest, the link or the rights, or mount the folder, then `--retry-failed NOT_FOUND`.",
    ),
    "DENIED": Advice(
        "outside the allowed roots, protocols or formats, or its store refuses it",
        "Add the place to `sources.roots`, grant the rights, or leave it: a video that was taken down stays denied.",
    ),
    "UNREACHABLE": Advice(
        "its disk, store or endpoint gave no whole answer, however often it was asked; the next run tries again",
        "Nothing at first; if it stays, look at the network or `sources.requests_per_s`.",
    ),
    "CHANGED": Advice(
        "the file is not the one that was ingested; the next run tries again",
        "Nothing: the next run ingests the new file.",
    ),
    "BAD_OUTPUT": Advice(
        "a model's answer that cannot be used: NaN, a wrong shape, an empty text, or its refusal of the request",
        "Try another `dtype` or prompt, then `--retry-failed BAD_OUTPUT`.",
    ),
    "BUG": Advice(
        "an exception that Reelmill did not expect: its type and the last lines of code; the next run tries again",
        "Report the message.",
    ),
}
