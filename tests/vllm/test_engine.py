"""vLLM itself, on the CPU, with tiny random models: make test-vllm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support import tiny
from tests.support.footage import draw, write_numbered
from tests.support.reaper import descendants
from tests.support.tally import Tally
from udfs import caption, enhance
from udfs.captioning import engine_transformers, engine_vllm, prompts
from udfs.captioning.requests import Answer, GenerationSettings, Request, Sampling, Video
from udfs.core.errors import MediaError
from udfs.frames import windows
from udfs.runtime import model_cache
from udfs.runtime.context import Env

vllm = pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")
pytestmark = pytest.mark.vllm
ENV = Env(media_root="unused", fingerprint="f" * 16)
HEAD_DIM = 64
WORDS = 8
GREEDY = Sampling(temperature=0)
BOAT, DOG, DEADLY = Request("A boat?"), Request("A brown dog?"), Request("A lighthouse?")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The folders of tiny models by name."""
    root = tmp_path_factory.mktemp("models")
    builders = {"qwen2.5": tiny.qwen2_5_vl, "qwen3": tiny.qwen3_vl, "qwen-lm": tiny.qwen_lm}
    return {name: str(build(root / name, HEAD_DIM)) for name, build in builders.items()}


def settings(model: str, **more: Any) -> GenerationSettings:
    chosen: dict[str, Any] = {"max_output_tokens": WORDS, "sampling": GREEDY} | more
    return GenerationSettings("vllm", model, **chosen)


def start(models: dict[str, str], name: str) -> Tally:
    """An engine with one of the models."""
    return Tally(f"vLLM {vllm.__version__}, {name}", engine_vllm.load(models[name], settings(models[name]), "cpu"))


@pytest.fixture(scope="module")
def sees(models: dict[str, str]) -> Iterator[Tally]:
    """An engine with Qwen2.5-VL; says at the end what it was asked."""
    tally = start(models, "qwen2.5")
    yield tally
    print(f"\n{tally}")


@pytest.fixture(scope="module")
def reads(models: dict[str, str]) -> Iterator[Tally]:
    """An engine with a language model; says at the end what it was asked."""
    tally = start(models, "qwen-lm")
    yield tally
    print(f"\n{tally}")


def video(first: int, count: int = 4, size: tuple[int, int] = (168, 84)) -> Video:
    """Numbered frames, half a second from one to the next."""
    pictures = np.stack([draw(first + k, size) for k in range(count)])
    return Video(pictures, tuple(15 * k for k in range(count)), 30.0, 15 * count)


def test_answers_are_those_of_transformers(models: dict[str, str], sees: Tally) -> None:
    """With frames wider than the video is long: else transformers 5.24 lets text begin before the last frame's time."""
    requests = [BOAT, *(Request("Describe this video.", video(at)) for at in (0, 300, 700))]
    theirs = engine_transformers.load(models["qwen2.5"], settings("qwen2.5"), "cpu")
    assert sees.generate(requests) == [theirs.generate([request])[0] for request in requests]


def test_frames_of_a_model_that_reads_times_are_those_of_transformers(models: dict[str, str]) -> None:
    requests = [Request("Describe this video.", video(at, size=(192, 96))) for at in (0, 700)]
    engine = start(models, "qwen3")
    theirs = engine_transformers.load(models["qwen3"], settings("qwen3"), "cpu")
    assert engine.generate(requests) == theirs.generate(requests)
    print(f"\n{engine}")


def test_every_request_of_a_batch_gets_its_own_answer(sees: Tally) -> None:
    requests = [BOAT, *(Request("Describe this video.", video(100 * k)) for k in range(12)), DOG]
    together = sees.generate(requests)
    assert together == [answer for request in requests for answer in sees.generate([request])]
    assert len({answer.text for answer in together if isinstance(answer, Answer)}) > 8
    assert {(a.tokens_out, a.finish_reason) for a in together if isinstance(a, Answer)} == {(WORDS, "length")}


def test_a_request_longer_than_the_model_reads_is_refused_alone(sees: Tally) -> None:
    first, refused, last = sees.generate([BOAT, Request("boat " * 9000), DOG])
    assert [first, last] == sees.generate([BOAT, DOG])
    assert isinstance(refused, MediaError)
    assert refused.code == "BAD_OUTPUT"
    assert "maximum context length is 8192 tokens" in refused.message


def test_the_second_stage_finds_the_frames_in_the_cache(sees: Tally) -> None:
    first = Request("Describe this video.", video(900, 8, (392, 280)))
    [answer] = sees.generate([first])
    assert isinstance(answer, Answer)
    again = caption.stage2_request(first, answer.text, caption.Params())
    engine = sees.engine
    [output] = engine._llm.generate([engine.prompt(again)], engine.sampling, use_tqdm=False)
    tokens = len(output.prompt_token_ids)
    print(f"\nsecond stage: {output.num_cached_tokens} of {tokens} prompt tokens were in the cache")
    assert output.num_cached_tokens >= 512  # of 560 for the frames: whole blocks of 128


def test_a_second_description_has_seen_the_frames_and_the_first(sees: Tally) -> None:
    params = caption.Params(generate_stage2_caption=True)
    told = caption.describe(sees, params, [Request("Describe this.", video(at)) for at in (0, 700)])
    for at, answers in zip((0, 700), told, strict=True):
        assert isinstance(answers, caption.WindowAnswers)
        again = Request(prompts.with_caption(prompts.STAGE2, answers.first.text.strip()), video(at))
        assert [answers.second] == sees.generate([again])


