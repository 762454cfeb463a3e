"""enhance: the captions of a clip -> each rewritten by a language model that sees no picture."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Annotated

import pandas as pd
from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from schemas.enhanced import TABLE
from udfs.captioning import prompts, quality_checks, requests
from udfs.captioning.prompts import Variant
from udfs.captioning.requests import Answer, Endpoint, Engine, EngineName, Request, Sampling, Speech
from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT, Resources
from udfs.models import registry
from udfs.runtime.batching import Env, Row
from udfs.runtime.inference import Call, infer

COLUMNS = [name for name in TABLE.schema.names if name not in ("fingerprint", "run_id")]
ALIASES = {"qwen": "qwen-lm", "qwen2.5": "qwen-lm", "qwen3": "qwen3-lm"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[enhance]"""

    engine: Annotated[EngineName, Field(description="transformers, vllm if installed, or openai: an endpoint")] = "transformers"
    model_variant: Annotated[
        str, Field(min_length=1, description="qwen2.5 (or qwen), qwen3, a folder, org/name@commit, or as the endpoint calls it")
    ] = "qwen"
    prompt_variant: Annotated[Variant, Field(description="default, av: driving, av-surveillance: a fixed camera")] = "default"
    prompt_text: Annotated[str, Field(description="a prompt of your own; {caption} is where the description goes")] = ""
    model_batch_size: Annotated[int, Field(ge=1, le=4096, json_schema_extra=EFFORT, description="captions at once")] = 128
    fp8: Annotated[bool, Field(description="8-bit weights; only with engine = vllm")] = False
    max_output_tokens: Annotated[int, Field(ge=1, le=32768, description="of a description")] = 512
    vllm_endpoint: Annotated[bool, Field(description="the endpoint is vLLM's and takes repetition_penalty")] = False
    sampling: Annotated[Sampling, Field(description="how the next token is chosen")] = Sampling()
    endpoint: Annotated[Endpoint, Field(json_schema_extra=EFFORT, description="of engine = openai")] = Endpoint()
    resources: Annotated[Resources, Field(json_schema_extra=EFFORT, description="what a task takes")] = Resources()

    @field_validator("model_variant")
    @classmethod
    def _where(cls, name: str, info: ValidationInfo) -> str:
        return name if info.data.get("engine") == "openai" else registry.absolute_name(name)

    @field_validator("prompt_text")
    @classmethod
    def _plain(cls, text: str) -> str:
        if prompts.without_control_tokens(text) != text:
            raise ValueError("holds a control token, such as <|im_end|>")
        return text.strip()

    @property
    def prompt(self) -> str:
        """What the model is asked, the description aside."""
        return self.prompt_text or prompts.ENHANCEMENTS[self.prompt_variant]

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
            gpus=self.resources.gpus,
        )


@dataclasses.dataclass(frozen=True)
class Told:
    """What the model made of one caption, and the seconds it took."""

    answer: Answer
    seconds: float


Model = Callable[[list[Request]], list[Told | MediaError]]


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips with their captions to batches of enhanced captions, one row a window."""
    speech = requests.on_task(params.speech, env.task)
    return infer(
        batches,
        prepare=partial(prepare, params=params),
        load=partial(load, speech, env.models),
        finish=partial(finish, params=params, model=requests.identity(speech)),
        key="clip_id",
        columns=COLUMNS,
        env=env,
        resources=params.resources,
        batch_size=params.model_batch_size,
    )


def check(params: Params, models: registry.Params) -> None:
    """What would stop a worker, found before Spark starts.

    Raises:
        MissingModelError: what `generation.check` raises.
    """
    requests.check("enhance", params.speech, models)


def prepare(row: Row, call: Call, params: Params) -> Iterator[Request]:
    """One request a caption: the refined one where there is one. Nothing is decoded, so `call` is not used."""
    for caption in row["captions"]:
        yield Request(prompts.with_caption(params.prompt, caption["stage2_caption"] or caption["caption"]))


def load(speech: Speech, models: registry.Params, device: str) -> Model:
    """The model of the settings: a function of a batch of requests."""
    return partial(rewrite, requests.load(speech, models, device))


def rewrite(engine: Engine, requests: list[Request]) -> list[Told | MediaError]:
    """What the model makes of each caption."""
    started = time.monotonic()
    answers = engine.generate(requests)
    seconds = (time.monotonic() - started) / len(requests)
    return [answer if isinstance(answer, MediaError) else Told(answer, seconds) for answer in answers]


def finish(row: Row, answers: list[Told], params: Params, model: str) -> list[Row]:
    """One row a caption.

    Raises:
        MediaError: BAD_OUTPUT if the model said nothing.
    """
    pairs = zip(row["captions"], answers, strict=True)
    return [_enhanced(row["clip_id"], caption, told, params, model) for caption, told in pairs]


def _enhanced(clip_id: str, caption: Row, told: Told, params: Params, model: str) -> Row:
    text = prompts.without_thoughts(told.answer.text)
    found = quality_checks.checks(text, told.answer.finish_reason, params.prompt)
    if "empty" in found:
        raise MediaError("BAD_OUTPUT", f"the model said nothing of the caption of frame {caption['start_frame']}")
    return {
        "clip_id": clip_id,
        "start_frame": caption["start_frame"],
        "end_frame": caption["end_frame"],
        "model": model,
        "prompt": prompts.prompt_name(params.prompt_variant, params.prompt_text),
        "enhanced_caption": text,
        "tokens_in": told.answer.tokens_in,
        "tokens_out": told.answer.tokens_out,
        "seconds": told.seconds,
        "finish_reason": told.answer.finish_reason,
        "checks": found,
    }
