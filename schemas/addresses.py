"""addresses: one row per video whose address has a password, signature or token; no view or query shows them."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table

TABLE = table(
    "addresses",
    ("uri",),
    "One row per video whose address has a user, a password, a signature or a token: how to read it.",
    column("uri", pa.string(), "as in videos", nullable=False),
    column("address", pa.string(), "the newest address with all that lets its reader in: a secret", nullable=False),
    FINGERPRINT,
    RUN_ID,
)
