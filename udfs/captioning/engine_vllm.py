"""Generate text with vLLM, which batches requests by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from udfs.captioning.requests import Answer, GenerationSettings, Request, Video, chat_prompt
from udfs.core.errors import MediaError
from udfs.models.registry import MissingModelError

MAX_MODEL_LEN = 32768  # tokens of prompt and answer
GPU_SHARE = 0.85  # of the memory that is the task's part of a GPU


def load(folder: str, settings: GenerationSettings, device: str, remote_code: bool = False) -> Engine:
    """vLLM's engine, in processes of its own, on the task's GPUs.

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
        max_tokens=settings.max_output_tokens,
        temperature=settings.sampling.temperature,
        top_p=settings.sampling.top_p,
        repetition_penalty=settings.sampling.repetition_penalty,
        seed=settings.sampling.seed,
    )
    with _visible(gpus(settings, device)):
        return Engine(LLM(**arguments(folder, settings, remote_code)), processor, sampling, settings)


def arguments(folder: str, settings: GenerationSettings, remote_code: bool) -> dict[str, Any]:
    """The arguments of vllm.LLM."""
    part = settings.gpus if 0 < settings.gpus < 1 else 1.0
    return {
        "model": folder,
        "trust_remote_code": remote_code,
        "max_model_len": MAX_MODEL_LEN,
        "gpu_memory_utilization": GPU_SHARE * part,
        "tensor_parallel_size": max(1, int(settings.gpus)),
        "quantization": "fp8" if settings.fp8 else None,
        "limit_mm_per_prompt": {"image": 0, "video": 1},
        "seed": settings.sampling.seed,
    } | ({} if settings.mm_cache else {"mm_processor_cache_gb": 0})


def gpus(settings: GenerationSettings, device: str) -> list[int]:
    """The GPUs that vLLM may use: the task's own if it has several, else consecutive ones from that of `device`."""
    if len(settings.gpu_addresses) > 1 and all(address.isdigit() for address in settings.gpu_addresses):
        return [int(address) for address in settings.gpu_addresses]
    first = int(device.rpartition(":")[2])
    return list(range(first, first + max(1, int(settings.gpus))))


@dataclass(frozen=True)
class Engine:
    """A running vLLM, and the processor that formats its prompts."""

    llm: Any
    processor: Any
    sampling: Any
    settings: GenerationSettings

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """One answer per request, in order."""
        outputs = self.llm.generate([self.prompt(request) for request in requests], self.sampling, use_tqdm=False)
        return [_answer(output) for output in outputs]

    def prompt(self, request: Request) -> dict[str, Any]:
        """A request in vLLM's format: the text with a placeholder for the video, and the frames."""
        text = chat_prompt(self.processor, request)
        if request.video is None:
            return {"prompt": text}
        return {
            "prompt": text,
            "multi_modal_data": {"video": [(request.video.pictures, metadata(request.video))]},
            "mm_processor_kwargs": {"do_sample_frames": False, "do_resize": not self.settings.resized},
        }


def metadata(video: Video) -> dict[str, Any]:
    """The times of the frames in vLLM's format."""
    return {
        "total_num_frames": video.num_frames,
        "fps": video.framerate,
        "duration": video.num_frames / video.framerate,
        "frames_indices": list(video.frame_numbers),
        "video_backend": "pyav",
        "do_sample_frames": False,
    }


def _answer(output: Any) -> Answer:
    [answer] = output.outputs
    return Answer(answer.text, len(output.prompt_token_ids), len(answer.token_ids), answer.finish_reason or "length")


@contextmanager
def _visible(numbers: Sequence[int]) -> Iterator[None]:
    """Within it, processes that vLLM starts see only these of this process's GPUs, and are spawned, not forked."""
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
