"""A model's folder -> an engine that hands requests to vLLM, which batches them by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from udfs.captioning.requests import Answer, Request, Speech, Video, chat
from udfs.core.errors import MediaError
from udfs.models.registry import MissingModelError

MAX_MODEL_LEN = 32768  # tokens of prompt and answer
GPU_SHARE = 0.85  # of the task's part of a GPU


def load(folder: str, speech: Speech, device: str, remote_code: bool = False) -> Engine:
    """vLLM's engine in processes of its own, on the task's GPUs.

    Raises:
        MissingModelError: vLLM is not installed on this worker, or the task has no GPU.
    """
    try:
        from vllm import LLM, SamplingParams
    except ImportError as e:
        raise MissingModelError(
            f"vllm is not installed on {os.uname().nodename}: install it, or set engine = transformers"
        ) from e
    if device == "cpu":
        raise MissingModelError("engine = vllm needs a GPU, and this task has none")
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=remote_code)
    sampling = SamplingParams(
        max_tokens=speech.max_output_tokens,
        temperature=speech.sampling.temperature,
        top_p=speech.sampling.top_p,
        repetition_penalty=speech.sampling.repetition_penalty,
        seed=speech.sampling.seed,
    )
    with _visible(gpus(speech, device)):
        return Engine(LLM(**arguments(folder, speech, remote_code)), processor, sampling, speech)


def arguments(folder: str, speech: Speech, remote_code: bool) -> dict[str, Any]:
    """What vllm.LLM is made with."""
    part = speech.gpus if 0 < speech.gpus < 1 else 1.0
    return {
        "model": folder,
        "trust_remote_code": remote_code,
        "max_model_len": MAX_MODEL_LEN,
        "gpu_memory_utilization": GPU_SHARE * part,
        "tensor_parallel_size": max(1, int(speech.gpus)),
        "quantization": "fp8" if speech.fp8 else None,
        "limit_mm_per_prompt": {"image": 0, "video": 1},
        "seed": speech.sampling.seed,
    } | ({} if speech.mm_cache else {"mm_processor_cache_gb": 0})


def gpus(speech: Speech, device: str) -> list[int]:
    """The GPUs that vLLM may see: the task's several, or from the one of `device` on as many as it takes."""
    if len(speech.gpu_addresses) > 1 and all(address.isdigit() for address in speech.gpu_addresses):
        return [int(address) for address in speech.gpu_addresses]
    first = int(device.rpartition(":")[2])
    return list(range(first, first + max(1, int(speech.gpus))))


@dataclass(frozen=True)
class Engine:
    """A running vLLM and the processor that writes its prompts."""

    llm: Any
    processor: Any
    sampling: Any
    speech: Speech

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """An answer a request, in order."""
        outputs = self.llm.generate([self.prompt(request) for request in requests], self.sampling, use_tqdm=False)
        return [_answer(output) for output in outputs]

    def prompt(self, request: Request) -> dict[str, Any]:
        """A request as vLLM takes it: the text with the video's place in it, and the frames."""
        text = chat(self.processor, request)
        if request.video is None:
            return {"prompt": text}
        return {
            "prompt": text,
            "multi_modal_data": {"video": [(request.video.pictures, metadata(request.video))]},
            "mm_processor_kwargs": {"do_sample_frames": False, "do_resize": not self.speech.resized},
        }


def metadata(video: Video) -> dict[str, Any]:
    """When the frames are shown, as vLLM wants to be told."""
    return {
        "total_num_frames": video.num_frames,
        "fps": video.framerate,
        "duration": video.num_frames / video.framerate,
        "frames_indices": list(video.frame_numbers),
        "video_backend": "pyav",
        "do_sample_frames": False,
    }


def _answer(output: Any) -> Answer:
    [said] = output.outputs
    return Answer(said.text, len(output.prompt_token_ids), len(said.token_ids), said.finish_reason or "length")


@contextmanager
def _visible(numbers: Sequence[int]) -> Iterator[None]:
    """Let the processes that vLLM starts meanwhile see these of the GPUs that this one sees, and be started anew, not forked."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else [str(number) for number in range(max(numbers) + 1)]
    changed = {
        "CUDA_VISIBLE_DEVICES": ",".join(names[number % len(names)] for number in numbers),
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # this process has threads and CUDA
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
