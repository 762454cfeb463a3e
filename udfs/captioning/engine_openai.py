"""Generate text with an OpenAI-compatible endpoint, several requests at a time."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import openai
from openai import Omit, omit
from openai.types.shared_params.response_format_json_schema import JSONSchema, ResponseFormatJSONSchema

from udfs.captioning.requests import Answer, Endpoint, GenerationSettings, Request, Video
from udfs.core.errors import MediaError, RunError
from udfs.core.redaction import HIDDEN, without_secrets
from udfs.models.registry import MissingModelError

NO_KEY = "none"  # the client demands one
REFUSED = (400, 413, 415, 422)  # status codes of a faulty request; others mean the key, the address or the server
# So many requests in a row without an answer mean a limit of the endpoint that all of them exceed.
MANY = 20
MAX_TEXT = 500  # characters of what a server says
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")  # names of one parameter; some models take the second alone
SAMPLING = ("top_p", "temperature", "seed")  # models that reason take none of them, others no two at once
UNSUPPORTED = re.compile(r"support|both", re.IGNORECASE)  # said of a parameter that is not taken
log = logging.getLogger("reelmill")


class EndpointError(RunError):
    """An endpoint answers nothing: its address, the key or a setting is wrong, or it is down. The text is one line."""


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
class Form:
    """What requests call the limit of tokens, and which settings of sampling they leave to the endpoint."""

    token_limit: str = TOKEN_LIMITS[0]
    left_out: frozenset[str] = frozenset()

    def after(self, refusal: openai.BadRequestError) -> Form | None:
        """The form to try next; None where the refusal is about something else."""
        if self.token_limit == TOKEN_LIMITS[0] and names_token_limit(refusal):
            return replace(self, token_limit=TOKEN_LIMITS[1])
        text = status_text(refusal)
        named = (name for name in SAMPLING if re.search(rf"\b{name}\b", text) and UNSUPPORTED.search(text))
        name = next((name for name in named if name not in self.left_out), None)
        return replace(self, left_out=self.left_out | {name}) if name else None


class Engine:
    """A client, the settings of its requests, and what is known of the endpoint."""

    def __init__(self, client: openai.OpenAI, settings: GenerationSettings) -> None:
        self.client, self.settings = client, settings
        self._form = Form()
        self._has_answered = False
        self._unanswered = 0  # requests since the last answer

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """One answer per request, in order.

        BAD_OUTPUT for a request that the endpoint refuses, UNREACHABLE for one to which it gives no
        usable answer, however often it is asked.

        Raises:
            EndpointError: the endpoint answers none of these requests, nor a plain question, or none
                of MANY in a row. Once it has answered, its settings are right: a refusal then
                concerns the request alone.
        """
        with ThreadPoolExecutor(min(len(requests), self.settings.endpoint.concurrency)) as threads:
            answers = list(threads.map(self._ask, requests))
        failures = [answer for answer in answers if isinstance(answer, MediaError)]
        if len(failures) < len(answers):
            self._has_answered, self._unanswered = True, 0
        elif not self._has_answered or any(failure.code != "BAD_OUTPUT" for failure in failures):
            self._unanswered += len(failures)
            self._check_endpoint(requests[0], failures[0])
        return answers

    def _check_endpoint(self, request: Request, failure: MediaError) -> None:
        if self._unanswered >= MANY or isinstance(self._ask(plain_question(request)), MediaError):
            address = without_secrets(self.settings.endpoint.base_url)
            raise EndpointError(f"{address} answers no request: {failure.message}")

    def _ask(self, request: Request) -> Answer | MediaError:
        try:
            completion = self._completion(request)
        except openai.APIStatusError as e:
            if e.status_code in REFUSED:
                return MediaError("BAD_OUTPUT", f"the endpoint refused: {self._line(status_text(e))}")
            return MediaError("UNREACHABLE", f"the endpoint gave no answer: {self._line(status_text(e))}")
        except (openai.APIError, ValueError) as e:  # ValueError: the body is no whole JSON
            text = self._line(f"{e} {getattr(e, 'doc', e.__cause__) or ''}")
            return MediaError("UNREACHABLE", f"the endpoint gave no answer: {text}")
        answer = usable_answer(completion)
        if answer is None:
            return MediaError("UNREACHABLE", f"the endpoint gave no usable answer: {self._line(str(completion))}")
        return answer

    def _completion(self, request: Request) -> Any:
        """The endpoint's completion, in the form of request that it takes."""
        messages = [{"role": "user", "content": message_content(request, self.settings.endpoint.jpeg_quality)}]
        form, refusals = self._form, list[openai.BadRequestError]()
        while True:
            try:
                completion = self._create(messages, form)
            except openai.BadRequestError as e:
                refusals.append(e)
                if (other := form.after(e)) is None:  # the first says what is wrong with the limit
                    raise (refusals[0] if names_token_limit(e) else e) from None
                form = other
            else:
                self._take(form)
                return completion

    def _take(self, form: Form) -> None:
        """Send all further requests in a form; said once where that leaves out what the settings say."""
        if form.left_out - self._form.left_out:
            address = without_secrets(self.settings.endpoint.base_url)
            log.warning("%s: %s takes no %s: its own is used", address, self.settings.model, ", ".join(form.left_out))
        self._form = form

    def _create(self, messages: Any, form: Form) -> Any:
        sampling, limit = self.settings.sampling, self.settings.max_output_tokens
        return self.client.chat.completions.create(
            model=self.settings.model,
            messages=messages,
            max_tokens=limit if form.token_limit == "max_tokens" else omit,
            max_completion_tokens=limit if form.token_limit == "max_completion_tokens" else omit,
            temperature=omit if "temperature" in form.left_out else sampling.temperature,
            top_p=omit if "top_p" in form.left_out else sampling.top_p,
            seed=omit if "seed" in form.left_out else sampling.seed,
            response_format=self._response_format(),
            extra_body=self._vllm_parameters(),
        )

    def _line(self, text: str) -> str:
        """What a server says, in one line without the key, which servers repeat when they refuse it."""
        key = self.client.api_key
        text = without_secrets(text.replace(key, HIDDEN) if key != NO_KEY else text)
        return " ".join(text.split())[:MAX_TEXT]

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


def usable_answer(completion: Any) -> Answer | None:
    """The answer in what a server sent, which the client does not check; None if there is none."""
    try:
        choice = completion.choices[0]
        text = choice.message.content or ""
    except (AttributeError, LookupError, TypeError):
        return None
    if not isinstance(text, str):
        return None
    usage = getattr(completion, "usage", None)
    tokens_in, tokens_out = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
    return Answer(text, tokens_in, tokens_out, getattr(choice, "finish_reason", None) or "stop")


def status_text(error: openai.APIStatusError) -> str:
    """The status of a server's answer, and what it says."""
    body = error.body
    text = body.get("message", body) if isinstance(body, Mapping) else body
    return f"{error.status_code} {text or ''}"


def names_token_limit(error: openai.APIStatusError) -> bool:
    """Whether an endpoint refuses the limit of tokens, or its name."""
    return any(name in status_text(error) for name in TOKEN_LIMITS)


def plain_question(request: Request) -> Request:
    """A question that an endpoint refuses for its settings alone: with two gray frames if the request has any."""
    gray = np.full((2, 112, 112, 3), 128, np.uint8)
    return Request("Answer with one word: yes.", request.video and Video(gray, (0, 1), 1.0, 2))


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
