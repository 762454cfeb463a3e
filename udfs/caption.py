"""caption: describe the frames of each window of a clip, optionally in two passes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from schemas.captions import TABLE
from udfs.captioning import engines, prompts, quality_checks
from udfs.captioning.generation_params import GenerationParams, PromptText
from udfs.captioning.prompts import Variant
from udfs.captioning.requests import Answer, Dtype, Engine, GenerationSettings, Request, Video, sum_tokens
from udfs.core import user_code
from udfs.core.errors import PASSING, MediaError
from udfs.core.task_resources import EFFORT
from udfs.frames import extract, window_frames, windows
from udfs.frames.windows import Window
from udfs.models import registry
from udfs.models.registry import MissingModelError
from udfs.runtime.context import Env, Row
from udfs.runtime.inference import Call, infer
from udfs.video import nvdec
from udfs.video.nvdec import Hwaccel, Place

COLUMNS = TABLE.stage_columns
ENDPOINT_STEP_PX = 28  # an endpoint scales frames to its own steps


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params(GenerationParams):
    """[caption]"""

    MODELS: ClassVar[tuple[str, ...]] = ("qwen2.5", "qwen3")
    PROMPTS: ClassVar[dict[Variant, str]] = prompts.CAPTIONS
    NOT_HASHED_AT_DEFAULT: ClassVar[tuple[str, ...]] = (*GenerationParams.NOT_HASHED_AT_DEFAULT, "hwaccel")
    # The order in which the settings have always been hashed; any others follow.
    FINGERPRINT_ORDER: ClassVar[tuple[str, ...]] = (
        *("engine", "model_variant", "prompt_variant", "prompt_text", "sampling_fps", "min_frame_tokens"),
        *("max_frame_tokens", "max_video_tokens", "model_does_preprocess", "preprocess_dtype", "fp8"),
        *("max_output_tokens", "generate_stage2_caption", "stage2_prompt_text", "vllm_endpoint", "sampling"),
    )

    sampling_fps: Annotated[float, Field(gt=0, le=1000, description="frames per second that the model sees")] = 2.0
    min_frame_tokens: Annotated[int, Field(ge=1, description="per frame; a token is 28 x 28 or 32 x 32 pixels")] = 128
    max_frame_tokens: Annotated[int, Field(ge=1, description="per frame")] = 768
    max_video_tokens: Annotated[int, Field(ge=16, description="per window; wins over both bounds per frame")] = 24576
    model_does_preprocess: Annotated[bool, Field(description="the model's own processor scales the frames")] = False
    preprocess_dtype: Annotated[Dtype, Field(description="of the pixels that go to the GPU")] = "float32"
    caption_batch_size: Annotated[
        int, Field(ge=1, le=4096, json_schema_extra=EFFORT, description="windows per batch of the model")
    ] = 8
    generate_stage2_caption: Annotated[
        bool, Field(description="ask a second time, with the first description and the frames")
    ] = False
    stage2_prompt_text: Annotated[
        PromptText, Field(description="your own second prompt; {caption} is the place of the first description")
    ] = ""
    disable_mmcache: Annotated[
        bool, Field(json_schema_extra=EFFORT, description="vLLM without its cache of processed frames")
    ] = False
    only_kept: Annotated[
        bool, Field(json_schema_extra=EFFORT, description="only clips that filter kept; false: all")
    ] = True
    hwaccel: Annotated[Hwaccel, Field(description="cuda: NVDEC decodes what it can; tasks need resources.gpus")] = (
        "none"
    )

    def __post_init__(self) -> None:
        nvdec.check_gpus(self.hwaccel, self.resources)
        if self.min_frame_tokens > self.max_frame_tokens:
            raise ValueError("min_frame_tokens is above max_frame_tokens")

    @property
    def bounds(self) -> window_frames.Bounds:
        """Bounds of the size of frames."""
        return window_frames.Bounds(self.min_frame_tokens, self.max_frame_tokens, self.max_video_tokens)

    @property
    def generation(self) -> GenerationSettings:
        """What the engine needs to know."""
        return dataclasses.replace(
            super().generation,
            resized=not self.model_does_preprocess,
            pixel_dtype=self.preprocess_dtype,
            mm_cache=self.generate_stage2_caption and not self.disable_mmcache,  # else no video comes twice
        )


@dataclasses.dataclass(frozen=True)
class Settings:
    """The sections of settings that decide on captions."""

    caption: Params = dataclasses.field(default_factory=Params)
    windows: windows.Params = dataclasses.field(default_factory=windows.Params)


@dataclasses.dataclass(frozen=True)
class WindowAnswers:
    """The model's answers for one window, and the seconds they took."""

    first: Answer
    second: Answer | None
    seconds: float


