"""Generate text with transformers: one call of `generate` per batch of requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)
from transformers.utils.logging import disable_progress_bar
from transformers.video_utils import VideoMetadata

from udfs.captioning.requests import Answer, GenerationSettings, Request, Video, chat_prompt
from udfs.core.errors import MediaError


def load(folder: str, settings: GenerationSettings, device: str, remote_code: bool = False) -> Engine:
    """The model and its processor; bfloat16 on a GPU, float32 on a CPU."""
    disable_progress_bar()  # a worker's log is no terminal
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": remote_code}
    config = AutoConfig.from_pretrained(folder, **local)
    has_vision = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    model_class = AutoModelForImageTextToText if has_vision else AutoModelForCausalLM
    weights: dict[str, Any] = {"dtype": torch.float32 if device == "cpu" else torch.bfloat16, "use_safetensors": True}
    model: Any = model_class.from_pretrained(folder, attn_implementation="sdpa", **weights, **local)
    processor: Any = (AutoProcessor if has_vision else AutoTokenizer).from_pretrained(folder, **local)
    tokenizer = processor.tokenizer if has_vision else processor
    tokenizer.padding_side = "left"  # so that an answer directly follows its prompt
    if has_vision and hasattr(processor.video_processor, "cap_pixels_per_frame"):
        processor.video_processor.cap_pixels_per_frame = True  # one budget for the whole video, as in Qwen's own code
    return Engine(model.to(device).eval(), processor, tokenizer, settings)


@dataclass(frozen=True)
class Engine:
    """A loaded model."""

    model: Any
    processor: Any
    tokenizer: Any
    settings: GenerationSettings

    def generate(self, requests: Sequence[Request]) -> list[Answer | MediaError]:
        """One answer per request, in order; either all requests have a video, or none."""
        inputs = self.inputs(requests)
        start = inputs["input_ids"].shape[1]
        torch.manual_seed(self.settings.sampling.seed)
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **self._sampling())[:, start:].cpu()
        tokens_in = inputs["attention_mask"].sum(dim=1).tolist()
        return [self._answer(int(count), row) for count, row in zip(tokens_in, tokens, strict=True)]

    def inputs(self, requests: Sequence[Request]) -> dict[str, Any]:
        """The requests as one batch on the model's device, padded on the left."""
        texts = [chat_prompt(self.processor, request) for request in requests]
        videos = [request.video for request in requests if request.video]
        encoded = self.processor(
            text=texts, padding=True, return_tensors="pt", **(self._videos(videos) if videos else {})
        )
        encoded.pop("video_metadata", None)
        pixels = encoded.get("pixel_values_videos")
        if pixels is not None:
            encoded["pixel_values_videos"] = pixels.to(getattr(torch, self.settings.pixel_dtype))
        inputs = {
            name: value.to(self.model.device) if torch.is_tensor(value) else value for name, value in encoded.items()
        }
        # The repetition penalty also counts the tokens of the padding. All prompts end with the
        # same token: if that is the padding, an answer does not depend on the others in its batch.
        padding = inputs["attention_mask"] == 0
        inputs["input_ids"] = inputs["input_ids"].masked_fill(padding, int(inputs["input_ids"][0, -1]))
        return inputs

    def _videos(self, videos: Sequence[Video]) -> dict[str, Any]:
        return {
            "videos": [torch.from_numpy(video.pictures).permute(0, 3, 1, 2) for video in videos],
            "video_metadata": [
                VideoMetadata(video.num_frames, video.framerate, frames_indices=list(video.frame_numbers))
                for video in videos
            ],
            "do_sample_frames": False,
            "do_resize": not self.settings.resized,
        }

    def _sampling(self) -> dict[str, Any]:
        sampling = self.settings.sampling
        shared = {"max_new_tokens": self.settings.max_output_tokens, "repetition_penalty": sampling.repetition_penalty}
        if sampling.temperature == 0:
            return shared | {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return shared | {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}

    def _answer(self, tokens_in: int, tokens: torch.Tensor) -> Answer:
        end_tokens = self.model.generation_config.eos_token_id
        stops = torch.isin(tokens, torch.tensor(end_tokens if isinstance(end_tokens, list) else [end_tokens])).nonzero()
        count = int(stops[0]) + 1 if len(stops) else len(tokens)  # what follows is padding
        text = self.tokenizer.decode(tokens[:count], skip_special_tokens=True)
        return Answer(text, tokens_in, count, "stop" if len(stops) else "length")
