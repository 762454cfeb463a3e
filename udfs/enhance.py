"""enhance: rewrite each caption of a clip with a language model that sees no frames."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from schemas.enhanced import TABLE
from udfs.captioning import engines, prompts, quality_checks
from udfs.captioning.generation_params import GenerationParams, PromptText
from udfs.captioning.prompts import Variant
from udfs.captioning.requests import Answer, Engine, GenerationSettings, Request
from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT
from udfs.models import registry
from udfs.runtime.context import Env, Row
from udfs.runtime.inference import Call, infer

COLUMNS = TABLE.stage_columns


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params(GenerationParams):
    """[enhance]"""

    MODELS: ClassVar[tuple[str, ...]] = ("qwen-lm", "qwen3-lm")
    INSTEAD: ClassVar[Mapping[str, str]] = registry.REWRITERS
    PROMPTS: ClassVar[dict[Variant, str]] = prompts.ENHANCEMENTS

    prompt_text: Annotated[
        PromptText, Field(description="your own prompt; {caption} is the place of the description")
    ] = ""
    model_batch_size: Annotated[
        int, Field(ge=1, le=4096, json_schema_extra=EFFORT, description="captions per batch of the model")
    ] = 128


@dataclasses.dataclass(frozen=True)
class TimedAnswer:
    """The model's answer for one caption, and the seconds it took."""

    answer: Answer
    seconds: float


Model = Callable[[list[Request]], list[TimedAnswer | MediaError]]


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips with their captions -> batches of rewritten captions, one row per window."""
    generation = engines.for_task(params.generation, env.task)
    return infer(
        batches,
        prepare=partial(prepare, params=params),
        load=partial(load, generation, env.models),
        finish=partial(finish, params=params, model=engines.identity(generation)),
        key="clip_id",
        columns=COLUMNS,
        env=env,
        resources=params.resources,
        batch_size=params.model_batch_size,
        holds_model=params.engine != "openai",
    )


def check(params: Params, models: registry.Params) -> None:
    """Find before Spark starts what would stop a worker.

    Raises:
        MissingModelError: as `engines.check`.
    """
    engines.check("enhance", params.generation, models)


def prepare(row: Row, call: Call, params: Params) -> Iterator[Request]:
    """One request per caption, the refined one if there is one.

    Nothing is decoded, so `call` is not used.
    """
    for caption in row["captions"]:
        yield Request(prompts.with_caption(params.prompt, caption["stage2_caption"] or caption["caption"]))


def load(generation: GenerationSettings, models: registry.Params, device: str) -> Model:
    """The function that rewrites a batch of captions, with its model loaded."""
    return engines.one_by_one(partial(rewrite, engines.load(generation, models, device)), generation)


def rewrite(engine: Engine, requests: list[Request]) -> list[TimedAnswer | MediaError]:
    """The model's answer for each caption."""
    started = time.monotonic()
    answers = engine.generate(requests)
    seconds = (time.monotonic() - started) / len(requests)
    return [answer if isinstance(answer, MediaError) else TimedAnswer(answer, seconds) for answer in answers]


def finish(row: Row, answers: list[TimedAnswer], params: Params, model: str) -> list[Row]:
    """One row per caption.

    Raises:
        MediaError: BAD_OUTPUT if an answer is empty.
    """
    pairs = zip(row["captions"], answers, strict=True)
    return [_enhanced(row["clip_id"], caption, timed, params, model) for caption, timed in pairs]


def _enhanced(clip_id: str, caption: Row, timed: TimedAnswer, params: Params, model: str) -> Row:
    answer = timed.answer
    text = prompts.without_thoughts(answer.text)
    codes = quality_checks.checks(text, answer.finish_reason, params.prompt)
    if "empty" in codes:
        raise MediaError("BAD_OUTPUT", f"an empty answer for the caption of frame {caption['start_frame']}")
    return {
        "clip_id": clip_id,
        "start_frame": caption["start_frame"],
        "end_frame": caption["end_frame"],
        "model": model,
        "prompt": prompts.prompt_name(params.prompt_variant, params.prompt_text),
        "enhanced_caption": text,
        "tokens_in": answer.tokens_in,
        "tokens_out": answer.tokens_out,
        "seconds": timed.seconds,
        "finish_reason": answer.finish_reason,
        "checks": codes,
    }
