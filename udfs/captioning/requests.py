"""How a model is to speak -> its engine, which turns requests of text and frames into answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Protocol

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from udfs.core.errors import MediaError
from udfs.core.gpu_device import Task
from udfs.frames.extract import Pictures
from udfs.models import checkpoints, hub, registry
from udfs.models.registry import MissingModelError

EngineName = Literal["transformers", "vllm", "openai"]
Dtype = Literal["float32", "float16"]
NO_FP8 = {
    "transformers": "transformers would fetch code for 8-bit weights from the hub, of no fixed revision",
    "openai": "how an endpoint holds its weights is its own setting",
}


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Sampling:
    """[caption.sampling], [enhance.sampling]: how the next token is chosen."""

    temperature: Annotated[float, Field(ge=0, le=2, description="0: always the likeliest token")] = 0.1
    top_p: Annotated[float, Field(gt=0, le=1, description="share of the likeliest tokens to choose from")] = 0.001
    repetition_penalty: Annotated[float, Field(gt=0, le=2, description="above 1: tokens that were there get less likely")] = 1.05
    seed: Annotated[int, Field(ge=0, lt=2**31, description="of the choice, the same for every batch")] = 0


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Endpoint:
    """[caption.endpoint], [enhance.endpoint]: where engine = openai finds its model, and how hard it may knock."""

    base_url: Annotated[str, Field(pattern=r"^(https?://[^\s@]+)?$", description="such as http://host:8000/v1")] = ""
    api_key_env: Annotated[str, Field(pattern=r"^\w*$", description="variable that holds the key; empty: none")] = ""
    concurrency: Annotated[int, Field(ge=1, le=1024, description="requests at once a Python worker, of those of a batch")] = 8
    requests_per_minute: Annotated[float, Field(ge=0, description="of a Python worker, retries among them; 0: no limit")] = 0.0
    timeout_s: Annotated[float, Field(gt=0, description="for one try")] = 120.0
    max_retries: Annotated[int, Field(ge=0, le=100, description="after 408, 409, 429, 5xx, a timeout or a broken connection")] = 6
    jpeg_quality: Annotated[int, Field(ge=1, le=100, description="of the frames that are sent")] = 90


@dataclass(frozen=True)
class Speech:
    """Everything that an engine needs to know beside the device."""

    engine: EngineName
    model: str  # a name or folder of checkpoints, or what the endpoint calls it
    max_output_tokens: int = 512
    fp8: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    endpoint: Endpoint = field(default_factory=Endpoint)
    vllm_endpoint: bool = False  # the endpoint takes vLLM's own parameters
    resized: bool = True  # frames come in their final size
    pixel_dtype: Dtype = "float32"  # of what goes to the GPU
    mm_cache: bool = True  # vLLM's, of processed frames
    gpus: float = 0.0
    gpu_addresses: tuple[str, ...] = ()  # of a task that has several


@dataclass(frozen=True)
class Video:
    """Frames of a stretch of video: which of its frames they are, the first being 0, of how many at which rate."""

    pictures: Pictures
    frame_numbers: tuple[int, ...]
    framerate: float
    num_frames: int


@dataclass(frozen=True)
class Request:
    """What a model is asked."""

    prompt: str
    video: Video | None = None


@dataclass(frozen=True)
class Answer:
    """What a model said; an endpoint need not count tokens."""

    text: str
    tokens_in: int | None
    tokens_out: int | None
    finish_reason: str  # stop or length


class Engine(Protocol):
    """A loaded model, or the way to one."""

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """An answer a request, in order; a MediaError stands for a request that the model refuses."""
        ...


def on_task(speech: Speech, task: Task) -> Speech:
    """The same with the addresses of a task's GPUs, where it has several."""
    return replace(speech, gpu_addresses=task.gpus) if speech.gpus > 1 else speech


def load(speech: Speech, models: registry.Params, device: str) -> Engine:
    """The engine of the settings, its model loaded.

    Raises:
        MissingModelError: the model is not there, or cannot run here as asked.
    """
    if speech.engine == "openai":
        from udfs.captioning import engine_openai

        return engine_openai.load(speech)
    folder, remote_code = hub.allowed(speech.model, models), registry.may_run_code(speech.model, models)
    if speech.engine == "vllm":
        from udfs.captioning import engine_vllm

        return engine_vllm.load(folder, speech, device, remote_code)
    from udfs.captioning import engine_transformers

    return engine_transformers.load(folder, speech, device, remote_code)


def check(section: str, speech: Speech, models: registry.Params) -> None:
    """What would stop a worker, found before Spark starts; `section` is where its settings stand.

    Raises:
        MissingModelError: no endpoint is named, or the model is not there, may not run, or cannot run as asked.
    """
    if speech.fp8 and speech.engine != "vllm":
        raise MissingModelError(f"{section}.fp8 needs {section}.engine = vllm: {NO_FP8[speech.engine]}")
    if speech.engine == "openai":
        if not speech.endpoint.base_url:
            raise MissingModelError(f"{section}.engine = openai needs {section}.endpoint.base_url, such as http://host:8000/v1")
        return
    checkpoints.check(speech.model, models)
    if speech.engine == "vllm" and (models.device == "cpu" or speech.gpus == 0):
        raise MissingModelError(f"{section}.engine = vllm needs a GPU: give its tasks one with --set {section}.resources.gpus=1")


def chat(processor: Any, request: Request) -> str:
    """The prompt as the template of a model's processor or tokenizer wants it, ready to be answered, without thinking aloud."""
    content: Any = [{"type": "video"}, {"type": "text", "text": request.prompt}] if request.video else request.prompt
    thinking = {"enable_thinking": False} if "enable_thinking" in str(processor.chat_template) else {}
    messages = [{"role": "user", "content": content}]
    return str(processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **thinking))


def identity(speech: Speech) -> str:
    """What a row says of the model: repository and revision, folder and a hash of it, or the name at the endpoint."""
    if speech.engine == "openai":
        return speech.model
    known = checkpoints.identity(speech.model)
    if not registry.is_local(speech.model):
        return known
    return f"{speech.model.rstrip('/').rpartition('/')[2]}@{known}"


def total(counts: Iterable[int | None]) -> int | None:
    """The sum of tokens; None if any count is not known."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)
