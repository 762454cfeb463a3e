"""duplicates: where each embedded clip stands among its like, one row a clip."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table

TABLE = table(
    "duplicates",
    ("clip_id",),
    "Where each embedded clip stands among its like, one row a clip.",
    column("clip_id", pa.string(), "row of embeddings", nullable=False),
    column("cluster_id", pa.int32(), "row of centroids; NULL for a zero vector, which is like nothing"),
    column("distance_to_centroid", pa.float64(), "1 - cosine to the cluster's centre"),
    column("duplicate_of", pa.string(), "the kept clip that stands for this one; NULL if this one is kept"),
    column("similarity", pa.float64(), "cosine to duplicate_of; for a kept clip to its nearest kept elder, NULL if none"),
    column("method", pa.string(), "semantic"),
    FINGERPRINT,
    RUN_ID,
)
