"""The folders of an export in NeMo Curator's layout, by the names of ClipWriterStage's helpers.

Each takes the folder of the export (`--to`), local or s3://bucket/prefix.
"""

from __future__ import annotations

CLIPS, FILTERED_CLIPS, PREVIEWS, METAS = "clips", "filtered_clips", "previews", "metas"
PROCESSED_VIDEOS, PROCESSED_CLIP_CHUNKS = "processed_videos", "processed_clip_chunks"
VERSION = "v0"  # of the documents in METAS
COSMOS_EMBED1, INTERN_VIDEO2 = "ce1", "iv2"  # prefixes of the folders of their vectors


def get_output_path_clips(output_path: str, *, filtered: bool = False) -> str:
    """Folder of the mp4 files of kept clips, or of dropped ones: `<span_uuid>.mp4`."""
    return _below(output_path, FILTERED_CLIPS if filtered else CLIPS)


def get_output_path_filtered_clips(output_path: str) -> str:
    """Folder of the mp4 files of dropped clips: `<span_uuid>.mp4`."""
    return get_output_path_clips(output_path, filtered=True)


def get_output_path_previews(output_path: str) -> str:
    """Folder of the previews: `<span_uuid>/<start>_<end>.webp`."""
    return _below(output_path, PREVIEWS)


def get_output_path_metas(output_path: str, version: str = VERSION) -> str:
    """Folder of the document of each clip: `<span_uuid>.json`."""
    return _below(output_path, f"{METAS}/{version}")


def get_output_path_ce1_embd(output_path: str) -> str:
    """Folder of the vectors by Cosmos-Embed1, a pickle per clip: `<span_uuid>.pickle`."""
    return _below(output_path, vectors(COSMOS_EMBED1))


def get_output_path_ce1_embd_parquet(output_path: str) -> str:
    """Folder of the vectors by Cosmos-Embed1, a Parquet file per chunk of a video."""
    return _below(output_path, parquet_vectors(COSMOS_EMBED1))


def get_output_path_iv2_embd(output_path: str) -> str:
    """Folder of the vectors by InternVideo2, a pickle per clip: `<span_uuid>.pickle`."""
    return _below(output_path, vectors(INTERN_VIDEO2))


def get_output_path_iv2_embd_parquet(output_path: str) -> str:
    """Folder of the vectors by InternVideo2, a Parquet file per chunk of a video."""
    return _below(output_path, parquet_vectors(INTERN_VIDEO2))


def get_output_path_processed_videos(output_path: str) -> str:
    """Folder of the document of each video: `<path of the video>.json`."""
    return _below(output_path, PROCESSED_VIDEOS)


def get_output_path_processed_clip_chunks(output_path: str) -> str:
    """Folder of the document of each chunk of a video: `<path of the video>_<chunk>.json`."""
    return _below(output_path, PROCESSED_CLIP_CHUNKS)


def vectors(prefix: str) -> str:
    """The folder of a model's vectors, a pickle per clip, by the model's prefix."""
    return f"{prefix}_embd"


def parquet_vectors(prefix: str) -> str:
    """The folder of a model's vectors, a Parquet file per chunk, by the model's prefix."""
    return f"{prefix}_embd_parquet"


def _below(output_path: str, folder: str) -> str:
    return f"{output_path.rstrip('/')}/{folder}"
