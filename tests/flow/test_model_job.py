"""What the jobs that run a model refuse before Spark starts, each in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import cli
from tests.support import tiny
from udfs.core.gpu_device import visible_gpus

NO_GPU = "but this machine has no GPU that torch can use"
without_gpu = pytest.mark.skipif(visible_gpus() > 0, reason="this machine has a GPU")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings that name tiny models for every job."""
    root = tmp_path_factory.mktemp("models")
    folders = {
        "embed.model": tiny.clip(root / "clip"),
        "aesthetic.head": tiny.aesthetic_mlp(root / "head"),
        "caption.model_variant": tiny.qwen2_5_vl(root / "qwen2.5"),
        "enhance.model_variant": tiny.qwen_lm(root / "qwen-lm"),
    }
    return [f"{name}={folder}" for name, folder in folders.items()] + [f"aesthetic.model={folders['embed.model']}"]


def refusal(job: str, settings: list[str], output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The line of a job that stops before Spark starts."""
    assert cli.main([job, "--output", str(output), *(f"--set={setting}" for setting in settings)]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert not output.exists()
    return printed


@without_gpu
@pytest.mark.parametrize(
    ("job", "section", "more"),
    [
        ("split", "split", ["split.method=transnetv2"]),
        ("aesthetic", "aesthetic", []),
        ("embed", "embed", []),
        ("embed", "embed", ["embed.model=descriptor"]),
        ("dedup", "dedup", []),
        ("caption", "caption", []),
        ("enhance", "enhance", []),
        ("align", "embed", []),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(
    job: str, section: str, more: list[str], models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [*models, *more]
    line = refusal(job, [*settings, f"{section}.resources.gpus=1"], tmp_path / "output", capsys)
    assert line.startswith(f"reelmill: {section}.resources.gpus = 1, {NO_GPU}")
    line = refusal(job, [*settings, "models.device=cuda"], tmp_path / "output", capsys)
    assert line.startswith(f"reelmill: models.device = cuda, {NO_GPU}")


@pytest.mark.parametrize(
    ("job", "settings", "line"),
    [
        ("aesthetic", ["aesthetic.model=clop"], "aesthetic.model: no model clop: did you mean clip?"),
        ("embed", ["embed.model=org/name@0123abc"], "embed.model: org/name@0123abc (org/name) is not in"),
        ("caption", ["caption.model_variant=qwn3"], "caption.model_variant: no model qwn3: did you mean qwen3?"),
        ("enhance", ["enhance.fp8=true"], "enhance.model_variant: enhance.fp8 needs enhance.engine = vllm"),
        ("align", [], "embed.model: descriptor cannot encode texts"),
    ],
)
def test_a_model_that_cannot_run_is_named_with_its_setting(
    job: str, settings: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(job, settings, tmp_path / "output", capsys).startswith(f"reelmill: {line}")


@pytest.mark.parametrize("job", ["caption", "enhance"])
def test_the_device_of_models_does_not_concern_an_endpoint(job: str) -> None:
    from importlib import import_module

    from jobs.config.settings import load

    settings = load([], [f"{job}.engine=openai", f"{job}.endpoint.base_url=http://host/v1", "models.device=cuda"])
    import_module(f"jobs.{job}").check(None, settings)


def test_split_by_the_clock_needs_no_gpu() -> None:
    from jobs import split
    from jobs.config.settings import load

    split.check(None, load([], ["models.device=cuda", "split.resources.gpus=1"]))
