"""enhance: requests of captions, and the rows of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from tests.support import tiny
from tests.support.endpoint import REFUSE, Reply, serving
from udfs import enhance
from udfs.captioning import engines, prompts
from udfs.captioning.engine_openai import EndpointError
from udfs.captioning.requests import Answer, Endpoint, Request, Sampling
from udfs.core.errors import MediaError
from udfs.enhance import Params, TimedAnswer
from udfs.models import checkpoints, registry
from udfs.models.registry import MissingModelError
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env, Row

ENV = Env(media_root="unused", fingerprint="f" * 16)
HERE = registry.Params()
WORDS = 6


def clip(name: str, *captions: tuple[str, str | None]) -> Row:
    """A clip whose windows have these captions, first and refined."""
    windows = [
        {"start_frame": 256 * k, "end_frame": 256 * k + 255, "caption": first, "stage2_caption": second}
        for k, (first, second) in enumerate(captions)
    ]
    return {"clip_id": name, "captions": windows}


def asked(row: Row, params: Params) -> list[Request]:
    def call(*_: Any) -> None:
        pytest.fail("nothing needs the sandbox")

    return list(enhance.prepare(row, call, params))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny model that reads."""
    return str(tiny.qwen_lm(tmp_path_factory.mktemp("models") / "qwen-lm"))


def talking(model: str, **settings: Any) -> Params:
    return Params(model_variant=model, max_output_tokens=WORDS, sampling=Sampling(temperature=0), **settings)


def test_the_refined_caption_is_rewritten_where_there_is_one() -> None:
    first, second = asked(clip("a", ("A boat.", None), ("A dog.", "A brown dog runs.")), Params())
    assert first.prompt == prompts.ENHANCEMENTS["default"] + "\n\nA boat."
    assert second.prompt.endswith("\n\nA brown dog runs.")
    assert "A dog." not in second.prompt


def test_a_prompt_of_ones_own_says_where_the_caption_goes() -> None:
    [request] = asked(clip("a", ("A boat.", None)), Params(prompt_text="Translate '{caption}' into French."))
    assert request == Request("Translate 'A boat.' into French.")


@pytest.mark.parametrize("variant", ["default", "av", "av-surveillance"])
def test_every_variant_is_asked_as_it_is(variant: Any) -> None:
    [request] = asked(clip("a", ("A boat.", None)), Params(prompt_variant=variant))
    assert request.prompt.startswith(prompts.ENHANCEMENTS[variant])


def test_every_caption_becomes_a_row_that_the_library_would_have_written(reader: str) -> None:
    params = talking(reader, model_batch_size=2)
    clips = [clip("a", ("A boat.", None), ("A dog runs.", None)), clip("b", ("A train crosses the bridge.", None))]
    done = pd.concat(enhance.rows([pd.DataFrame(clips)], params, ENV)).sort_values(["clip_id", "start_frame"])
    assert list(done) == [*enhance.COLUMNS, "fingerprint", *FAILURE, COST, GPU_COST]
    spans = done[["clip_id", "start_frame", "end_frame"]].to_records(index=False).tolist()
    assert spans == [("a", 0, 255), ("a", 256, 511), ("b", 0, 255)]
    engine = engines.load(params.generation, HERE, "cpu")
    alone = [engine.generate([request])[0] for row in clips for request in asked(row, params)]
    expected = [answer for answer in alone if isinstance(answer, Answer)]
    assert done["enhanced_caption"].tolist() == [answer.text.strip() for answer in expected]
    assert len({answer.text for answer in expected}) > 1
    assert done["tokens_in"].tolist() == [answer.tokens_in for answer in expected]
    assert set(done["finish_reason"]) == {"length"}
    assert {tuple(codes) for codes in done["checks"]} == {("truncated",)}
    assert set(done["model"]) == {f"qwen-lm@{checkpoints.identity(reader)}"}
    assert done["seconds"].min() > 0


def finished(*texts: str) -> list[Row]:
    row = clip("a", *[("A boat.", None)] * len(texts))
    answers = [TimedAnswer(Answer(text, 1, 2, "stop"), 0.5) for text in texts]
    return enhance.finish(row, answers, Params(prompt_text="Mend it."), "m@1")


