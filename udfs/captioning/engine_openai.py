"""An address -> an engine that asks an OpenAI-compatible endpoint, several requests at a time."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import openai

from udfs.captioning.requests import Answer, Endpoint, Request, Speech, Video
from udfs.core.errors import MediaError
from udfs.models.registry import MissingModelError

REFUSED = (400, 413, 415, 422)  # what is wrong with one request; other errors are those of the key, the address or the server


def load(speech: Speech) -> Engine:
    """A client of the endpoint; nothing is asked yet.

    Raises:
        MissingModelError: the environment variable that should hold the key is not set on this worker.
    """
    at = speech.endpoint
    pace = Pace(at.requests_per_minute)
    client = openai.OpenAI(
        base_url=at.base_url,
        api_key=_key(at),
        timeout=at.timeout_s,
        max_retries=at.max_retries,  # with growing pauses, or those that the server's Retry-After asks for
        # On every request that leaves, so that retries count too.
        http_client=openai.DefaultHttpxClient(event_hooks={"request": [lambda request: pace.wait()]}),
    )
    return Engine(client, speech)


class Pace:
    """Lets one through at a time, so many a minute; 0: all at once."""

    def __init__(self, per_minute: float) -> None:
        self.gap_s = 60 / per_minute if per_minute else 0.0
        self._lock, self._next_s = threading.Lock(), 0.0

    def wait(self) -> None:
        """Return when it is this caller's turn."""
        with self._lock:
            now = time.monotonic()
            turn_s = max(now, self._next_s)
            self._next_s = turn_s + self.gap_s
        time.sleep(turn_s - now)


@dataclass(frozen=True)
class Engine:
    """A client and what it asks for."""

    client: openai.OpenAI
    speech: Speech

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """An answer a request, in order; BAD_OUTPUT for a request that the endpoint refuses.

        Raises:
            openai.OpenAIError: the endpoint is away, or wants another key or address; all tries were in vain.
        """
        with ThreadPoolExecutor(min(len(requests), self.speech.endpoint.concurrency)) as threads:
            return list(threads.map(self._ask, requests))

    def _ask(self, request: Request) -> Answer | MediaError:
        wanted = self.speech.sampling
        try:
            said = self.client.chat.completions.create(
                model=self.speech.model,
                messages=[{"role": "user", "content": content(request, self.speech.endpoint.jpeg_quality)}],
                max_tokens=self.speech.max_output_tokens,
                temperature=wanted.temperature,
                top_p=wanted.top_p,
                seed=wanted.seed,
                extra_body=self._extra(),
            )
        except openai.APIStatusError as e:
            if e.status_code not in REFUSED:
                raise
            return MediaError("BAD_OUTPUT", f"the endpoint refused: {e.status_code} {e.message[:500]}")
        choice, used = said.choices[0], said.usage
        read, written = (used.prompt_tokens, used.completion_tokens) if used else (None, None)
        return Answer(choice.message.content or "", read, written, choice.finish_reason)

    def _extra(self) -> dict[str, Any]:
        if not self.speech.vllm_endpoint:
            return {}  # others refuse what they do not know
        return {
            "repetition_penalty": self.speech.sampling.repetition_penalty,
            "chat_template_kwargs": {"enable_thinking": False},
        }


def content(request: Request, jpeg_quality: int) -> Any:
    """A request as the parts of a message: the times of the frames, the frames, the prompt."""
    if request.video is None:
        return request.prompt
    urls = [data_url(picture, jpeg_quality) for picture in request.video.pictures]
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"type": "text", "text": times(request.video)}, *pictures, {"type": "text", "text": request.prompt}]


def times(video: Video) -> str:
    """What single pictures do not tell: that they are one video, and when each is shown."""
    seconds = ", ".join(f"{number / video.framerate:.1f}" for number in video.frame_numbers)
    return f"These {len(video.frame_numbers)} pictures are frames of one video, at the seconds {seconds}."


def data_url(picture: np.ndarray[Any, Any], quality: int) -> str:
    """A picture, height x width x 3 of RGB, as a JPEG in a URL."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _key(at: Endpoint) -> str:
    if not at.api_key_env:
        return "none"  # the client insists on one
    key = os.environ.get(at.api_key_env)
    if not key:
        raise MissingModelError(f"the environment variable {at.api_key_env} is not set on {os.uname().nodename}")
    return key