Model = Callable[[list[Request]], list[WindowAnswers | MediaError]]


def rows(batches: Iterable[pd.DataFrame], params: Settings, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips -> batches of captions, one row per window."""
    p = params.caption
    generation = engines.for_task(p.generation, env.task)
    step_px = frame_step_px(generation, env.models)
    return infer(
        batches,
        prepare=partial(prepare, params=params, step_px=step_px, env=env),
        load=partial(load, p, generation, env.models),
        finish=partial(finish, params=params, model=engines.identity(generation)),
        key="clip_id",
        columns=COLUMNS,
        env=env,
        resources=p.resources,
        batch_size=p.caption_batch_size,
        on_gpu=p.hwaccel == "cuda",
        holds_model=p.engine != "openai",
    )


def check(params: Params, models: registry.Params) -> None:
    """Find before Spark starts what would stop a worker.

    Raises:
        MissingModelError: as `engines.check` and `frame_step_px`.
    """
    engines.check("caption", params.generation, models)
    if engines.is_here(params.generation, models):
        frame_step_px(params.generation, models)


def frame_step_px(generation: GenerationSettings, models: registry.Params) -> int:
    """The side of a token in pixels, of which a frame's sides are multiples: 28 for Qwen2.5-VL, 32 for Qwen3-VL.

    Raises:
        MissingModelError: the model is missing, has no vision part, or takes frames of its own sizes
            alone and is to get others.
    """
    if generation.engine == "openai" or user_code.is_function(generation.engine):
        return ENDPOINT_STEP_PX
    vision = getattr(engines.model_config(generation.model, models), "vision_config", None)
    if vision is None:
        raise MissingModelError(f"{generation.model} reads text only: it cannot caption video")
    patch, merge = getattr(vision, "patch_size", None), getattr(vision, "spatial_merge_size", None)
    if isinstance(patch, int) and isinstance(merge, int):
        return patch * merge
    if generation.resized:
        own = "takes frames of its own sizes: set caption.model_does_preprocess = true"
        raise MissingModelError(f"{generation.model} {own}")
    return ENDPOINT_STEP_PX  # frames stay as they are


def prepare(row: Row, call: Call, params: Settings, step_px: int, env: Env) -> Iterator[Request]:
    """One request per window, with frames decoded from the proxy if the row has one.

    Raises:
        MediaError: TOO_SHORT if the clip has no window, and as `extract.shown`.
    """
    clip_windows = windows.windows(row["num_frames"], params.windows)
    if not clip_windows:
        raise MediaError("TOO_SHORT", f"{row['num_frames']} frames: a window has at least {windows.MIN_FRAMES}")
    uri, framerate = str(row.get("proxy_uri") or row["uri"]), float(row["framerate"])
    place = Place(params.caption.hwaccel, env.task)
    for window in clip_windows:
        numbers = window_frames.frame_numbers(window, framerate, params.caption.sampling_fps)
        budget = window_frames.frame_fit(len(numbers), step_px, params.caption.bounds)
        fit = extract.target_res(-1) if params.caption.model_does_preprocess else budget
        times_s = [number / framerate for number in numbers]
        pictures = call(window_frames.decode, uri, times_s, fit, env.sources, env.limits, place)
        relative = tuple(number - window.start_frame for number in numbers)
        video = Video(pictures, relative, framerate, window.end_frame - window.start_frame + 1)
        yield Request(params.caption.prompt, video)


def load(params: Params, generation: GenerationSettings, models: registry.Params, device: str) -> Model:
    """The function that describes a batch of windows, with its model loaded."""
    return engines.one_by_one(partial(describe, engines.load(generation, models, device), params), generation)


def describe(engine: Engine, params: Params, requests: list[Request]) -> list[WindowAnswers | MediaError]:
    """The model's answers for each window: one, or a second that has seen the first.

    Without a second that the model refuses; one that a later run may get is the window's failure.
    """
    started = time.monotonic()
    first = engine.generate(requests)
    second: dict[int, Answer | MediaError] = {}
    if params.generate_stage2_caption:
        texts = {
            i: prompts.without_thoughts(answer.text) for i, answer in enumerate(first) if isinstance(answer, Answer)
        }
        stage2 = {i: stage2_request(requests[i], text, params) for i, text in texts.items() if text}
        second = dict(zip(stage2, engine.generate(list(stage2.values())), strict=True)) if stage2 else {}
    seconds = (time.monotonic() - started) / len(requests)
    return [_window_answers(answer, second.get(i), seconds) for i, answer in enumerate(first)]


def stage2_request(request: Request, caption: str, params: Params) -> Request:
    """The same frames, with the first description in the prompt."""
    return Request(prompts.with_caption(params.stage2_prompt_text or prompts.STAGE2, caption), request.video)


def finish(row: Row, answers: list[WindowAnswers], params: Settings, model: str) -> list[Row]:
    """One row per window.

    Raises:
        MediaError: BAD_OUTPUT if the first description of a window is empty.
    """
    clip_windows = windows.windows(row["num_frames"], params.windows)
    pairs = zip(clip_windows, answers, strict=True)
    return [_caption(row, window, answer, params.caption, model) for window, answer in pairs]


def _window_answers(
    first: Answer | MediaError, second: Answer | MediaError | None, seconds: float
) -> WindowAnswers | MediaError:
    if isinstance(first, MediaError):
        return first
    if isinstance(second, MediaError):
        return second if second.code in PASSING else WindowAnswers(first, None, seconds)
    return WindowAnswers(first, second, seconds)


def _caption(row: Row, window: Window, window_answers: WindowAnswers, params: Params, model: str) -> Row:
    answers = [answer for answer in (window_answers.first, window_answers.second) if answer]
    texts = [prompts.without_thoughts(answer.text) for answer in answers]
    pairs = zip(answers, texts, strict=True)
    codes = [code for a, text in pairs for code in quality_checks.checks(text, a.finish_reason, params.prompt)]
    if quality_checks.is_empty(texts[0]):
        raise MediaError("BAD_OUTPUT", f"an empty description of frames {window.start_frame} to {window.end_frame}")
    second = next((text for text in texts[1:] if not quality_checks.is_empty(text)), None)
    if params.generate_stage2_caption and second is None:
        codes = [*(code for code in codes if code != "empty"), "no_second"]
    return {
        "clip_id": row["clip_id"],
        "start_frame": window.start_frame,
        "end_frame": window.end_frame,
        "model": model,
        "prompt": prompts.prompt_name(params.prompt_variant, params.prompt_text),
        "caption": texts[0],
        "stage2_caption": second,
        "tokens_in": sum_tokens(answer.tokens_in for answer in answers),
        "tokens_out": sum_tokens(answer.tokens_out for answer in answers),
        "seconds": window_answers.seconds,
        "finish_reason": answers[-1].finish_reason,
        "checks": list(dict.fromkeys(codes)),
    }
