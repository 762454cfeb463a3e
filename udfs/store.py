"""A uri under the output -> a local file to write to, which appears there complete or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from udfs.source import local_path


def media_uri(root: str, kind: str, key: str, fingerprint: str, suffix: str) -> str:
    """The name of a media file: the same key and settings give the same name in every run and retry."""
    return f"{root}/{kind}/{key[:2]}/{key}-{fingerprint[:8]}{suffix}"


@contextmanager
def writing(uri: str) -> Iterator[str]:
    """A path beside the target to write to; it takes the target's name when the block ends well, else it is removed."""
    target = local_path(uri)
    folder, name = os.path.split(target)
    os.makedirs(folder, exist_ok=True)
    # The suffix stays last: muxers choose the format by it.
    handle, aside = tempfile.mkstemp(dir=folder, prefix=".writing-", suffix=os.path.splitext(name)[1])
    os.close(handle)
    try:
        yield aside
        os.chmod(aside, 0o644)  # mkstemp's 0600 would lock readers out
        os.replace(aside, target)
    finally:
        if os.path.exists(aside):
            os.unlink(aside)


def sha256(path: str) -> str:
    """Hex digest of a local file, read in pieces."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
