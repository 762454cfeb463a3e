"""Parse and normalize URIs: a path, file:, dbfs:, s3:// or http(s)://."""

from __future__ import annotations

import os
import re
import unicodedata
from urllib.parse import quote, unquote

from udfs.core.errors import MediaError
from udfs.core.signed_addresses import unsigned

SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)(,[^:/]*)?:(?P<slashes>//)?", re.IGNORECASE)
# FFmpeg's own protocols: other machines, pipes, and files that name parts of other files.
PROTOCOLS = re.compile(
    "async|bluray|cache|concatf?|crypto|data|fd|ffrtmp.*|ftp|gophers?|hls|httpproxy|icecast|ip[fn]s|md5|mms[ht]|pipe|prompeg|rtmp.*|"
    "rtp|rtsp|sctp|sftp|smb|srtp?|subfile|tcp|tee|tls|udp|udplite|unix|zmq"
)
WEB_ADDRESS = re.compile(r"(?P<scheme>https?://)(?:[^/?#]*@)?(?P<rest>[^?#]*)", re.IGNORECASE)
S3 = ("s3", "s3a")
WEB = ("http", "https")
# fmt: off
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mp4v", ".f4v", ".mov", ".qt", ".mqv", ".3gp", ".3gpp", ".3g2", ".3gp2", ".mj2", ".ismv",
    ".insv", ".lrv", ".360",  # MP4 files of cameras
    ".mkv", ".mk3d", ".webm", ".avi", ".divx", ".xvid", ".amv", ".flv", ".wmv", ".asf", ".wm", ".dvr-ms",
    ".ogv", ".ogm", ".ogx", ".mpg", ".mpeg", ".mpe", ".m2p", ".vob", ".vro", ".evo", ".mod",
    ".ts", ".mts", ".m2ts", ".m2t", ".trp", ".tp", ".tod", ".mpv", ".m1v", ".m2v", ".m4e",
    ".dv", ".dif", ".mxf", ".gxf", ".rm", ".rmvb", ".rv", ".wtv", ".nut", ".y4m", ".ivf",
    ".dav", ".264", ".h264", ".avc", ".265", ".h265", ".hevc",
)
# fmt: on
# Characters around a URI that are no part of it: blanks, line ends, byte order marks, zero-width characters.
EDGES = " \t\r\n\v\f\u00a0\u200b\u200c\u200d\u2060\ufeff"


def local_path(uri: str) -> str:
    """The absolute path that a URI names; percent escapes are decoded only behind `file:`.

    Raises:
        MediaError: DENIED for one of FFmpeg's own protocols or a file of another host, UNSUPPORTED
            for another scheme.
    """
    scheme, rest = split_scheme(uri)
    if not scheme:
        return os.path.abspath(uri)
    if PROTOCOLS.fullmatch(scheme):
        raise MediaError("DENIED", f"{scheme}: addresses are never opened")
    if scheme == "dbfs":  # Databricks mounts volumes by their own names, and everything else under /dbfs
        path = rest.lstrip("/")
        return os.path.abspath(f"/{path}" if path.startswith("Volumes/") else f"/dbfs/{path}")
    if scheme != "file":
        raise MediaError("UNSUPPORTED", f"no reader for {scheme}:// addresses")
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost"):
        raise MediaError("DENIED", f"a file of another host: {host}")
    return os.path.abspath(unquote(slash + path, errors="surrogateescape"))


def absolute_uri(uri: str, folder: str = "") -> str:
    """The normal form of a URI, which means the same in every process.

    For a file it is the absolute path without `.`, `..` and double slashes, or file:// as in
    `path_uri`. Keys of S3 and paths of web servers stay; only the scheme and the host are
    normalized. A relative URI starts at `folder`, which may be remote. A URI that cannot be
    parsed stays as it is and is refused later.
    """
    uri = uri.strip(EDGES)
    scheme, rest = split_scheme(uri)
    if scheme in ("file", "dbfs"):
        try:
            return path_uri(local_path(uri))
        except MediaError:
            return uri
    if scheme in (*S3, *WEB):
        return _remote_uri(scheme, rest)
    if scheme:
        return uri
    if is_remote(folder) and not uri.startswith("/"):
        return _resolve(_remote_uri(*split_scheme(folder)), uri)
    return path_uri(os.path.abspath(os.path.join(folder, uri)))


def path_uri(path: str) -> str:
    """The URI of an absolute path: the path, or file:// if it is not UTF-8 or begins or ends with one of EDGES."""
    path = "/" + path.lstrip("/")  # POSIX keeps two slashes at the beginning
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"file://{quote(path.encode(errors='surrogateescape'))}"
    return path if path == path.strip(EDGES) else f"file://{quote(path)}"


def existing_uri(uri: str) -> str:
    """The URI, or if no such file exists, another spelling of its path under which one does.

    macOS writes an accented letter as two characters, other systems as one; Windows paths have
    backslashes.
    """
    if (uri.isascii() and "\\" not in uri) or split_scheme(uri)[0] or os.path.lexists(uri):
        return uri
    forms = (unicodedata.normalize(form, path) for path in (uri, uri.replace("\\", "/")) for form in ("NFC", "NFD"))
    return next((form for form in forms if os.path.lexists(form)), uri)


def is_remote(uri: str) -> bool:
    """Whether the bytes behind a URI are on S3 or a web server."""
    return split_scheme(uri)[0] in (*S3, *WEB)


def is_web(uri: str) -> bool:
    """Whether a URI begins with http:// or https://.

    Such an address may contain a password or a signature.
    """
    return split_scheme(uri)[0] in WEB


def redacted(uri: str) -> str:
    """A URI for people to read: a web address without user, password, query and fragment; others without a password."""
    match = WEB_ADDRESS.match(uri)
    return unsigned(uri) if match is None else match["scheme"] + match["rest"]


def split_scheme(uri: str) -> tuple[str, str]:
    """The scheme in lower case, empty for a path, and the rest; a colon elsewhere is part of a name."""
    match = SCHEME.match(uri)
    scheme = match["scheme"].lower() if match else ""
    if match and (match["slashes"] or scheme in ("file", "dbfs") or PROTOCOLS.fullmatch(scheme)):
        return scheme, uri[match.end() :]
    return "", uri


def _remote_uri(scheme: str, rest: str) -> str:
    if scheme in S3:
        return f"s3://{rest}"
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    return f"{scheme}://{user}{at}{host.lower()}{slash}{path}"


def _resolve(folder: str, uri: str) -> str:
    """A URI relative to a remote folder; `..` never leaves its bucket or host."""
    while uri.startswith(("./", "../")):
        step, _, uri = uri.partition("/")
        if step == ".." and folder.count("/") > 3:
            folder = folder.rstrip("/").rpartition("/")[0] + "/"
    return folder + uri
