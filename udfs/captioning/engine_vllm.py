"""Generate text with vLLM, which batches requests by itself."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from queue import Queue
from typing import Any

from udfs.captioning.requests import Answer, GenerationSettings, Request, Video, chat_prompt
from udfs.core import gpu_device
from udfs.core.errors import MediaError
from udfs.models.registry import MissingModelError

log = logging.getLogger("reelmill")

OLDEST = "0.32"  # version of vLLM whose interface this is
MAX_MODEL_LEN = 32768  # tokens of prompt and answer, or the model's own bound where that is lower
GPU_SHARE = 0.85  # of the memory that is the task's part of a GPU
CPU_CACHE_BYTES = 4 << 30  # keys and values of a task on the CPU; VLLM_CPU_KVCACHE_SPACE takes precedence
KILL_AT_EOF = 'read _; kill -9 "$@"'  # a shell's; its input ends with the process that holds the other end
MAX_ENDS = 5  # of vLLM in a row, without an answer between them: it is not the requests that end it


def load(folder: str, settings: GenerationSettings, device: str, remote_code: bool = False) -> Engine:
    """vLLM's engine, in processes of its own, on the task's GPUs, or on the CPU if this vLLM is built for CPUs.

    Raises:
        MissingModelError: vLLM is not installed on this worker, or it needs a GPU and the task has none.
    """
    try:
        from vllm.exceptions import VLLMClientError  # noqa: F401 - older versions have none
    except ImportError as e:
        missing = f"vllm {OLDEST} or newer is not installed on {os.uname().nodename}"
        raise MissingModelError(f"{missing}: install it, or set engine = transformers") from e
    if device == "cpu" and not runs_on_cpus():
        raise MissingModelError("engine = vllm needs a GPU, and this task has none")
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=remote_code)
    return Engine(partial(start, folder, settings, device, remote_code), processor, sampling_params(settings), settings)


def sampling_params(settings: GenerationSettings) -> Any:
    """The vllm.SamplingParams of every request."""
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams

    schema = settings.answer_schema
    return SamplingParams(
        max_tokens=settings.max_output_tokens,
        temperature=settings.sampling.temperature,
        top_p=settings.sampling.top_p,
        repetition_penalty=settings.sampling.repetition_penalty,
        seed=settings.sampling.seed,
        structured_outputs=StructuredOutputsParams(json=schema, disable_any_whitespace=True) if schema else None,
    )


def runs_on_cpus() -> bool:
    """Whether the vLLM that is installed here is built for CPUs."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def start(folder: str, settings: GenerationSettings, device: str, remote_code: bool) -> Any:
    """A vllm.LLM that has loaded the model."""
    from vllm import LLM

    others = multiprocessing.active_children()
    with _environment(environment(settings, device)):
        llm = LLM(**arguments(folder, settings, device, remote_code))
    processes = [process for process in multiprocessing.active_children() if process not in others]
    if processes:
        watch = (processes, llm.llm_engine.engine_core.outputs_queue, _guard(processes))
        threading.Thread(target=_watch, args=watch, daemon=True).start()
    return llm


def _guard(processes: Sequence[BaseProcess]) -> subprocess.Popen[bytes]:
    """A process that kills others once this process has ended.

    vLLM 0.32 would outlive a worker that Spark kills, and with it the memory that it holds of a GPU.
    """
    pids = [str(process.pid) for process in processes]
    command = ["sh", "-c", KILL_AT_EOF, "sh", *pids]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def _watch(processes: Sequence[BaseProcess], outputs: Queue[Any], guard: subprocess.Popen[bytes]) -> None:
    """Wait until a process of vLLM ends, and tell those who wait for its outputs.

    vLLM 0.32 does so itself after an exception, but waits for ever for a process that was killed.
    """
    from vllm.v1.engine.exceptions import EngineDeadError

    wait([process.sentinel for process in processes])
    outputs.put(EngineDeadError())
    guard.kill()
    guard.wait()


