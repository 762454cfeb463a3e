"""Requests to a text-generating model, its answers, and the settings of generation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from udfs.core.errors import MediaError
from udfs.core.user_code import FunctionName
from udfs.frames.extract import Pictures

EngineName = Literal["transformers", "vllm", "openai"] | FunctionName
Dtype = Literal["float32", "float16"]


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Sampling:
    """[caption.sampling], [enhance.sampling]: how the next token is chosen."""

    temperature: Annotated[float, Field(ge=0, le=2, description="0: always the likeliest token")] = 0.1
    top_p: Annotated[float, Field(gt=0, le=1, description="share of the likeliest tokens to choose from")] = 0.001
    repetition_penalty: Annotated[
        float, Field(gt=0, le=2, description="above 1: tokens that occurred before become less likely")
    ] = 1.05
    seed: Annotated[int, Field(ge=0, lt=2**31, description="of the random choice, the same for every batch")] = 0


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Endpoint:
    """[caption.endpoint], [enhance.endpoint]: the server of engine = openai, and how many requests it may get."""

    base_url: Annotated[str, Field(pattern=r"^(https?://[^\s@]+)?$", description="such as http://host:8000/v1")] = ""
    api_key_env: Annotated[
        str, Field(pattern=r"^\w*$", description="environment variable with the key; empty: no key")
    ] = ""
    concurrency: Annotated[
        int, Field(ge=1, le=1024, description="requests at once per Python worker, within a batch")
    ] = 8
    requests_per_minute: Annotated[
        float, Field(ge=0, description="per Python worker, retries included; 0: no limit")
    ] = 0.0
    timeout_s: Annotated[float, Field(gt=0, description="seconds for one attempt")] = 120.0
    max_retries: Annotated[
        int, Field(ge=0, le=100, description="after 408, 409, 429, 5xx, a timeout or a lost connection")
    ] = 6
    jpeg_quality: Annotated[int, Field(ge=1, le=100, description="of the frames in a request")] = 90


@dataclass(frozen=True)
class GenerationSettings:
    """What an engine needs to know beside the device."""

    engine: EngineName
    model: str  # a known name, a folder or org/name@commit; or the endpoint's name of it
    max_output_tokens: int = 512
    answer_schema: str = ""  # JSON schema that answers keep to
    fp8: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    endpoint: Endpoint = field(default_factory=Endpoint)
    vllm_endpoint: bool = False  # the endpoint accepts vLLM's own parameters
    resized: bool = True  # frames arrive in their final size
    pixel_dtype: Dtype = "float32"  # of the pixels that go to the GPU
    mm_cache: bool = True  # vLLM's cache of processed frames
    gpus: float = 0.0  # per task
    gpu_addresses: tuple[str, ...] = ()  # of a task with several GPUs


@dataclass(frozen=True)
class Video:
    """Sampled frames of a stretch of video."""

    pictures: Pictures
    frame_numbers: tuple[int, ...]  # within the stretch, whose first frame is 0
    framerate: float
    num_frames: int  # of the stretch


@dataclass(frozen=True)
class Request:
    """A prompt, with or without a video."""

    prompt: str
    video: Video | None = None


@dataclass(frozen=True)
class Answer:
    """A model's answer. Counts of tokens are None where an endpoint does not report them."""

    text: str
    tokens_in: int | None
    tokens_out: int | None
    finish_reason: str  # stop or length; endpoints have more, such as content_filter


class Engine(Protocol):
    """A loaded model, or a client of an endpoint."""

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """One answer per request, in order; a MediaError for a request that the model refuses."""
        ...


def chat_prompt(processor: Any, request: Request) -> str:
    """The prompt in the chat template of a model's processor or tokenizer, with its thinking mode off."""
    content: Any = [{"type": "video"}, {"type": "text", "text": request.prompt}] if request.video else request.prompt
    thinking = {"enable_thinking": False} if "enable_thinking" in str(processor.chat_template) else {}
    messages = [{"role": "user", "content": content}]
    return str(processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **thinking))


def sum_tokens(counts: Iterable[int | None]) -> int | None:
    """The sum of the counts; None if any of them is unknown."""
    numbers = list(counts)
    return None if None in numbers else sum(number for number in numbers if number is not None)
