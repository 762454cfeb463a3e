"""Which engine the settings name, and what is refused before Spark starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.hidden import run_without
from udfs.captioning import engine_openai, engine_transformers, engines
from udfs.captioning.requests import Endpoint, EngineName, GenerationSettings
from udfs.core.gpu_device import Task
from udfs.models import checkpoints, registry
from udfs.models.registry import MissingModelError

HERE = registry.Params()
ENDPOINT = GenerationSettings("openai", "m", endpoint=Endpoint(base_url="http://host:8000/v1"))


def test_the_settings_name_the_engine(tmp_path: Path) -> None:
    folder = str(tiny.qwen_lm(tmp_path / "qwen-lm"))
    assert isinstance(engines.load(ENDPOINT, HERE, "cpu"), engine_openai.Engine)
    assert isinstance(engines.load(GenerationSettings("transformers", folder), HERE, "cpu"), engine_transformers.Engine)
    with pytest.raises(MissingModelError, match=r"^vllm 0\.32 or newer is not installed"):
        engines.load(GenerationSettings("vllm", folder), HERE, "cpu")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (GenerationSettings("openai", "m"), r"caption\.engine = openai needs caption\.endpoint\.base_url"),
        (
            GenerationSettings("transformers", "qwen2.5", fp8=True),
            r"caption\.fp8 needs caption\.engine = vllm: transformers",
        ),
        (
            GenerationSettings("transformers", "qwen2.5", answer_schema="{}"),
            r"caption\.answer_schema: only vllm and endpoints hold a model to a schema: set caption\.engine = vllm",
        ),
        (GenerationSettings("openai", "m", fp8=True), r"caption\.fp8 needs caption\.engine = vllm: the precision"),
        (GenerationSettings("transformers", "qwn2.5"), r"no model qwn2\.5: did you mean qwen2\.5\?"),
    ],
)
def test_settings_that_no_engine_can_follow_are_refused(settings: GenerationSettings, line: str) -> None:
    with pytest.raises(MissingModelError, match=f"^{line}"):
        engines.check("caption", settings, HERE)


def test_vllm_without_a_gpu_is_refused(tmp_path: Path) -> None:
    folder = str(tiny.qwen_lm(tmp_path / "qwen-lm"))
    with pytest.raises(MissingModelError, match=r"--set enhance\.resources\.gpus=1"):
        engines.check("enhance", GenerationSettings("vllm", folder), HERE)
    engines.check("enhance", GenerationSettings("vllm", folder, gpus=1), HERE)


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_a_folder_that_is_no_models_is_refused(engine: EngineName, tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=f"^{tmp_path} is no model's folder: it has no config.json$"):
        engines.check("caption", GenerationSettings(engine, str(tmp_path), gpus=1), HERE)


def test_an_endpoint_without_the_openai_package_is_refused() -> None:
    code = (
        "from udfs.captioning import engines, requests as r; from udfs.models import registry\n"
        "settings = r.GenerationSettings('openai', 'm', endpoint=r.Endpoint(base_url='http://host/v1'))\n"
        "engines.check('caption', settings, registry.Params())"
    )
    done = run_without("openai", code)
    assert done.returncode == 1
    line = "caption.engine = openai needs the openai package: pip install 'reelmill[endpoint]'"
    assert done.stderr.splitlines()[-1].endswith(line)
    engines.check("caption", ENDPOINT, HERE)


def test_only_a_task_with_several_gpus_passes_their_addresses_on() -> None:
    task = Task(gpus=("4", "6"))
    assert engines.for_task(GenerationSettings("vllm", "m", gpus=2), task).gpu_addresses == ("4", "6")
    assert engines.for_task(GenerationSettings("vllm", "m", gpus=1), task).gpu_addresses == ()


def test_a_model_is_identified_by_repository_folder_or_endpoint(tmp_path: Path) -> None:
    folder = str(tiny.qwen_lm(tmp_path / "qwen-lm"))
    assert engines.identity(GenerationSettings("transformers", folder)) == f"qwen-lm@{checkpoints.identity(folder)}"
    assert engines.identity(GenerationSettings("transformers", "org/name@0123abc")) == "org/name@0123abc"
    assert engines.identity(ENDPOINT) == "m"


def test_a_configuration_that_transformers_cannot_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingModelError, match=rf"^{tmp_path}: Unrecognized model[^\n]+$"):
        engines.model_config(str(tmp_path), HERE)
