"""Settings that [caption] and [enhance] share: engine, model, prompt and sampling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from udfs.captioning import prompts
from udfs.captioning.prompts import Variant, VariantName
from udfs.captioning.requests import Endpoint, EngineName, GenerationSettings, Sampling
from udfs.core import user_code
from udfs.core.task_resources import EFFORT, Resources
from udfs.core.words import NO_ALIASES
from udfs.models import registry


def _check_prompt(text: str) -> str:
    if prompts.without_control_tokens(text) != text:
        raise ValueError("holds a control token, such as <|im_end|>")
    return text.strip()


def _check_schema(text: str) -> str:
    try:
        is_schema = not text.strip() or isinstance(json.loads(text), dict)
    except ValueError as e:
        raise ValueError(f"is no JSON: {e}") from e
    if not is_schema:
        raise ValueError("is no JSON schema, which is an object")
    return text.strip()


PromptText = Annotated[str, AfterValidator(_check_prompt)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GenerationParams:
    """The settings of both stages; each stage adds its own."""

    MODELS: ClassVar[tuple[str, ...]] = ()  # known models that the stage can ask
    INSTEAD: ClassVar[Mapping[str, str]] = NO_ALIASES  # models that it takes for others
    PROMPTS: ClassVar[dict[Variant, str]] = {}
    # Newer settings, which at their defaults are no part of the hash: so older rows stay valid.
    NOT_HASHED_AT_DEFAULT: ClassVar[tuple[str, ...]] = ("answer_schema",)

    engine: Annotated[
        EngineName, Field(description="transformers, vllm if installed, openai: an endpoint, or module:function")
    ] = "transformers"
    model_variant: Annotated[
        str,
        Field(
            min_length=1,
            description="qwen2.5 (or qwen), qwen3, a folder, org/name@commit, or the endpoint's name of a model",
        ),
    ] = "qwen"
    prompt_variant: Annotated[
        VariantName, Field(description="default, av: driving, av-surveillance: a fixed camera")
    ] = "default"
    prompt_text: Annotated[PromptText, Field(description="your own prompt in place of the variant's")] = ""
    answer_schema: Annotated[
        str,
        AfterValidator(_check_schema),
        Field(description="JSON schema that answers keep to; with engine = vllm, or an endpoint that knows schemas"),
    ] = ""
    fp8: Annotated[bool, Field(description="8-bit weights; only with engine = vllm")] = False
    max_output_tokens: Annotated[int, Field(ge=1, le=32768, description="of a description")] = 512
    vllm_endpoint: Annotated[bool, Field(description="the endpoint is vLLM's and accepts repetition_penalty")] = False
    sampling: Annotated[Sampling, Field(description="how the next token is chosen")] = Sampling()
    endpoint: Annotated[Endpoint, Field(json_schema_extra=EFFORT, description="of engine = openai")] = Endpoint()
    resources: Annotated[Resources, Field(json_schema_extra=EFFORT, description="what a task takes")] = Resources()

    @field_validator("model_variant")
    @classmethod
    def _check_model(cls, name: str, info: ValidationInfo) -> str:
        """A name of a known model stays as it is spelled: it is part of the fingerprints of rows there are."""
        is_known = not registry.is_local(name) and registry.known_name(name, cls.INSTEAD) in cls.MODELS
        if info.data.get("engine") == "openai" or is_known:
            return name
        return registry.model_name(name, cls.MODELS)

    @property
    def prompt(self) -> str:
        """The first prompt, without a description."""
        return self.prompt_text or self.PROMPTS[self.prompt_variant]

    @property
    def _model(self) -> str:
        """The model that the engine is to load; a function of the user's own is engine and model."""
        if user_code.is_function(self.engine):
            return self.engine
        name = self.model_variant
        return name if self.engine == "openai" else registry.known_name(name, self.INSTEAD) or name

    @property
    def generation(self) -> GenerationSettings:
        """What the engine needs to know."""
        return GenerationSettings(
            engine=self.engine,
            model=self._model,
            max_output_tokens=self.max_output_tokens,
            answer_schema=self.answer_schema,
            fp8=self.fp8,
            sampling=self.sampling,
            endpoint=self.endpoint,
            vllm_endpoint=self.vllm_endpoint,
            gpus=self.resources.gpus,
        )
