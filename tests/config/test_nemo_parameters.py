"""Every parameter and argument of NeMo Curator's stages is a setting, or has another name here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.config.settings import names

# As its documentation names them, by the section that holds their like here.
PARAMETERS = {
    "windows": ("window_size", "remainder_threshold"),
    "preview": ("target_fps", "target_height", "compression_level", "quality", "num_cpus_per_worker", "verbose"),
    "embed": ("variant", "texts_to_verify", "target_fps", "gpu_memory_gb", "model_dir", "verbose"),
    "caption": (
        "model_dir",
        "model_variant",
        "prompt_variant",
        "prompt_text",
        "sampling_fps",
        "model_does_preprocess",
        "preprocess_dtype",
        "generate_previews",
        "caption_batch_size",
        "fp8",
        "max_output_tokens",
        "disable_mmcache",
        "generate_stage2_caption",
        "stage2_prompt_text",
        "verbose",
    ),
    "enhance": (
        "model_dir",
        "model_variant",
        "prompt_variant",
        "prompt_text",
        "model_batch_size",
        "fp8",
        "max_output_tokens",
        "verbose",
    ),
    "aesthetic": ("model_dir", "target_fps", "num_gpus_per_worker"),
    "filter": ("aesthetic_threshold", "aesthetic_reduction"),
    "export.nemo": (
        "output_path",
        "input_path",
        "upload_clips",
        "dry_run",
        "generate_embeddings",
        "generate_previews",
        "generate_captions",
        "embedding_algorithm",
        "caption_models",
        "enhanced_caption_models",
        "verbose",
        "max_workers",
    ),
}
# Of its example script, video_split_clip_example.py.
ARGUMENTS = re.findall(
    r"\S+",
    """
--aesthetic-gpus-per-worker --aesthetic-reduction --aesthetic-threshold --captioning-algorithm
--captioning-batch-size --captioning-max-output-tokens --captioning-preprocess-dtype
--captioning-prompt-text --captioning-prompt-variant --captioning-remainder-threshold
--captioning-sampling-fps --captioning-stage2-caption --captioning-stage2-prompt-text
--captioning-use-fp8-weights --captioning-use-vllm-mmcache --captioning-window-size
--clip-extraction-target-res --clip-re-chunk-size --dry-run --embedding-algorithm
--embedding-gpu-memory-gb --enhance-captioning-prompt-variant --enhance-captions
--enhance-captions-algorithm --enhance-captions-batch-size --enhance-captions-max-output-tokens
--enhance-captions-prompt-text --enhance-captions-use-fp8-weights --enhanced-caption-models
--fixed-stride-min-clip-length-s --fixed-stride-split-duration --generate-captions
--generate-previews --limit-clips --model-dir --motion-decode-cpus-per-worker
--motion-decode-target-duration-ratio --motion-decode-target-fps --motion-filter
--motion-global-mean-threshold --motion-per-patch-min-256-threshold --motion-score-batch-size
--motion-score-gpus-per-worker --no-generate-embeddings --no-upload-clips --output-path
--preview-target-fps --preview-target-height --splitting-algorithm --transcode-cpus-per-worker
--transcode-encoder --transcode-encoder-threads --transcode-ffmpeg-batch-size
--transcode-use-hwaccel --transcode-use-input-video-bit-rate --transnetv2-crop-s
--transnetv2-frame-decoder-mode --transnetv2-gpu-memory-gb --transnetv2-max-length-mode
--transnetv2-max-length-s --transnetv2-min-length-s --transnetv2-threshold --verbose --video-dir
--video-limit
""",
)
PAGE = Path("docs/nemo-curator.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("### Parameters that go by another name")[2].partition("\n#")[0]
OTHER_NAMES = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", SECTION, flags=re.MULTILINE))


@pytest.mark.parametrize(("section", "parameter"), [(s, p) for s, params in PARAMETERS.items() for p in params])
def test_a_parameter_is_a_setting_or_has_another_name(section: str, parameter: str) -> None:
    assert f"{section}.{parameter}" in names() or f"{section}.{parameter}" in OTHER_NAMES or parameter in OTHER_NAMES


def test_other_names_are_settings() -> None:
    known = {*names(), *(name.rpartition(".")[0] for name in names())}
    named = [name for text in OTHER_NAMES.values() for name in re.findall(r"`([a-z]+\.[a-z_.]+)`", text)]
    assert named
    assert set(named) <= known


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_the_page_says_what_an_argument_is_called_here(argument: str) -> None:
    assert re.search(rf"^\|[^|]*`{argument}[ `]", PAGE, flags=re.MULTILINE)
