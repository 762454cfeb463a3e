"""A uri under the output -> a local file to write to, which appears there complete or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from udfs.source import local_path

ASIDE = ".writing"  # folder of the media root for files that are not complete yet; a killed run leaves them there


def media_uri(root: str, kind: str, key: str, fingerprint: str, suffix: str) -> str:
    """The name of a media file: the same key and settings give the same name in every run and retry."""
    return f"{root}/{kind}/{key[:2]}/{key}-{fingerprint[:8]}{suffix}"


@contextmanager
def writing(uri: str) -> Iterator[str]:
    """A local path to write to; the file takes its place at a `media_uri` when the block ends well, else it is removed."""
    target = local_path(uri)
    folder, name = os.path.split(target)
    root = os.path.dirname(os.path.dirname(folder))  # so that the last step is a rename within one file system
    os.makedirs(folder, exist_ok=True)
    os.makedirs(os.path.join(root, ASIDE), exist_ok=True)
    # The suffix stays last: muxers choose the format by it.
    handle, aside = tempfile.mkstemp(dir=os.path.join(root, ASIDE), suffix=os.path.splitext(name)[1])
    os.close(handle)
    try:
        yield aside
        os.chmod(aside, 0o644)  # mkstemp's 0600 would lock readers out
        os.replace(aside, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(aside)


def sha256(path: str) -> str:
    """Hex digest of a local file, read in pieces."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
