"""An OpenAI endpoint on loopback that gives prepared replies and records its requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.loopback import running


@dataclass(frozen=True)
class Reply:
    """A prepared reply: its status, headers, delay and text."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    text: str | None = "A boat."
    finish_reason: str = "stop"
    error: str = ""  # what it says with another status than 200
    body: str | None = None  # sent as it is, in place of all that


REFUSE = {"refuse": Reply(400)}


@dataclass
class Server:
    """A running endpoint: its requests, their times, and the most at once."""

    url: str
    replies: list[Reply]
    marked: Mapping[str, Reply]  # replies to the prompts that contain a word
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        """Record a request and return its reply; the last reply repeats."""
        with self.lock:
            self.asked.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            messages = json.dumps(body["messages"])
            for word, reply in self.marked.items():
                if word in messages:
                    return reply
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def end(self) -> None:
        """Record that a request was answered."""
        with self.lock:
            self.under_way -= 1


@contextmanager
def serving(*replies: Reply, marked: Mapping[str, Reply] = REFUSE) -> Iterator[Server]:
    """A server on a free port of this machine for the length of the block.

    A prompt that contains a word of `marked` gets the reply of that word, any other the next of `replies`.
    """
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    with running(http) as address:
        http.server = server = Server(f"http://{address}/v1", list(replies), marked)  # type: ignore[attr-defined]
        yield server


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Server = self.server.server  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        reply = server.begin(body, {name.lower(): value for name, value in self.headers.items()})
        time.sleep(reply.after_s)
        server.end()
        failure = {"error": {"message": reply.error or f"status {reply.status}"}}
        content = reply.body or json.dumps(_completion(reply, body) if reply.status == 200 else failure)
        try:
            self.send_response(reply.status)
            headers = {"content-type": "application/json", "content-length": str(len(content))} | reply.headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content.encode())
        except BrokenPipeError:
            pass  # the client did not wait

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a test reports what went wrong."""


def _completion(reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
    }
