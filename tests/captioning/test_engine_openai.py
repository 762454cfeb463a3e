"""The engine of OpenAI-compatible endpoints, on a real `transformers serve` and a failing server."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support import tiny
from tests.support.endpoint import Reply, serving
from tests.support.footage import draw, read_number
from udfs.captioning import engine_openai
from udfs.captioning.engine_openai import EndpointError, Engine
from udfs.captioning.requests import Answer, Endpoint, GenerationSettings, Request, Sampling, Video
from udfs.core.errors import MediaError
from udfs.models.registry import MissingModelError

BOAT = Request("A boat?")
START_S = 180.0


def engine(url: str, model: str = "talker", settings: dict[str, Any] | None = None, **at: Any) -> Engine:
    generation: dict[str, Any] = {"max_output_tokens": 8} | (settings or {})
    return engine_openai.load(GenerationSettings("openai", model, endpoint=Endpoint(base_url=url, **at), **generation))


def video(first: int = 0) -> Video:
    """Four numbered frames, half a second from one to the next."""
    return Video(np.stack([draw(first + k, (320, 240)) for k in range(4)]), (0, 15, 30, 45), 30.0, 60)


def test_an_answer_has_its_text_its_tokens_and_why_it_ended() -> None:
    with serving(Reply(text="A boat on a lake", finish_reason="length")) as server:
        assert engine(server.url).generate([BOAT]) == [Answer("A boat on a lake", 11, 3, "length")]
    [asked] = server.asked
    assert asked == {
        "model": "talker",
        "messages": [{"role": "user", "content": "A boat?"}],
        "max_tokens": 8,
        "temperature": 0.1,
        "top_p": 0.001,
        "seed": 0,
    }


def test_frames_travel_as_jpegs_in_their_order_with_their_times_before_them() -> None:
    with serving(Reply()) as server:
        engine(server.url).generate([Request("Describe this.", video(300))])
    [message] = server.asked[0]["messages"]
    kinds = [part["type"] for part in message["content"]]
    assert kinds == ["text", *["image_url"] * 4, "text"]
    assert "0.0, 0.5, 1.0, 1.5" in message["content"][0]["text"]
    assert message["content"][-1]["text"] == "Describe this."
    heads, bodies = zip(*(part["image_url"]["url"].split(",") for part in message["content"][1:5]), strict=True)
    assert set(heads) == {"data:image/jpeg;base64"}
    pictures = [cv2.imdecode(np.frombuffer(base64.b64decode(body), np.uint8), cv2.IMREAD_COLOR) for body in bodies]
    assert all(picture is not None for picture in pictures)
    rgb = [cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8) for picture in pictures if picture is not None]
    assert [read_number(picture) for picture in rgb] == [300, 301, 302, 303]
    assert abs(rgb[0].astype(int) - video(300).pictures[0]).mean() < 4  # red is red


def test_parameters_of_vllms_own_go_to_no_other_endpoint() -> None:
    with serving(Reply()) as server:
        engine(server.url, settings={"vllm_endpoint": True, "sampling": Sampling(repetition_penalty=1.2)}).generate(
            [BOAT]
        )
    assert server.asked[0]["repetition_penalty"] == 1.2
    assert server.asked[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_schema_of_answers_goes_to_the_endpoint() -> None:
    schema = {"type": "object", "properties": {"weather": {"type": "string"}}}
    with serving(Reply(text='{"weather": "rain"}')) as server:
        engine(server.url, settings={"answer_schema": json.dumps(schema)}).generate([BOAT])
    [asked] = server.asked
    assert asked["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


def test_too_many_requests_are_tried_again_when_the_server_says() -> None:
    with serving(Reply(429, {"Retry-After": "2"}), Reply()) as server:
        assert engine(server.url).generate([BOAT]) == [Answer("A boat.", 11, 3, "stop")]
    assert len(server.times) == 2
    assert server.times[1] - server.times[0] >= 2


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with serving(Reply(status), Reply()) as server:
        assert engine(server.url).generate([BOAT]) == [Answer("A boat.", 11, 3, "stop")]
    assert len(server.asked) == 2


def test_pauses_between_tries_grow() -> None:
    with serving(Reply(500), Reply(500), Reply(500), Reply()) as server:
        engine(server.url).generate([BOAT])
    first, second, third = (b - a for a, b in pairwise(server.times))
    assert first < second < third


def test_one_that_does_not_come_back_is_asked_again() -> None:
    with serving(Reply(after_s=3.0, text="late"), Reply()) as server:
        assert engine(server.url, timeout_s=0.5).generate([BOAT]) == [Answer("A boat.", 11, 3, "stop")]


def test_a_request_that_is_refused_fails_alone() -> None:
    with serving(Reply()) as server:
        good, bad = engine(server.url).generate([BOAT, Request("refuse")])
    assert isinstance(good, Answer)
    assert isinstance(bad, MediaError)
    assert bad.code == "BAD_OUTPUT"
    assert "400" in bad.message
    assert len(server.asked) == 2


NO_ANSWERS = {
    "500": Reply(500, error="no room"),
    "timed out": Reply(after_s=1.5),
    "choices=None": Reply(body='{"choices": null}'),
    "overloaded": Reply(body='{"error": {"message": "overloaded"}}'),
    "[]": Reply(body="[]"),
    "message=None": Reply(body='{"choices": [{"message": null}]}'),
    "<html>": Reply(body="<html>Sign in</html>", headers={"content-type": "text/html"}),
    "Expecting value": Reply(body='{"choices": ['),
}


@pytest.mark.parametrize("text", NO_ANSWERS)
def test_a_request_without_a_usable_answer_fails_alone_and_is_tried_again_by_the_next_run(text: str) -> None:
    with serving(Reply(), marked={"odd one": NO_ANSWERS[text]}) as server:
        asking = engine(server.url, max_retries=0, timeout_s=0.5)
        first, odd, last = asking.generate([BOAT, Request("odd one"), BOAT])
        [alone] = asking.generate([Request("odd one")])
    assert first == last == Answer("A boat.", 11, 3, "stop")
    for failure in (odd, alone):
        assert isinstance(failure, MediaError)
        assert failure.code == "UNREACHABLE"
        assert text in failure.message


@pytest.mark.parametrize("request_", [Request("odd one"), Request("odd one", video())], ids=["text", "frames"])
@pytest.mark.parametrize("status", [400, 500])
def test_a_plain_question_tells_a_request_that_fails_from_an_endpoint_that_does(status: int, request_: Request) -> None:
    with serving(Reply(), marked={"odd one": Reply(status)}) as server:
        [failure] = engine(server.url, max_retries=0).generate([request_])
    assert isinstance(failure, MediaError)
    assert "one word" in json.dumps(server.asked[1]["messages"])
    assert len(server.asked) == 2


def test_an_answer_may_lack_all_but_its_text() -> None:
    with serving(Reply(body='{"choices": [{"message": {"content": "A boat."}}]}')) as server:
        assert engine(server.url).generate([BOAT]) == [Answer("A boat.", None, None, "stop")]


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_key_that_a_server_repeats_is_not_shown(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_TESTS", "a-key-0f-my-0wn")
    refusal = Reply(status, error="Incorrect key a-key-0f-my-0wn, see https://h/x?code=7")
    with serving(Reply(), marked={"odd one": refusal}) as server:
        asked = engine(server.url, api_key_env="KEY_OF_TESTS", max_retries=0)
        [failure] = asked.generate([Request("odd one")])
    assert server.headers[0]["authorization"] == "Bearer a-key-0f-my-0wn"
    assert isinstance(failure, MediaError)
    assert "Incorrect key *********(redacted), see https://h/x" in failure.message
    assert "0f-my-0wn" not in failure.message
    with serving(refusal) as server, pytest.raises(EndpointError) as stopped:
        engine(server.url, api_key_env="KEY_OF_TESTS", max_retries=0).generate([BOAT])
    assert "0f-my-0wn" not in "".join(traceback.format_exception(stopped.value))


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (Reply(400, error="pictures\nare too many"), "the endpoint refused: 400 pictures are too many"),
        (Reply(401, error="Incorrect key"), "the endpoint gave no answer: 401 Incorrect key"),
        (Reply(403), "the endpoint gave no answer: 403 status 403"),
        (Reply(404, body='{"detail": "Not Found"}'), "the endpoint gave no answer: 404 {'detail': 'Not Found'}"),
        (Reply(502, body="<h1>Bad gateway</h1>"), "the endpoint gave no answer: 502 <h1>Bad gateway</h1>"),
        (NO_ANSWERS["<html>"], "the endpoint gave no usable answer: <html>Sign in</html>"),
    ],
)
def test_an_endpoint_that_answers_nothing_stops_the_run_with_one_line(reply: Reply, line: str) -> None:
    with serving(reply) as server:
        with pytest.raises(EndpointError) as stopped:
            engine(server.url, max_retries=0).generate([BOAT])
        assert str(stopped.value) == f"{server.url} answers no request: {line}"
    assert len(server.asked) == 2


def test_an_endpoint_that_stays_broken_is_loud_after_all_tries() -> None:
    with serving(Reply(500)) as server, pytest.raises(EndpointError):
        engine(server.url, max_retries=2).generate([BOAT])
    assert len(server.asked) == 6  # three for the request, and three for the plain question


def test_an_endpoint_that_is_not_there_is_loud() -> None:
    with pytest.raises(EndpointError, match=r"answers no request: the endpoint gave no answer: .*refused"):
        engine(f"http://127.0.0.1:{free_port()}/v1", max_retries=1).generate([BOAT])


@pytest.mark.parametrize("status", [413, 504])
def test_an_endpoint_that_answers_plain_questions_alone_stops_the_run(status: int) -> None:
    with serving(Reply(), marked={"boat": Reply(status)}) as server:
        asking = engine(server.url, max_retries=0)
        for _ in range(2):
            assert all(isinstance(failure, MediaError) for failure in asking.generate([BOAT] * 8))
        with pytest.raises(EndpointError, match=str(status)):
            asking.generate([BOAT] * 8)


def test_what_an_endpoint_refuses_once_it_has_answered_is_never_too_much() -> None:
    with serving(Reply()) as server:
        asking = engine(server.url)
        asking.generate([BOAT])
        refused = [failure for _ in range(4) for failure in asking.generate([Request("refuse")] * 8)]
    assert {failure.code for failure in refused if isinstance(failure, MediaError)} == {"BAD_OUTPUT"}
    assert len(server.asked) == 1 + len(refused)


def test_the_limit_of_tokens_goes_by_the_name_that_the_endpoint_takes() -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    with serving(Reply(400, error=said), Reply()) as server:
        asking = engine(server.url)
        assert asking.generate([BOAT]) + asking.generate([BOAT]) == [Answer("A boat.", 11, 3, "stop")] * 2
    limits = [{name: body[name] for name in body if name.endswith("tokens")} for body in server.asked]
    assert limits == [{"max_tokens": 8}, {"max_completion_tokens": 8}, {"max_completion_tokens": 8}]


@pytest.mark.parametrize(
    ("second", "line"), [("no field max_completion_tokens", "max_tokens is above 4"), ("temperature?", "temperature")]
)
def test_where_neither_name_will_do_the_endpoint_is_asked_once_more(second: str, line: str) -> None:
    replies = [Reply(400, error="max_tokens is above 4"), Reply(400, error=second), Reply()]
    with serving(*replies) as server:
        [failure] = engine(server.url).generate([BOAT])
    assert isinstance(failure, MediaError)
    assert line in failure.message
    assert [("max_tokens" in body) for body in server.asked] == [True, False, True]


def unsupported(name: str) -> Reply:
    """What a model that reasons says of a parameter."""
    return Reply(400, error=f"Unsupported value: '{name}' does not support 0.1 with this model.")


def test_what_a_model_does_not_take_is_left_to_it_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    limit = Reply(400, error="Unsupported parameter: 'max_tokens' is not supported with this model.")
    with serving(limit, unsupported("temperature"), unsupported("top_p"), Reply()) as server:
        asking = engine(server.url)
        assert asking.generate([BOAT]) + asking.generate([BOAT]) == [Answer("A boat.", 11, 3, "stop")] * 2
    names = {"max_tokens", "max_completion_tokens", "temperature", "top_p", "seed"}
    assert [names & body.keys() for body in server.asked[-2:]] == [{"max_completion_tokens", "seed"}] * 2
    assert len(server.asked) == 5
    assert caplog.text.count("takes no") == 1


def test_of_two_that_a_model_does_not_take_at_once_the_temperature_stays() -> None:
    said = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    with serving(Reply(400, error=said), Reply()) as server:
        assert engine(server.url).generate([BOAT]) == [Answer("A boat.", 11, 3, "stop")]
    assert "temperature" in server.asked[-1]
    assert "top_p" not in server.asked[-1]


def test_a_temperature_that_is_out_of_range_is_the_error_of_the_settings() -> None:
    with serving(Reply(400, error="temperature: range: 0..1")) as server, pytest.raises(EndpointError, match="range"):
        engine(server.url).generate([BOAT])


def test_no_more_than_so_many_are_asked_at_once_and_answers_keep_their_order() -> None:
    replies = [Reply(after_s=0.3)]
    with serving(*replies) as server:
        got = engine(server.url, concurrency=2).generate([Request(f"A boat? {k}") for k in range(6)])
    assert server.most == 2
    assert len(got) == 6
    with serving(Reply(after_s=0.6, text="first"), Reply(text="second")) as server:
        client = engine(server.url)
        slow_first = client.generate([BOAT]) + client.generate([BOAT])
    assert [answer.text for answer in slow_first if isinstance(answer, Answer)] == ["first", "second"]


def test_requests_a_minute_count_retries_too() -> None:
    with serving(Reply(503), Reply()) as server:
        engine(server.url, requests_per_minute=60).generate([Request(f"A boat? {k}") for k in range(3)])
    assert len(server.times) == 4
    gaps = [b - a for a, b in pairwise(sorted(server.times))]
    assert min(gaps) > 0.8


def test_the_key_comes_from_the_environment_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALKER_KEY", "s3cret")
    with serving(Reply()) as server:
        asking = engine(server.url, api_key_env="TALKER_KEY")
        asking.generate([BOAT])
    assert server.headers[0]["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(asking.settings)


def test_a_key_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TALKER_KEY", raising=False)
    with pytest.raises(MissingModelError, match=r"^the environment variable TALKER_KEY is not set on [^\n]+$"):
        engine("http://127.0.0.1:1/v1", api_key_env="TALKER_KEY")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a running `transformers serve` and the name of its tiny model, which sees."""
    root = tmp_path_factory.mktemp("served")
    folder, port = tiny.qwen2_5_vl(root / "qwen2.5"), free_port()
    command = [
        str(Path(sys.executable).parent / "transformers"),
        "serve",
        str(folder),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    with (root / "log").open("w") as log:
        process = subprocess.Popen([*command, "--device", "cpu"], stdout=log, stderr=log, env=os.environ | offline)
    try:
        _await(f"http://127.0.0.1:{port}/health", process, root / "log")
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(30)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"transformers serve does not start: {log.read_text()[-2000:]}")


def test_a_real_server_answers_to_the_frames_in_words(served: tuple[str, str]) -> None:
    url, model = served
    asking = engine(url, model)
    first, other, again = asking.generate([Request("Describe this video.", video(at)) for at in (0, 700, 0)])
    for answer in (first, other, again):
        assert isinstance(answer, Answer)
        assert len(re.findall(r"\w+", answer.text)) == answer.tokens_out == 8
        assert answer.tokens_in is not None
        assert answer.tokens_in > 40  # four pictures, of 4 tokens at least, and the texts
        assert answer.finish_reason == "length"
    assert first == again != other


def test_a_real_server_answers_to_text(served: tuple[str, str]) -> None:
    url, model = served
    [answer] = engine(url, model).generate([BOAT])
    assert isinstance(answer, Answer)
    assert len(answer.text.split()) == 8
