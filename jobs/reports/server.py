"""The server of `reelmill ui`: the page, its media files, and answers in JSON, for who has the token."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from jobs.config.errors import CommandError
from jobs.queries.dialect import UntranslatedError
from jobs.reports.labels import Label
from jobs.reports.live import Library
from udfs.core.errors import MediaError, StoreError
from udfs.storage import media_store
from udfs.storage.uris import is_remote, local_path

LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
COOKIE = "reelmill"
MEDIA = re.compile(r"(?P<kind>previews|clips)/[\w-]{2}/[\w-]+\.(?P<suffix>webp|mp4)")  # the only files that are served
TYPES = {"webp": "image/webp", "mp4": "video/mp4"}
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
PART_BYTES = 1 << 20
MAX_BODY_BYTES = 1 << 16
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Guard:
    """Who may ask: a page of this server, in a browser that gave the token."""

    token: str
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))  # what a browser with the token gets

    async def __call__(self, request: Request, answer: Answer) -> Response:
        response = await self._answered(request, answer)
        response.headers.update(HEADERS)
        return response

    async def _answered(self, request: Request, answer: Answer) -> Response:
        if not _is_own_page(request):
            return PlainTextResponse("another page may not ask this", 403)
        if not self._knows(request.cookies.get(_cookie(request), ""), self.session):
            return self._admitted(request)
        return await answer(request)

    def _admitted(self, request: Request) -> Response:
        """A session for who gives the token."""
        if not self._knows(request.query_params.get("token", ""), self.token):
            return PlainTextResponse("open this page with ?token=...", 401)
        response = RedirectResponse("/", 303)
        response.set_cookie(_cookie(request), self.session, httponly=True, samesite="strict")
        return response

    @staticmethod
    def _knows(given: str, secret: str) -> bool:
        digests = (hashlib.sha256(text.encode(errors="replace")).digest() for text in (given, secret))
        return secrets.compare_digest(*digests)


def _cookie(request: Request) -> str:
    """The name of the cookie: browsers send those of one port to every other of the same host."""
    return f"{COOKIE}-{request.scope['server'][1]}"


def _is_own_page(request: Request) -> bool:
    """Whether a request comes from a page of this server, or from somebody who opens the page."""
    site = request.headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none") and (request.method, request.url.path) != ("GET", "/"):
        return False
    if request.method == "GET":
        return True
    is_json = request.headers.get("content-type", "").partition(";")[0] == "application/json"
    origin = request.headers.get("origin")
    return is_json and (origin is None or urlsplit(origin).netloc == request.headers.get("host"))


def app(library: Library, hosts: tuple[str, ...], token: str) -> Starlette:
    """The application; it answers requests to these host names, of browsers that gave the token."""

    async def page(request: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(library.page), headers={"Cache-Control": "no-store"})

    async def media(request: Request) -> Response:
        return await run_in_threadpool(_media, library, request)

    routes = [
        Route("/", page),
        Route("/media/{path:path}", media),
        Route("/counts", _json(lambda body: library.counts(body.get("moves") or {})), methods=["POST"]),
        Route("/clips", _json(library.clips), methods=["POST"]),
        Route("/labels", _json(lambda body: library.labels_of(str(body.get("clip_id")))), methods=["POST"]),
        Route("/label", _json(lambda body: _label(library, body)), methods=["POST"]),
    ]
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=[*hosts]),  # a name of elsewhere may lead to loopback
        Middleware(BaseHTTPMiddleware, dispatch=Guard(token)),
        Middleware(GZipMiddleware),
    ]
    return Starlette(routes=routes, middleware=middleware)


def _json(answer: Callable[[dict[str, Any]], Any]) -> Answer:
    """A handler of JSON; what cannot be answered is one line with status 400."""

    async def handle(request: Request) -> Response:
        content = await request.body()
        if len(content) > MAX_BODY_BYTES:
            return PlainTextResponse("too long", 413)
        try:
            body = json.loads(content)
            if not isinstance(body, dict):
                return PlainTextResponse("not a JSON object", 400)
            return JSONResponse(await run_in_threadpool(answer, body))
        except json.JSONDecodeError:
            return PlainTextResponse("not JSON", 400)
        except (CommandError, UntranslatedError) as e:
            return PlainTextResponse(str(e), 400)

    return handle


def _label(library: Library, body: dict[str, Any]) -> Any:
    if library.is_read_only:
        raise CommandError("labels cannot be given here: the server was started with --read-only")
    label = Label(*(str(body.get(name) or "").strip() for name in Label._fields))
    return library.label(label, remove=bool(body.get("remove")))


def _media(library: Library, request: Request) -> Response:
    """A preview or clip, whole or the part that a player asks for."""
    if (match := MEDIA.fullmatch(request.path_params["path"])) is None:
        return PlainTextResponse("no such file", 404)
    uri, type_ = f"{library.output}/media/{match[0]}", TYPES[match["suffix"]]
    try:
        size = media_store.size(uri, library.sources)
        if size is None:
            return PlainTextResponse("no such file", 404)
        if not is_remote(uri):
            path = os.path.realpath(local_path(uri))
            if not path.startswith(os.path.realpath(local_path(f"{library.output}/media")) + os.sep):
                return PlainTextResponse("no such file", 404)  # a link that leads elsewhere
            return FileResponse(path, media_type=type_)
        return _remote(uri, size, type_, request, library)
    except (MediaError, StoreError) as e:
        return PlainTextResponse(getattr(e, "message", str(e)), 502)


def _remote(uri: str, size: int, type_: str, request: Request, library: Library) -> Response:
    """A file of a store, in parts as they are read."""
    part = RANGE.fullmatch(request.headers.get("range", ""))
    start = int(part[1]) if part else 0
    end = min(int(part[2]) + 1, size) if part and part[2] else size
    if start >= size or start >= end:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})

    def read() -> Iterator[bytes]:
        with media_store.open_uri(uri, library.sources) as file:
            file.seek(start)
            left = end - start
            while left and (content := file.read(min(PART_BYTES, left))):
                left -= len(content)
                yield content

    headers = {"Content-Length": str(end - start), "Accept-Ranges": "bytes"}
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingResponse(read(), 206 if part else 200, headers, type_)
