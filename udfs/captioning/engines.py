"""Build the text-generation engine that settings name: transformers, vLLM, or an OpenAI endpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from udfs.captioning.requests import Answer, Engine, GenerationSettings, Request
from udfs.core import user_code
from udfs.core.errors import MediaError
from udfs.core.gpu_device import Task
from udfs.models import checkpoints, hub, registry, user_models
from udfs.models.registry import MissingModelError

NO_FP8 = {
    "transformers": "transformers would fetch code for 8-bit weights from the hub, at no fixed revision",
    "openai": "the precision of an endpoint's weights is its own setting",
}

NO_SCHEMA = "only vllm and endpoints hold a model to a schema: set {section}.engine = vllm or openai"


def load(settings: GenerationSettings, models: registry.Params, device: str) -> Engine:
    """The engine that the settings name, with its model loaded.

    Raises:
        MissingModelError: the model is missing, or cannot run here as the settings demand.
    """
    if user_code.is_function(settings.engine):
        return OwnEngine(user_models.load(settings.engine, device))
    if settings.engine == "openai":
        from udfs.captioning import engine_openai

        return engine_openai.load(settings)
    folder, remote_code = hub.allowed(settings.model, models), registry.may_run_code(settings.model, models)
    if settings.engine == "vllm":
        from udfs.captioning import engine_vllm

        return engine_vllm.load(folder, settings, device, remote_code)
    from udfs.captioning import engine_transformers

    return engine_transformers.load(folder, settings, device, remote_code)


def one_by_one(model: Callable[[list[Request]], Any], settings: GenerationSettings) -> Callable[[list[Request]], Any]:
    """A model that is asked again, request by request, where it raises for a batch: vLLM and endpoints do so here."""
    return model if settings.engine in ("vllm", "openai") else user_models.one_by_one(model)


class OwnEngine:
    """A function of the user's own, from a list of requests to a text or an Answer each; None refuses a request."""

    def __init__(self, generate: Callable[[list[Request]], Sequence[Answer | str | None]]) -> None:
        self._generate = generate

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """One answer per request, in order.

        Raises:
            MediaError: BAD_OUTPUT if there are more or fewer.
        """
        return [_as_answer(answer) for answer in user_models.listed(self._generate([*requests]), len(requests))]


def _as_answer(answer: object) -> Answer | MediaError:
    if isinstance(answer, Answer | MediaError):
        return answer
    if isinstance(answer, str):
        return Answer(answer, None, None, "stop")
    return MediaError("BAD_OUTPUT", "no text" if answer is None else f"{type(answer).__name__}, and no text")


def check(section: str, settings: GenerationSettings, models: registry.Params) -> None:
    """Find before Spark starts what would stop a worker; `section` is the settings' section.

    Raises:
        MissingModelError: the endpoint has no address, a package or the model is missing, or the
            model may not run or cannot run as the settings demand.
    """
    if settings.fp8 and settings.engine != "vllm":
        reason = NO_FP8.get(settings.engine, "a function of your own loads weights as it likes")
        raise MissingModelError(f"{section}.fp8 needs {section}.engine = vllm: {reason}")
    if settings.answer_schema and settings.engine not in ("vllm", "openai"):
        raise MissingModelError(f"{section}.answer_schema: {NO_SCHEMA.format(section=section)}")
    if user_code.is_function(settings.engine):
        user_models.check(settings.engine)
        return
    if settings.engine == "openai":
        if not settings.endpoint.base_url:
            raise MissingModelError(
                f"{section}.engine = openai needs {section}.endpoint.base_url, such as http://host:8000/v1"
            )
        if find_spec("openai") is None:
            raise MissingModelError(
                f"{section}.engine = openai needs the openai package: pip install 'reelmill[endpoint]'"
            )
        return
    checkpoints.check(settings.model, models)
    if registry.is_local(settings.model) and not Path(os.path.expanduser(settings.model), "config.json").is_file():
        raise MissingModelError(f"{settings.model} is no model's folder: it has no config.json")
    if settings.engine == "vllm" and (models.device == "cpu" or settings.gpus == 0) and not _vllm_runs_on_cpus():
        raise MissingModelError(
            f"{section}.engine = vllm needs a GPU: give its tasks one with --set {section}.resources.gpus=1"
        )


def is_here(settings: GenerationSettings, models: registry.Params) -> bool:
    """Whether the engine loads a model from a folder, and this machine has it."""
    if settings.engine not in ("transformers", "vllm"):
        return False
    return registry.is_local(settings.model) or checkpoints.is_fetched(registry.checkpoint(settings.model), models)


def model_config(name: str, models: registry.Params) -> Any:
    """The transformers configuration of a model.

    Raises:
        MissingModelError: the model is missing, or transformers cannot read its configuration.
    """
    from transformers import AutoConfig

    folder, remote_code = hub.folder(name, models), registry.may_run_code(name, models)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=remote_code)
    except (OSError, ValueError) as e:
        raise MissingModelError(f"{name}: {' '.join(str(e).split())}") from e


def _vllm_runs_on_cpus() -> bool:
    if find_spec("vllm") is None:
        return False
    from udfs.captioning import engine_vllm

    return engine_vllm.runs_on_cpus()


def for_task(settings: GenerationSettings, task: Task) -> GenerationSettings:
    """The settings with the addresses of the task's GPUs, where it has several."""
    return replace(settings, gpu_addresses=task.gpus) if settings.gpus > 1 else settings


def identity(settings: GenerationSettings) -> str:
    """The value of the column `model`: repository@revision, folder@hash, or the endpoint's name of the model."""
    if settings.engine == "openai":
        return settings.model
    if user_code.is_function(settings.engine):
        return user_models.identity(settings.engine)
    model_id = checkpoints.identity(settings.model)
    if not registry.is_local(settings.model):
        return model_id
    return f"{settings.model.rstrip('/').rpartition('/')[2]}@{model_id}"
