"""caption: frames of each window of a clip -> a description of it, if wanted a second one that has seen the first."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Annotated

import pandas as pd
from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from schemas.captions import TABLE
from udfs.captioning import prompts, quality_checks, requests
from udfs.captioning.prompts import Variant
from udfs.captioning.requests import Answer, Dtype, Endpoint, Engine, EngineName, Request, Sampling, Speech, Video
from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT, Resources
from udfs.frames import extract, window_frames, windows
from udfs.frames.windows import Window
from udfs.models import checkpoints
from udfs.models.checkpoints import MissingModelError
from udfs.runtime.batching import Env, Row
from udfs.runtime.inference import Call, infer

COLUMNS = [name for name in TABLE.schema.names if name not in ("fingerprint", "run_id")]
ALIASES = {"qwen": "qwen2.5"}
ENDPOINT_STEP = 28  # pixels; an endpoint scales as it likes


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[caption]"""

    engine: Annotated[EngineName, Field(description="transformers, vllm if installed, or openai: an endpoint")] = "transformers"
    model_variant: Annotated[
        str, Field(min_length=1, description="qwen2.5 (or qwen), qwen3, a folder, org/name@commit, or as the endpoint calls it")
    ] = "qwen"
    prompt_variant: Annotated[Variant, Field(description="default, av: driving, av-surveillance: a fixed camera")] = "default"
    prompt_text: Annotated[str, Field(description="a prompt of your own in place of the variant's")] = ""
    sampling_fps: Annotated[float, Field(gt=0, le=1000, description="frames shown to the model a second")] = 2.0
    min_frame_tokens: Annotated[int, Field(ge=1, description="of a frame's size, at 28 x 28 or 32 x 32 pixels a token")] = 128
    max_frame_tokens: Annotated[int, Field(ge=1, description="of a frame's size")] = 768
    max_video_tokens: Annotated[int, Field(ge=16, description="of a window, before which both bounds above give way")] = 24576
    model_does_preprocess: Annotated[bool, Field(description="the model's processor scales the frames")] = False
    preprocess_dtype: Annotated[Dtype, Field(description="of the pixels that go to the GPU")] = "float32"
    caption_batch_size: Annotated[int, Field(ge=1, le=4096, json_schema_extra=EFFORT, description="windows at once")] = 8
    fp8: Annotated[bool, Field(description="8-bit weights; only with engine = vllm")] = False
    max_output_tokens: Annotated[int, Field(ge=1, le=32768, description="of a description")] = 512
    generate_stage2_caption: Annotated[bool, Field(description="ask again, with the first description and the frames")] = False
    stage2_prompt_text: Annotated[str, Field(description="a second prompt of your own; {caption} is where the first goes")] = ""
    disable_mmcache: Annotated[
        bool, Field(json_schema_extra=EFFORT, description="no cache of processed frames in vLLM; others have none")
    ] = False
    only_kept: Annotated[bool, Field(json_schema_extra=EFFORT, description="only clips that filter kept; false: all")] = True
    vllm_endpoint: Annotated[bool, Field(description="the endpoint is vLLM's and takes repetition_penalty")] = False
    sampling: Annotated[Sampling, Field(description="how the next token is chosen")] = Sampling()
    endpoint: Annotated[Endpoint, Field(json_schema_extra=EFFORT, description="of engine = openai")] = Endpoint()
    resources: Annotated[Resources, Field(json_schema_extra=EFFORT, description="what a task takes")] = Resources()

    @field_validator("model_variant")
    @classmethod
    def _where(cls, name: str, info: ValidationInfo) -> str:
        return name if info.data.get("engine") == "openai" else checkpoints.resolved(name)

    @field_validator("prompt_text", "stage2_prompt_text")
    @classmethod
    def _plain(cls, text: str) -> str:
        if prompts.bare(text) != text:
            raise ValueError("holds a control token, such as <|im_end|>")
        return text.strip()

    def __post_init__(self) -> None:
        if self.min_frame_tokens > self.max_frame_tokens:
            raise ValueError("min_frame_tokens is above max_frame_tokens")

    @property
    def prompt(self) -> str:
        """What the model is asked first."""
        return self.prompt_text or prompts.CAPTIONS[self.prompt_variant]

    @property
    def bounds(self) -> window_frames.Bounds:
        """How large frames may be."""
        return window_frames.Bounds(self.min_frame_tokens, self.max_frame_tokens, self.max_video_tokens)

    @property
    def speech(self) -> Speech:
        """What the engine needs to know."""
        return Speech(
            engine=self.engine,
            model=self.model_variant if self.engine == "openai" else ALIASES.get(self.model_variant, self.model_variant),
            max_output_tokens=self.max_output_tokens,
            fp8=self.fp8,
            sampling=self.sampling,
            endpoint=self.endpoint,
            vllm_endpoint=self.vllm_endpoint,
            resized=not self.model_does_preprocess,
            pixel_dtype=self.preprocess_dtype,
            mm_cache=not self.disable_mmcache,
            gpus=self.resources.gpus,
        )


@dataclasses.dataclass(frozen=True)
class Settings:
    """The sections that shape a caption."""

    caption: Params = dataclasses.field(default_factory=Params)
    windows: windows.Params = dataclasses.field(default_factory=windows.Params)


@dataclasses.dataclass(frozen=True)
class Told:
    """What the model said of one window, first and second, and the seconds it took."""

    first: Answer
    second: Answer | None
    seconds: float


Model = Callable[[list[Request]], list[Told | MediaError]]


