"""Generate text with an OpenAI-compatible endpoint, several requests at a time."""

from __future__ import annotations

import base64
import json
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
from openai import Omit, omit
from openai.types.shared_params.response_format_json_schema import JSONSchema, ResponseFormatJSONSchema

from udfs.captioning.requests import Answer, Endpoint, GenerationSettings, Request, Video
from udfs.core.errors import MediaError
from udfs.core.redaction import HIDDEN, without_secrets
from udfs.models.registry import MissingModelError

NO_KEY = "none"  # the client demands one
REFUSED = (400, 413, 415, 422)  # status codes of a faulty request; others mean the key, the address or the server


def load(settings: GenerationSettings) -> Engine:
    """A client of the endpoint; sends nothing yet.

    Raises:
        MissingModelError: the environment variable of the key is not set on this worker.
    """
    endpoint = settings.endpoint
    rate_limit = RateLimit(endpoint.requests_per_minute)
    client = openai.OpenAI(
        base_url=endpoint.base_url,
        api_key=_api_key(endpoint),
        timeout=endpoint.timeout_s,
        max_retries=endpoint.max_retries,  # with growing pauses, or those of the server's Retry-After
        # Called for every request that is sent, so that retries count, too.
        http_client=openai.DefaultHttpxClient(event_hooks={"request": [lambda request: rate_limit.wait()]}),
    )
    return Engine(client, settings)


class RateLimit:
    """Lets callers pass at even intervals, so many per minute; 0: without waiting."""

    def __init__(self, per_minute: float) -> None:
        self.interval_s = 60 / per_minute if per_minute else 0.0
        self._lock, self._next_s = threading.Lock(), 0.0

    def wait(self) -> None:
        """Return when it is this caller's turn."""
        with self._lock:
            now = time.monotonic()
            turn_s = max(now, self._next_s)
            self._next_s = turn_s + self.interval_s
        time.sleep(turn_s - now)


@dataclass(frozen=True)
class Engine:
    """A client, and the settings of its requests."""

    client: openai.OpenAI
    settings: GenerationSettings

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """One answer per request, in order; BAD_OUTPUT for a request that the endpoint refuses.

        Raises:
            openai.OpenAIError: the endpoint does not answer, or refuses the key or the address,
                after all retries.
        """
        with ThreadPoolExecutor(min(len(requests), self.settings.endpoint.concurrency)) as threads:
            return list(threads.map(self._ask, requests))

    def _ask(self, request: Request) -> Answer | MediaError:
        sampling = self.settings.sampling
        try:
            completion = self.client.chat.completions.create(
                model=self.settings.model,
                messages=[{"role": "user", "content": message_content(request, self.settings.endpoint.jpeg_quality)}],
                max_tokens=self.settings.max_output_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=sampling.seed,
                response_format=self._response_format(),
                extra_body=self._vllm_parameters(),
            )
        except openai.APIStatusError as e:
            message = self._without_key(e.message)  # servers repeat the key that they refuse
            if e.status_code not in REFUSED:
                raise type(e)(message, response=e.response, body=None) from None
            return MediaError("BAD_OUTPUT", f"the endpoint refused: {e.status_code} {message[:500]}")
        choice, usage = completion.choices[0], completion.usage
        tokens_in, tokens_out = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
        return Answer(choice.message.content or "", tokens_in, tokens_out, choice.finish_reason)

    def _without_key(self, text: str) -> str:
        key = self.client.api_key
        return without_secrets(text.replace(key, HIDDEN) if key != NO_KEY else text)

    def _response_format(self) -> ResponseFormatJSONSchema | Omit:
        if not self.settings.answer_schema:
            return omit
        schema = JSONSchema(name="answer", schema=json.loads(self.settings.answer_schema), strict=True)
        return ResponseFormatJSONSchema(type="json_schema", json_schema=schema)

    def _vllm_parameters(self) -> dict[str, Any]:
        if not self.settings.vllm_endpoint:
            return {}  # other servers refuse unknown parameters
        return {
            "repetition_penalty": self.settings.sampling.repetition_penalty,
            "chat_template_kwargs": {"enable_thinking": False},
        }


def message_content(request: Request, jpeg_quality: int) -> Any:
    """The content of a message: the times of the frames, the frames, and the prompt."""
    if request.video is None:
        return request.prompt
    urls = [data_url(picture, jpeg_quality) for picture in request.video.pictures]
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"type": "text", "text": frame_times(request.video)}, *pictures, {"type": "text", "text": request.prompt}]


def frame_times(video: Video) -> str:
    """A sentence that says that the pictures are frames of one video, and at which seconds."""
    seconds = ", ".join(f"{number / video.framerate:.1f}" for number in video.frame_numbers)
    return f"These {len(video.frame_numbers)} pictures are frames of one video, at the seconds {seconds}."


def data_url(picture: np.ndarray[Any, Any], quality: int) -> str:
    """A picture, height x width x 3 of RGB, as a JPEG in a URL."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _api_key(endpoint: Endpoint) -> str:
    if not endpoint.api_key_env:
        return NO_KEY
    key = os.environ.get(endpoint.api_key_env)
    if not key:
        raise MissingModelError(f"the environment variable {endpoint.api_key_env} is not set on {os.uname().nodename}")
    return key
