"""Where the page of a report lies, how it names media files, and the previews that it holds itself."""

from __future__ import annotations

import base64
import os
import posixpath
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from jobs.reports.contents import Contents
from udfs.core.errors import MediaError, StoreError
from udfs.storage import media_store
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import is_remote, local_path

NAME = "report.html"
MAX_PREVIEW_BYTES = 1 << 20  # a larger one is left out


def default(output: str) -> str:
    """Where the report of an output is, unless another place is named."""
    return f"{output}/{NAME}"


def media_address(page: str, output: str) -> str | None:
    """The media folder of an output as a page names it, with a slash at its end; None from another store."""
    if is_remote(page) != is_remote(output):
        return None
    if not is_remote(page):
        return f"{quote(os.path.relpath(local_path(f'{output}/media'), os.path.dirname(local_path(page))))}/"
    (bucket, key), (of_output, prefix) = _parts(page), _parts(output)
    return f"{quote(posixpath.relpath(f'{prefix}/media', posixpath.dirname(key)))}/" if bucket == of_output else None


def _parts(uri: str) -> tuple[str, str]:
    """The bucket and the key of an address in a store, as an absolute path."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, f"/{key}"


def embedded(contents: Contents, number: int, read: Callable[[str], bytes]) -> dict[str, str]:
    """The first previews as data URIs, by their paths below the media folder; those that cannot be read are left out.

    Groups of duplicates come first, then the clips of the sheet.
    """
    found: dict[str, str] = {}
    for uri in islice(dict.fromkeys(_previews(contents)), number):
        try:
            content = read(uri)
        except (OSError, MediaError, StoreError):
            continue
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP" and len(content) <= MAX_PREVIEW_BYTES:
            found[media_store.path_in_root(uri)] = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
    return found


def _previews(contents: Contents) -> Iterator[str]:
    for group in contents.duplicates.groups:
        yield from (member.preview for member in (group.kept, *group.members) if member.preview)
    yield from (clip.preview for clip in contents.clips.rows if clip.preview)


def write(page: str, content: str, sources: Sources) -> None:
    """Write a page, which appears whole or not at all.

    Raises:
        OSError, MediaError, StoreError: it cannot be written.
    """
    if is_remote(page):
        with media_store.write_to(page, sources, root=page.rpartition("/")[0]) as path:
            Path(path).write_text(content, encoding="utf-8")
        return
    target = local_path(page)
    unfinished = f"{target}.{os.getpid()}"
    try:
        Path(unfinished).write_text(content, encoding="utf-8")
        os.replace(unfinished, target)
    finally:
        Path(unfinished).unlink(missing_ok=True)
