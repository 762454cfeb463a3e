"""The tables, one a file: name, key, and columns each with a type and a comment."""

from schemas import centroids, clips, duplicates, embeddings, failures, runs, signals, spans, verdicts, videos
from schemas.table import Table

TABLES: dict[str, Table] = {
    module.TABLE.name: module.TABLE
    for module in (videos, spans, clips, signals, embeddings, centroids, duplicates, verdicts, failures, runs)
}
