"""A uri -> a path that may be opened, here or on another machine, or a MediaError; the only module that decides what may be."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import stat
import unicodedata
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.core.errors import MediaError, read_fault
from udfs.storage.remote_file import AnyPath, RemotePath, Stat, opened, peek

SAMPLE_BYTES = 1 << 16  # of the head and of the tail, hashed into the content tag
# Samples of the middle: a downloader may allocate the whole file and write head and tail first. Of a remote file these are three
# requests for bytes that nothing else reads, so the samples are small: 0.02 % of 200 MB.
MIDDLE_BYTES = 1 << 14
MIDDLE_PARTS = (1, 2, 3)  # quarters of the file at which a sample begins
SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)(,[^:/]*)?:(?P<slashes>//)?", re.IGNORECASE)
# What FFmpeg would open, were it asked to: other machines, pipes, pieces and strings of files.
PROTOCOLS = re.compile(
    "async|bluray|cache|concatf?|crypto|data|fd|ffrtmp.*|ftp|gophers?|hls|httpproxy|icecast|ip[fn]s|md5|mms[ht]|pipe|prompeg|rtmp.*|"
    "rtp|rtsp|sctp|sftp|smb|srtp?|subfile|tcp|tee|tls|udp|udplite|unix|zmq"
)
CLIMBS = re.compile(r"/(\.|%2e){2}(/|$)", re.IGNORECASE)
MODIFIED = "modified"  # the attribute of a file that says when it was changed
# The modules that give `stat` and `fetch` of a scheme's uris.
TRANSPORTS = {
    "s3": "udfs.storage.s3",
    "s3a": "udfs.storage.s3",
    "http": "udfs.storage.http_source",
    "https": "udfs.storage.http_source",
}
# fmt: off
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mp4v", ".f4v", ".mov", ".qt", ".mqv", ".3gp", ".3gpp", ".3g2", ".3gp2", ".mj2", ".ismv",
    ".insv", ".lrv", ".360",  # of cameras: mp4
    ".mkv", ".mk3d", ".webm", ".avi", ".divx", ".xvid", ".amv", ".flv", ".wmv", ".asf", ".wm", ".dvr-ms",
    ".ogv", ".ogm", ".ogx", ".mpg", ".mpeg", ".mpe", ".m2p", ".vob", ".vro", ".evo", ".mod",
    ".ts", ".mts", ".m2ts", ".m2t", ".trp", ".tp", ".tod", ".mpv", ".m1v", ".m2v", ".m4e",
    ".dv", ".dif", ".mxf", ".gxf", ".rm", ".rmvb", ".rv", ".wtv", ".nut", ".y4m", ".ivf",
    ".dav", ".264", ".h264", ".avc", ".265", ".h265", ".hevc",
)
# fmt: on
# Characters around an address that are no part of it: blanks, line ends, byte order marks, zero-width characters.
EDGES = " \t\r\n\v\f\u00a0\u200b\u200c\u200d\u2060\ufeff"
WINDOWS = re.compile(r"(^|/)([A-Za-z]:[\\/]|\\\\)")  # a drive or a share


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[sources]"""

    roots: Annotated[
        tuple[str, ...], Field(description="folders, s3:// prefixes and addresses that may be read; empty: any")
    ] = ()
    s3_endpoint: Annotated[str, Field(description="address of an S3 that is not AWS's, such as http://host:9000")] = ""
    s3_region: Annotated[str, Field(description="empty: as AWS's own tools find it")] = ""
    s3_profile: Annotated[str, Field(description="of ~/.aws; empty: AWS's usual chain of credentials")] = ""
    s3_anonymous: Annotated[bool, Field(description="no credentials: buckets that anyone may read")] = False
    s3_writers: Annotated[
        Literal["one", "several"], Field(description="runs at once on one output there; several: by a table of DynamoDB's")
    ] = "one"
    requests_per_s: Annotated[float, Field(ge=0, description="to remote stores, of all processes of a host; 0: no limit")] = 500.0
    timeout_s: Annotated[float, Field(gt=0, description="for a connection, and for the next bytes of an answer")] = 20.0
    retry_s: Annotated[float, Field(ge=0, description="how long 503s, resets and short answers are tried again")] = 60.0
    max_bytes: Annotated[int, Field(gt=0, description="of a remote file, known before it is read")] = 100_000_000_000
    http_private: Annotated[bool, Field(description="private, loopback and link-local addresses may be asked, too")] = False
    http_redirects: Annotated[int, Field(ge=0, le=20)] = 5
    http_total_s: Annotated[float, Field(gt=0, description="for one answer, all of it")] = 100.0
    http_disk_bytes: Annotated[int, Field(gt=0, description="a host, for files of servers without ranges")] = 20_000_000_000

    def __post_init__(self) -> None:
        if "@" in self.s3_endpoint:  # it is told in every run's row
            raise ValueError("s3_endpoint: credentials do not belong into an address")


