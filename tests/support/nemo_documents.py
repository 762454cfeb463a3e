"""The names in NeMo Curator's documents of video curation: topics, stages, parameters, arguments, paths and classes."""

from __future__ import annotations

import re

TOPICS = (
    # About video curation
    *("clips for video world model training", "clips for generative video model fine-tuning"),
    *("a video database for video retrieval applications", "100+ PB of videos", "splitting pipelines"),
    *("deduplication pipelines", "text, images, audio", "Ray on several nodes and GPUs", "XennaExecutor"),
    *("pipeline execution backends", "`Pipeline` and `add_stage`", "data streamed through the pipeline"),
    *("autoscaling of workers per stage", "GPU-accelerated stages", "hardware decoders and encoders"),
    # Load data
    *("videos from local paths", "S3-compatible storage", "HTTP(S) URLs", "an explicit JSON file list"),
    *("a root prefix of that list", "`input_list_json_path`"),
    # Process data
    *("fixed-stride", "scene changes by TransNetV2", "`h264_nvenc`", "`libopenh264`", "encoding performance"),
    *("motion filtering", "aesthetic filtering", "frame extraction from clips or full videos, by fps"),
    *("Cosmos-Embed1", "InternVideo2", "search", "duplicate removal: semantic, k-means, pairwise"),
    *("captions by Qwen-VL", "captions enhanced by Qwen-LM", "WebP previews for review workflows"),
    *("FFmpeg with libwebp in the environment", "a warning where rate or height are below those of the preview"),
    "a preview that FFmpeg cannot make is logged and left out",
    # Write data
    *("clips, embeddings, previews and metadata in output directories", "Parquet embeddings"),
    *("WebDataset for training", "Save and Export"),
    # Learn
    *("concepts: architecture, stages, pipelines, data flow", "Get Started, video quickstart, installation"),
    *("Setup and Deployment", "the beginner tutorial: read, split, encode, embed, write"),
    *(f"pipeline customization: {subject}" for subject in ("environments", "code", "models", "stages")),
    *("API reference, related tools", "requirements and troubleshooting", "`llms.txt`", "an MCP server"),
)
STAGES = (
    *("VideoReader", "FixedStrideExtractorStage", "VideoFrameExtractionStage", "TransNetV2ClipExtractionStage"),
    *("ClipTranscodingStage", "MotionVectorDecodeStage", "MotionFilterStage", "ClipFrameExtractionStage"),
    *("ClipAestheticFilterStage", "CosmosEmbed1FrameCreationStage", "CosmosEmbed1EmbeddingStage"),
    *("CaptionPreparationStage", "PreviewStage", "CaptionGenerationStage", "CaptionEnhancementStage"),
    *("ClipWriterStage", "KMeansStage", "PairwiseStage", "IdentifyDuplicatesStage", "Pipeline", "XennaExecutor"),
)
# Parameters by stage; those that have a default in the documents with it.
DEFAULTS: dict[str, dict[str, object]] = {
    "CaptionPreparationStage": {
        "model_variant": "qwen",
        "prompt_variant": "default",
        "prompt_text": None,
        "sampling_fps": 2.0,
        "window_size": 256,
        "remainder_threshold": 128,
        "model_does_preprocess": False,
        "preprocess_dtype": "float32",
        "generate_previews": True,
        "verbose": False,
    },
    "PreviewStage": {
        "target_fps": 1.0,
        "target_height": 240,
        "compression_level": 6,
        "quality": 50,
        "num_cpus_per_worker": 4.0,
        "verbose": False,
    },
    "CaptionGenerationStage": {
        "model_dir": "models/qwen",
        "model_variant": "qwen",
        "caption_batch_size": 16,
        "fp8": False,
        "max_output_tokens": 512,
        "model_does_preprocess": False,
        "disable_mmcache": False,
        "generate_stage2_caption": False,
        "stage2_prompt_text": None,
        "verbose": False,
    },
}
PARAMETERS: dict[str, tuple[str, ...]] = {
    **{stage: tuple(defaults) for stage, defaults in DEFAULTS.items()},
    "CaptionEnhancementStage": (
        *("model_dir", "model_variant", "prompt_variant", "prompt_text", "model_batch_size", "fp8"),
        *("max_output_tokens", "verbose"),
    ),
    "ClipAestheticFilterStage": ("model_dir", "score_threshold", "reduction", "target_fps", "num_gpus_per_worker"),
    "CosmosEmbed1EmbeddingStage": (
        *("model_dir", "variant", "target_fps", "texts_to_verify", "gpu_memory_gb", "verbose"),
    ),
    "ClipWriterStage": (
        *("output_path", "input_path", "upload_clips", "dry_run", "generate_embeddings", "generate_previews"),
        *("generate_captions", "embedding_algorithm", "caption_models", "enhanced_caption_models", "verbose"),
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
FOLDERS = (
    *("clips", "filtered_clips", "previews", "metas/v0", "ce1_embd", "ce1_embd_parquet", "iv2_embd"),
    *("iv2_embd_parquet", "processed_videos", "processed_clip_chunks"),
)
# The data model of nemo_curator.tasks.video; VideoTask has no like here.
DATA_MODEL: dict[str, tuple[str, ...]] = {
    "Video": (
        *("input_video", "source_bytes", "metadata", "frame_array", "clips", "filtered_clips", "num_total_clips"),
        *("num_clip_chunks", "clip_chunk_index", "clip_stats", "errors", "populate_metadata", "fraction", "weight"),
        *("get_major_size", "has_metadata", "is_10_bit_color", "input_path"),
    ),
    "VideoMetadata": (
        *("size", "height", "width", "framerate", "num_frames", "duration", "video_codec", "pixel_format"),
        *("audio_codec", "bit_rate_k"),
    ),
    "Clip": (
        *("uuid", "source_video", "span", "buffer", "extracted_frames", "decoded_motion_data"),
        *("motion_score_global_mean", "motion_score_per_patch_min_256", "aesthetic_score", "cosmos_embed1_frames"),
        *("cosmos_embed1_embedding", "intern_video_2_frames", "intern_video_2_embedding", "windows", "egomotion"),
        *("cosmos_embed1_text_match", "intern_video_2_text_match", "errors", "extract_metadata", "duration"),
        "get_major_size",
    ),
    "_Window": (
        *("start_frame", "end_frame", "mp4_bytes", "qwen_llm_input", "x1_input", "caption", "enhanced_caption"),
        *("webp_bytes", "get_major_size"),
    ),
    "ClipStats": (
        *("num_filtered_by_motion", "num_filtered_by_aesthetic", "num_passed", "num_transcoded"),
        *("num_with_embeddings", "num_with_caption", "num_with_webp", "total_clip_duration", "max_clip_duration"),
        "combine",
    ),
}
TASK = ("data", "validate", "num_items")  # of VideoTask
