"""A logits processor that kills a process of its vLLM over prompts with a certain word.

The environment variable DEADLY names both: `worker boat`. The worker runs the model; `core`, its
parent, schedules.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from transformers import AutoTokenizer
from vllm.v1.sample.logits_processor import LogitsProcessor


class Deadly(LogitsProcessor):  # type: ignore[misc]  # where mypy runs, there is no vLLM
    """Looks at the prompts of new requests, and leaves logits alone."""

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        self.victim, word = os.environ["DEADLY"].split()
        tokenizer: Any = AutoTokenizer.from_pretrained(vllm_config.model_config.tokenizer, local_files_only=True)
        [self.token] = tokenizer.encode(f" {word}")

    def update_state(self, batch_update: Any) -> None:
        """Kill the victim if a new prompt has the word."""
        for _, _, prompt, _ in batch_update.added if batch_update else ():
            if self.token in prompt:
                os.kill(os.getpid() if self.victim == "worker" else os.getppid(), signal.SIGKILL)

    def is_argmax_invariant(self) -> bool:
        """True: greedy sampling may skip `apply`."""
        return True

    def apply(self, logits: Any) -> Any:
        """The logits."""
        return logits
