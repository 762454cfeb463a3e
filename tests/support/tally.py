"""An engine that counts its requests, tokens and seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from udfs.captioning.requests import Answer, Engine, Request
from udfs.core.errors import MediaError


class Tally:
    """Passes requests on to an engine."""

    def __init__(self, name: str, engine: Any) -> None:
        self.name = name
        self.engine: Any = engine
        self.requests = self.refused = self.tokens_in = self.tokens_out = 0
        self.seconds = 0.0

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """The engine's answers."""
        engine: Engine = self.engine
        started = time.monotonic()
        answers = engine.generate(requests)
        self.seconds += time.monotonic() - started
        self.requests += len(requests)
        told = [answer for answer in answers if isinstance(answer, Answer)]
        self.refused += len(answers) - len(told)
        self.tokens_in += sum(answer.tokens_in or 0 for answer in told)
        self.tokens_out += sum(answer.tokens_out or 0 for answer in told)
        return answers

    def __str__(self) -> str:
        asked = f"{self.requests} requests, {self.refused} refused"
        return f"{self.name}: {asked}, {self.tokens_in} tokens in, {self.tokens_out} out, {self.seconds:.1f} s"