def local_path(uri: str) -> str:
    """The absolute path a uri names; percent escapes count only behind `file://`.

    Raises:
        MediaError: DENIED for a protocol that only FFmpeg knows or a file of another host, UNSUPPORTED for another scheme.
    """
    scheme, rest = _address(uri)
    if not scheme:
        return os.path.abspath(uri)
    if PROTOCOLS.fullmatch(scheme):
        raise MediaError("DENIED", f"{scheme}: addresses are never opened")
    if scheme == "dbfs":  # as Databricks mounts it: volumes by their own name, the rest under /dbfs
        path = rest.lstrip("/")
        return os.path.abspath(f"/{path}" if path.startswith("Volumes/") else f"/dbfs/{path}")
    if scheme != "file":
        raise MediaError("UNSUPPORTED", f"no reader for {scheme}:// addresses")
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost"):
        raise MediaError("DENIED", f"a file of another host: {host}")
    return os.path.abspath(unquote(slash + path, errors="surrogateescape"))


def absolute(uri: str, folder: str = "") -> str:
    """The normal form of a uri, which means the same in every process.

    For a file it is the absolute path without `.`, `..` and double slashes, or file:// as in
    `path_uri`. Keys of stores and paths of web servers stay; only the scheme and the host are
    normalized. A relative uri starts at `folder`, which may be on another machine. A uri that cannot
    be parsed stays as it is and is refused later.
    """
    uri = uri.strip(EDGES)
    scheme, rest = _address(uri)
    if scheme in ("file", "dbfs"):
        try:
            return path_uri(local_path(uri))
        except MediaError:
            return uri
    if scheme in TRANSPORTS:
        return _remote_uri(scheme, rest)
    if scheme:
        return uri
    if is_remote(folder) and not uri.startswith("/"):
        return _beside(_remote_uri(*_address(folder)), uri)
    return path_uri(os.path.abspath(os.path.join(folder, uri)))


def path_uri(path: str) -> str:
    """The uri of an absolute path: the path, or file:// if its bytes are no UTF-8 or it has EDGES that would be trimmed."""
    path = "/" + path.lstrip("/")  # POSIX keeps two slashes at the beginning
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"file://{quote(path.encode(errors='surrogateescape'))}"
    return path if path == path.strip(EDGES) else f"file://{quote(path)}"


def existing_uri(uri: str) -> str:
    """The uri, or if no such file exists, another spelling of its path under which one does.

    macOS writes an accented letter as two characters, other systems as one; Windows paths have
    backslashes.
    """
    if (uri.isascii() and "\\" not in uri) or _address(uri)[0] or os.path.lexists(uri):
        return uri
    forms = (unicodedata.normalize(form, path) for path in (uri, uri.replace("\\", "/")) for form in ("NFC", "NFD"))
    return next((form for form in forms if os.path.lexists(form)), uri)


def is_remote(uri: str) -> bool:
    """Whether a uri's bytes are fetched from a store, by ranges."""
    return _address(uri)[0] in TRANSPORTS


def is_web(uri: str) -> bool:
    """Whether a uri is one of http or https, which may hold secrets."""
    return _address(uri)[0] in ("http", "https")


def located(uri: str, params: Params) -> AnyPath:
    """The path behind a uri; an object is known to be there, a file is not.

    Raises:
        MediaError: DENIED or UNSUPPORTED, of an object what `checked_path` raises.
    """
    return _checked_remote(uri, params) if is_remote(uri) else local_path(uri)


def transport(uri: str) -> Any:
    """The module that fetches from the store of a remote uri; imported here, for most runs need none."""
    return importlib.import_module(TRANSPORTS[_address(uri)[0]])


def checked_path(uri: str, params: Params) -> AnyPath:
    """The path behind a uri, once it is known to be a readable, non-empty, regular file or an object, inside the roots.

    Raises:
        MediaError: DENIED, NOT_FOUND, EMPTY, UNREACHABLE or UNSUPPORTED.
    """
    if is_remote(uri):
        return _checked_remote(uri, params)
    path = local_path(uri)
    with _reading():
        if params.roots and not _inside(path, params.roots):
            raise MediaError("DENIED", "outside sources.roots")
    if WINDOWS.search(uri) and not os.path.lexists(path):
        raise MediaError("NOT_FOUND", "no such file; a path of Windows: write it as this machine has it")
    with _reading():
        info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):  # a FIFO would block for ever, /dev/zero would never end
        raise MediaError("NOT_FOUND", "not a regular file")
    if not os.access(path, os.R_OK):
        raise MediaError("NOT_FOUND", "may not be read")
    if info.st_size == 0:
        raise MediaError("EMPTY", "no bytes")
    return path


