"""The declarations of all tables, one per file."""

from schemas import (
    aesthetics,
    alignments,
    assignments,
    captions,
    centroids,
    clips,
    copies,
    copy_keys,
    duplicates,
    embeddings,
    enhanced,
    failures,
    runs,
    signals,
    spans,
    takedowns,
    verdicts,
    videos,
)
from schemas.table import Table

TABLES: dict[str, Table] = {
    module.TABLE.name: module.TABLE
    for module in (
        videos,
        spans,
        clips,
        signals,
        copies,
        copy_keys,
        aesthetics,
        embeddings,
        centroids,
        assignments,
        duplicates,
        verdicts,
        captions,
        enhanced,
        alignments,
        failures,
        runs,
        takedowns,
    )
}