def test_captions_of_clips_are_rewritten(models: dict[str, str], reads: Tally) -> None:
    row = {"clip_id": "a", "captions": [{"caption": text, "stage2_caption": None} for text in ("A boat.", "A dog.")]}
    requests = list(enhance.prepare(row, lambda *_: None, enhance.Params()))
    told = enhance.rewrite(reads, requests)
    theirs = engine_transformers.load(models["qwen-lm"], settings("qwen-lm"), "cpu")
    alone = [theirs.generate([request])[0] for request in requests]
    assert [timed.answer for timed in told if isinstance(timed, enhance.TimedAnswer)] == alone


def test_answers_keep_to_a_schema(sees: Tally, reads: Tally) -> None:
    weather, moves = {"enum": ["sun", "rain"]}, {"type": "boolean"}
    schema = {"type": "object", "properties": {"weather": weather, "moves": moves}, "required": ["weather", "moves"]}
    chosen = settings("m", answer_schema=json.dumps(schema | {"additionalProperties": False}), max_output_tokens=64)
    for engine, request in ((sees.engine, Request("Describe this.", video(0))), (reads.engine, BOAT)):
        answer = answer_by(engine, chosen, request)
        told = json.loads(answer.text)
        assert (told["weather"] in ("sun", "rain"), type(told["moves"]), len(told)) == (True, bool, 2)
        assert answer.finish_reason == "stop"


def answer_by(engine: engine_vllm.Engine, chosen: GenerationSettings, request: Request) -> Answer:
    """The answer of a running vLLM by other settings."""
    sampling = engine_vllm.sampling_params(chosen)
    [answer] = engine_vllm.Engine(lambda: engine._llm, engine.processor, sampling, chosen).generate([request])
    assert isinstance(answer, Answer)
    return answer


def test_clips_become_rows_and_one_that_cannot_be_read_a_failure(models: dict[str, str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    paths = [write_numbered(tmp_path / f"{k}.mp4", 56, first=300 * k) for k in range(3)]
    clips = [{"clip_id": path.stem, "uri": str(path), "num_frames": 56, "framerate": 30.0} for path in [*paths, broken]]
    small: dict[str, Any] = {"min_frame_tokens": 16, "max_frame_tokens": 32, "caption_batch_size": 4}
    params = caption.Params(
        engine="vllm", model_variant=models["qwen2.5"], max_output_tokens=WORDS, sampling=GREEDY, **small
    )
    chosen = caption.Settings(params, windows.Params(window_size=32, remainder_threshold=16))
    done = pd.concat(caption.rows([pd.DataFrame(clips)], chosen, ENV))
    model_cache.drop()
    assert done[["failed_key", "failed_code"]].dropna().to_numpy().tolist() == [["broken", "CORRUPT"]]
    good = done[done["failed_key"].isna()].sort_values(["clip_id", "start_frame"])
    spans = good[["clip_id", "start_frame", "end_frame"]].to_records(index=False).tolist()
    assert spans == [(str(k), *span) for k in range(3) for span in ((0, 31), (32, 55))]
    assert good["caption"].nunique() == 6
    assert set(good["tokens_out"]) == {WORDS}


@pytest.fixture
def mortal(models: dict[str, str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An engine of which a process is killed by requests with a certain word."""
    arguments = engine_vllm.arguments
    monkeypatch.setenv("DEADLY", f"{request.param} lighthouse")
    deadly = {"logits_processors": ["tests.support.deadly:Deadly"]}
    monkeypatch.setattr(engine_vllm, "arguments", lambda *args: arguments(*args) | deadly)
    return start(models, "qwen-lm").engine


@pytest.mark.parametrize("mortal", ["core"], indirect=True)
def test_a_request_that_ends_vllm_fails_alone(mortal: engine_vllm.Engine) -> None:
    whole = mortal.generate([BOAT, DOG])
    first, ended, last = mortal.generate([BOAT, DEADLY, DOG])
    assert [first, last] == whole
    assert isinstance(ended, MediaError)
    assert ended.code == "CRASH"
    assert mortal.generate([DOG, BOAT]) == whole[::-1]


@pytest.mark.parametrize("mortal", ["worker"], indirect=True)
def test_vllm_that_ends_whatever_it_is_asked_is_loud(
    mortal: engine_vllm.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    monkeypatch.setattr(engine_vllm, "MAX_ENDS", 2)
    with pytest.raises(EngineDeadError):
        mortal.generate([DEADLY] * 8)


def test_nothing_is_left_of_vllm_once_its_model_is_dropped(models: dict[str, str]) -> None:
    before = set(descendants(os.getpid()))
    chosen = settings(models["qwen-lm"])
    model_cache._cache["model"] = engine_vllm.load(models["qwen-lm"], chosen, "cpu")
    started = set(descendants(os.getpid())) - before
    assert len(started) >= 2
    model_cache.drop()
    assert ended(started)


def test_nothing_is_left_of_vllm_once_its_worker_is_killed(models: dict[str, str]) -> None:
    """Else a Python worker that Spark kills would leave its GPU full."""
    code = (
        "import sys, time; from udfs.captioning import engine_vllm, requests as r\n"
        "if __name__ == '__main__':\n"
        "    engine = engine_vllm.load(sys.argv[1], r.GenerationSettings('vllm', sys.argv[1]), 'cpu')\n"
        "    print('loaded', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, models["qwen-lm"]], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert any(line == "loaded\n" for line in worker.stdout)
        started = set(descendants(worker.pid))
        assert len(started) >= 2
        worker.send_signal(signal.SIGKILL)
    assert ended(started)


def ended(pids: set[int]) -> bool:
    """Whether processes end within a minute."""
    until = time.monotonic() + 60
    while (left := [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]) and time.monotonic() < until:
        time.sleep(0.5)
    return not left