def arguments(folder: str, settings: GenerationSettings, device: str, remote_code: bool) -> dict[str, Any]:
    """The arguments of vllm.LLM.

    Prefix caching is not among them: vLLM turns it on for every model that can do it. So the second
    stage finds the keys and values of the frames, which the chat template puts before the prompt,
    and `enhance` those of its prompt, which stands before the description.
    """
    part = settings.gpus if 0 < settings.gpus < 1 else 1.0
    on_cpu = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": CPU_CACHE_BYTES}
    return {
        "model": folder,
        "trust_remote_code": remote_code,
        "max_model_len": max_model_len(folder, remote_code),
        "gpu_memory_utilization": GPU_SHARE * part,
        "tensor_parallel_size": max(1, int(settings.gpus)),
        "quantization": "fp8" if settings.fp8 else None,
        "limit_mm_per_prompt": {"image": 0, "video": 1},
        "seed": settings.sampling.seed,
        **({} if settings.mm_cache else {"mm_processor_cache_gb": 0}),
        **(on_cpu if device == "cpu" else {}),
    }


def max_model_len(folder: str, remote_code: bool) -> int:
    """Tokens of prompt and answer: vLLM refuses to start with more than the model has positions for."""
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=remote_code)
    return min(MAX_MODEL_LEN, int(getattr(config.get_text_config(), "max_position_embeddings", MAX_MODEL_LEN)))


def environment(settings: GenerationSettings, device: str) -> dict[str, str]:
    """Variables for the processes that vLLM starts: of this process's GPUs they see the task's alone."""
    variables = {
        "VLLM_NO_USAGE_STATS": "1",  # else vLLM reports the machine and the model to its makers
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # this process has threads and CUDA, which no fork survives
    }
    if device == "cpu":
        return variables
    numbers = gpus(settings, device)
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else [str(number) for number in range(max(numbers) + 1)]
    return variables | {"CUDA_VISIBLE_DEVICES": ",".join(names[number % len(names)] for number in numbers)}


def gpus(settings: GenerationSettings, device: str) -> list[int]:
    """The GPUs that vLLM may use: the task's own if it has several, else consecutive ones from that of `device`."""
    return gpu_device.numbers(int(device.rpartition(":")[2]), settings.gpus, settings.gpu_addresses)


class Engine:
    """A running vLLM, and the processor that formats its prompts."""

    def __init__(self, start: Callable[[], Any], processor: Any, sampling: Any, settings: GenerationSettings) -> None:
        self._start, self.processor, self.sampling, self.settings = start, processor, sampling, settings
        self._ends = 0  # since the last answer
        self._llm = start()

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """One answer per request, in order.

        BAD_OUTPUT for a request that vLLM refuses, CRASH for one that ends vLLM. After a batch that
        ends it, vLLM is started again and asked request by request, so that the others are not lost.

        Raises:
            vllm.v1.engine.exceptions.EngineDeadError: vLLM ends again and again, whatever it is asked.
        """
        answers = self._try(requests)
        return [self._answer_alone(request) for request in requests] if answers is None else answers

    def _answer_alone(self, request: Request) -> Answer | MediaError:
        answers = self._try([request])
        return answers[0] if answers else MediaError("CRASH", "vLLM ended over this request; the worker's log says why")

    def _try(self, requests: Sequence[Request]) -> list[Answer | MediaError] | None:
        """The answers; None if vLLM has ended instead, in place of which another was started."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            answers = self._ask(requests)
            self._ends = 0
            return answers
        except EngineDeadError:
            self._ends += 1
            if self._ends == MAX_ENDS:
                raise
        # Not within `except`: the traceback keeps what is left of the vLLM that ended.
        log.warning("vLLM ended with %d requests; it is started again", len(requests))
        self._llm = None
        gc.collect()
        self._llm = self._start()
        return None

    def _ask(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        refusals = [self._enqueue(request) for request in requests]
        outputs = iter(self._llm.wait_for_completion(use_tqdm=False))  # in the order of the requests
        return [refusal or _answer(next(outputs)) for refusal in refusals]

    def _enqueue(self, request: Request) -> MediaError | None:
        """Hand a request to vLLM, which begins to work on it; returns the reason if vLLM refuses it."""
        from vllm.exceptions import VLLMClientError

        try:
            self._llm.enqueue(self.prompt(request), self.sampling, use_tqdm=False)
        except VLLMClientError as e:
            return MediaError("BAD_OUTPUT", f"vLLM refused: {str(e)[:500]}")
        return None

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
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