def own_path(uri: str, params: Params) -> AnyPath:
    """`checked_path` of a file that this output holds, which need not lie inside the roots."""
    return checked_path(uri, replace(params, roots=()))


def stated(path: AnyPath) -> Stat:
    """Size in bytes, and what changes when the file changes: here size and time of change in ns, at the cost of one stat."""
    if isinstance(path, RemotePath):
        return path.stat
    with _reading():
        info = os.stat(path)
    return Stat(info.st_size, f"{info.st_size}-{info.st_mtime_ns}")


def version(path: AnyPath) -> str:
    """What changes when the file does."""
    return stated(path).version


def changed_s(path: str) -> float:
    """When the file was last changed, seconds of Unix time."""
    return os.stat(path).st_mtime


def unchanged_path(uri: str, source_version: str, params: Params) -> AnyPath:
    """`checked_path` of a file that was ingested earlier.

    Raises:
        MediaError: CHANGED if its version is no longer the one ingested, and what `checked_path` raises.
    """
    path = checked_path(uri, params)
    if version(path) != source_version:
        raise MediaError("CHANGED", f"was {source_version} when ingested, is {version(path)}")
    return path


def content_tag(path: AnyPath) -> str:
    """Size, a hash of the first and last 64 KiB, and one of samples between them: equal files have equal tags anywhere.

    Raises:
        MediaError: the file cannot be read.
    """
    size = stated(path).size
    with _reading():
        with opened(path) as f:
            ends = hashlib.blake2b(f.read(SAMPLE_BYTES), digest_size=16)
            f.seek(max(0, size - SAMPLE_BYTES))
            ends.update(f.read(SAMPLE_BYTES))
        if size <= 2 * SAMPLE_BYTES:  # nothing lies between
            return f"{size}-{ends.hexdigest()}"
        middle = hashlib.blake2b(digest_size=8)
        for part in MIDDLE_PARTS:
            middle.update(peek(path, size * part // 4, MIDDLE_BYTES))
    return f"{size}-{ends.hexdigest()}-{middle.hexdigest()}"


def matches(tag: str, tags: Collection[str]) -> bool:
    """Whether a content tag is among `tags`; those of earlier releases lack the hash of the middle."""
    return tag in tags or "-".join(tag.split("-")[:2]) in tags


@contextmanager
def _reading() -> Iterator[None]:
    """Turn an error of a source, while it is examined or read, into MediaError."""
    try:
        yield
    except OSError as e:
        raise read_fault(e) from e
    except ValueError as e:
        raise MediaError("NOT_FOUND", f"no name that a file can have: {e}") from e


def video_id(uri: str, tag: str) -> str:
    """The same file at the same place has the same id in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{uri}#{tag}"))


def _checked_remote(uri: str, params: Params) -> RemotePath:
    climbs = is_web(uri) and CLIMBS.search(uri)  # which servers resolve
    if params.roots and (climbs or not any(uri.startswith(absolute(root).rstrip("/") + "/") for root in params.roots)):
        raise MediaError("DENIED", "outside sources.roots")
    store = transport(uri)
    path = RemotePath(uri, store.stat(uri, params), partial(store.fetch, params=params))
    if path.stat.size == 0:
        raise MediaError("EMPTY", "no bytes")
    if path.stat.size > params.max_bytes:
        raise MediaError("TOO_LARGE", f"{path.stat.size} bytes, over sources.max_bytes")
    return path


def _remote_uri(scheme: str, rest: str) -> str:
    if scheme in ("s3", "s3a"):
        return f"s3://{rest}"
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    return f"{scheme}://{user}{at}{host.lower()}{slash}{path}"


def _beside(folder: str, uri: str) -> str:
    """A uri relative to a folder of a store or server; `..` never leaves its bucket or host."""
    while uri.startswith(("./", "../")):
        step, _, uri = uri.partition("/")
        if step == ".." and folder.count("/") > 3:
            folder = folder.rstrip("/").rpartition("/")[0] + "/"
    return folder + uri


def _inside(path: str, roots: tuple[str, ...]) -> bool:
    real = os.path.realpath(path)
    return any(os.path.commonpath([real, os.path.realpath(root)]) == os.path.realpath(root) for root in roots)


def _address(uri: str) -> tuple[str, str]:
    """The scheme, empty for a path, and what follows it; other colons are part of a name."""
    found = SCHEME.match(uri)
    scheme = found["scheme"].lower() if found else ""
    if found and (found["slashes"] or scheme in ("file", "dbfs") or PROTOCOLS.fullmatch(scheme)):
        return scheme, uri[found.end() :]
    return "", uri