def rows(batches: Iterable[pd.DataFrame], params: Settings, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips to batches of captions, one row a window."""
    p = params.caption
    speech = requests.on_task(p.speech, env.task)
    step = frame_step(speech, env.models)
    return infer(
        batches,
        prepare=partial(prepare, params=params, step=step, env=env),
        load=partial(load, p, speech, env.models),
        finish=partial(finish, params=params, model=requests.identity(speech)),
        key="clip_id",
        columns=COLUMNS,
        env=env,
        resources=p.resources,
        batch_size=p.caption_batch_size,
    )


def check(params: Params, models: checkpoints.Params) -> None:
    """What would stop a worker, found before Spark starts.

    Raises:
        MissingModelError: what `generation.check` raises.
    """
    requests.check("caption", params.speech, models)


def frame_step(speech: Speech, models: checkpoints.Params) -> int:
    """The pixels of a token's side, of which a frame's sides are multiples: 28 for Qwen2.5-VL, 32 for Qwen3-VL.

    Raises:
        MissingModelError: the model is not there, or sees no pictures.
    """
    if speech.engine == "openai":
        return ENDPOINT_STEP
    from transformers import AutoConfig

    folder, own_code = checkpoints.folder(speech.model, models), checkpoints.trusted(speech.model, models)
    vision = getattr(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=own_code), "vision_config", None)
    if vision is None:
        raise MissingModelError(f"{speech.model} reads text only: it cannot caption")
    return int(vision.patch_size) * int(getattr(vision, "spatial_merge_size", 1))


def prepare(row: Row, call: Call, params: Settings, step: int, env: Env) -> Iterator[Request]:
    """One request a window, its frames decoded from the proxy if the row names one.

    Raises:
        MediaError: TOO_SHORT if the clip has no window; what `frames.shown` raises.
    """
    cut = windows.windows(row["num_frames"], params.windows)
    if not cut:
        raise MediaError("TOO_SHORT", f"{row['num_frames']} frames: a window has {windows.MIN_FRAMES}")
    uri, framerate = str(row.get("proxy_uri") or row["uri"]), float(row["framerate"])
    for window in cut:
        numbers = window_frames.frame_numbers(window, framerate, params.caption.sampling_fps)
        budget = window_frames.frame_fit(len(numbers), step, params.caption.bounds)
        fit = extract.target_res(-1) if params.caption.model_does_preprocess else budget
        pictures = call(window_frames.look, uri, [number / framerate for number in numbers], fit, env)
        within = tuple(number - window.start_frame for number in numbers)
        video = Video(pictures, within, framerate, window.end_frame - window.start_frame + 1)
        yield Request(params.caption.prompt, video)


def load(params: Params, speech: Speech, models: checkpoints.Params, device: str) -> Model:
    """The model of the settings: a function of a batch of windows."""
    return partial(describe, requests.load(speech, models, device), params)


def describe(engine: Engine, params: Params, requests: list[Request]) -> list[Told | MediaError]:
    """What the model says of each window: once, or a second time with its first answer and the frames before it."""
    started = time.monotonic()
    first = engine.generate(requests)
    second: dict[int, Answer | MediaError] = {}
    if params.generate_stage2_caption:
        told = {i: text for i, answer in enumerate(first) if isinstance(answer, Answer) and (text := prompts.spoken(answer.text))}
        again = [stage2(requests[i], text, params) for i, text in told.items()]
        second = dict(zip(told, engine.generate(again), strict=True)) if again else {}
    seconds = (time.monotonic() - started) / len(requests)
    return [_told(answer, second.get(i), seconds) for i, answer in enumerate(first)]


def stage2(request: Request, caption: str, params: Params) -> Request:
    """The same frames, with the first description in the prompt."""
    return Request(prompts.with_caption(params.stage2_prompt_text or prompts.STAGE2, caption), request.video)


def finish(row: Row, answers: list[Told], params: Settings, model: str) -> list[Row]:
    """One row a window.

    Raises:
        MediaError: BAD_OUTPUT if the model said nothing of a window.
    """
    cut = windows.windows(row["num_frames"], params.windows)
    return [_caption(row, window, told, params.caption, model) for window, told in zip(cut, answers, strict=True)]


def _told(first: Answer | MediaError, second: Answer | MediaError | None, seconds: float) -> Told | MediaError:
    if isinstance(first, MediaError):
        return first
    return second if isinstance(second, MediaError) else Told(first, second, seconds)


def _caption(row: Row, window: Window, told: Told, params: Params, model: str) -> Row:
    said = [answer for answer in (told.first, told.second) if answer]
    texts = [prompts.spoken(answer.text) for answer in said]
    found = [c for a, text in zip(said, texts, strict=True) for c in quality_checks.checks(text, a.finish_reason, params.prompt)]
    if "empty" in found:
        raise MediaError("BAD_OUTPUT", f"the model said nothing of frames {window.start_frame} to {window.end_frame}")
    return {
        "clip_id": row["clip_id"],
        "start_frame": window.start_frame,
        "end_frame": window.end_frame,
        "model": model,
        "prompt": prompts.name(params.prompt_variant, params.prompt_text),
        "caption": texts[0],
        "stage2_caption": texts[1] if len(texts) > 1 else None,
        "tokens_in": requests.total(answer.tokens_in for answer in said),
        "tokens_out": requests.total(answer.tokens_out for answer in said),
        "seconds": told.seconds,
        "finish_reason": said[-1].finish_reason,
        "checks": list(dict.fromkeys(found)),
    }