def test_a_row_has_every_column() -> None:
    [row] = finished("<think>hm</think> A red boat.")
    assert list(row) == enhance.COLUMNS
    assert row["prompt"] == prompts.prompt_name("default", "Mend it.")
    assert (row["enhanced_caption"], row["model"]) == ("A red boat.", "m@1")
    assert (row["tokens_in"], row["tokens_out"], row["seconds"], row["checks"]) == (1, 2, 0.5, [])


def test_saying_nothing_is_a_failure_and_what_looks_wrong_is_not() -> None:
    assert finished("I'm sorry, I cannot help.")[0]["checks"] == ["refusal"]
    with pytest.raises(MediaError, match="BAD_OUTPUT: an empty answer for the caption of frame 256"):
        finished("A boat.", " ")


class Refusing:
    """An engine that refuses every second request."""

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """An answer, a refusal, an answer."""
        refusal = MediaError("BAD_OUTPUT", "as asked")
        return [refusal if k % 2 else Answer(r.prompt, 1, 1, "stop") for k, r in enumerate(requests)]


def test_a_refused_request_fails_its_caption_alone() -> None:
    told = enhance.rewrite(Refusing(), [Request("a"), Request("b"), Request("c")])
    assert [type(answer) for answer in told] == [TimedAnswer, MediaError, TimedAnswer]


def asking(url: str) -> Params:
    """Settings that ask an endpoint once, ten captions at a time."""
    endpoint = Endpoint(base_url=url, max_retries=0)
    return Params(engine="openai", model_variant="talker", endpoint=endpoint, model_batch_size=10)


def test_of_many_clips_only_those_fail_that_the_endpoint_does_not_answer() -> None:
    said = {7: "refuse", 11: "no answer"}
    clips = pd.DataFrame([clip(str(k), (said.get(k, "A boat."), None)) for k in range(30)])
    with serving(Reply(), marked=REFUSE | {"no answer": Reply(500)}) as server:
        done = pd.concat(enhance.rows([clips], asking(server.url), ENV))
    failed = done[done["failed_key"].notna()].set_index("failed_key")["failed_code"]
    assert failed.to_dict() == {"7": "BAD_OUTPUT", "11": "UNREACHABLE"}
    assert len(done) == 30


@pytest.mark.parametrize("reply", [Reply(400, error="no top_p"), Reply(401, error="no top_p"), Reply(body="no top_p")])
def test_an_endpoint_that_answers_none_stops_the_task(reply: Reply) -> None:
    clips = pd.DataFrame([clip(str(k), ("A boat.", None)) for k in range(30)])
    with serving(reply) as server, pytest.raises(EndpointError, match=f"{server.url} answers no request: .*no top_p"):
        list(enhance.rows([clips], asking(server.url), ENV))
    assert len(server.asked) == 11


def test_an_endpoint_is_asked_without_a_gpu_whatever_device_models_have() -> None:
    env = replace(ENV, models=registry.Params(device="cuda"))
    with serving(Reply()) as server:
        [done] = enhance.rows([pd.DataFrame([clip("a", ("A dog.", None))])], asking(server.url), env)
    assert done["enhanced_caption"].tolist() == ["A boat."]


def test_what_cannot_run_is_said_in_one_line(tmp_path: Path) -> None:
    nowhere = registry.Params(dir=str(tmp_path))
    with pytest.raises(MissingModelError, match=r"^qwen-lm .* fetch it with [^\n]+$"):
        enhance.check(Params(), nowhere)
    with pytest.raises(MissingModelError, match=r"enhance.engine = openai needs enhance\.endpoint\.base_url"):
        enhance.check(Params(engine="openai"), nowhere)


def test_the_names_of_the_caption_models_mean_their_siblings_that_read() -> None:
    assert Params().generation.model == Params(model_variant="qwen2.5").generation.model == "qwen-lm"
    assert Params(model_variant="qwen3").generation.model == "qwen3-lm"


@pytest.mark.parametrize("settings", [{"model_batch_size": 0}, {"prompt_text": "<|im_start|>"}, {"sampling_fps": 2}])
def test_settings_out_of_bounds_are_refused(settings: Row) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Params).validate_python(settings)
