"""The files of a manifest that `ingest` would probe, found without Spark unless the manifest is a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from jobs.config.settings import Settings
from jobs.lake.catalog import literal
from jobs.lake.fingerprints import fingerprint
from jobs.queries.reader import Rows
from udfs import ingest
from udfs.core.errors import PASSING
from udfs.core.signed_addresses import unsigned
from udfs.storage import omissions
from udfs.storage.manifest import Manifest

VIDEOS = "SELECT uri AS key, fingerprint FROM current_videos"
FAILED = """
SELECT key, fingerprint FROM failures WHERE stage = 'ingest'
GROUP BY key, fingerprint HAVING max_by(code, run_id) NOT IN ({codes})
"""
TAKEN = "SELECT DISTINCT uri FROM takedowns"
PART = ("bucket", "prefix", "flat", "top")


def needs_spark(manifest: Manifest) -> bool:
    """Whether only Spark reads the manifest: it is a table."""
    return manifest.listing is None and manifest.kind != "prefix"


def number(
    manifest: Manifest,
    output: str,
    settings: Settings,
    rows: Rows,
    *,
    since: datetime | None,
    limit: int | None,
    retry: Sequence[str] | None,
) -> int:
    """How many files `ingest` would probe; the arguments are its options, and `rows` answers over its output."""
    files = next(ingest.add_versions(iter([_listed(manifest, settings)]), settings.sources))
    if since:
        files = next(ingest.add_change_times(iter([files])))
        files = files[~(files["changed_s"] < since.timestamp())]  # one without a time is taken
    taken = {unsigned(row["uri"]) for row in rows(TAKEN)}
    made_by, done = fingerprint("ingest", settings), _done(rows, retry)
    versions = zip(files["uri"], files["source_version"], strict=True)
    own = omissions.media_of(output)
    others = ((uri, version) for uri, version in versions if uri not in taken and not uri.startswith(own))
    found = sum((uri, f"{made_by}-{version}") not in done for uri, version in others)
    return found if limit is None else min(found, limit)


def _done(rows: Rows, retry: Sequence[str] | None) -> set[tuple[str, str]]:
    """The files, each with its settings and version, that have a row or failed and are not tried again."""
    given_up = [] if retry == () else rows(FAILED.format(codes=", ".join(map(literal, (*PASSING, *(retry or ()))))))
    return {(unsigned(row["key"]), row["fingerprint"]) for found in (rows(VIDEOS), given_up) for row in found}


def _listed(manifest: Manifest, settings: Settings) -> pd.DataFrame:
    """The files, with what a listing says of them, as `add_versions` and `add_change_times` take them."""
    if manifest.listing is None:
        from udfs.storage import s3_listing  # with boto3, which most runs do not need

        parts = pd.DataFrame([*manifest.parts], columns=[*PART])
        pages = [*s3_listing.rows(iter([parts]), settings.sources)]
        files = pd.concat(pages) if pages else pd.DataFrame(columns=[*s3_listing.COLUMNS])
        files = files[files["uri"].notna()].reset_index(drop=True)
        return files.assign(attributes=None, address=None)
    empty = {"attributes": None, "source_version": None, "left_out": None}
    uris = manifest.listing.uris
    names = {"uri": [*map(unsigned, uris)], "address": uris}
    files = pd.DataFrame(names).assign(**empty, changed_s=float("nan"), number=1)
    return files.astype({"uri": "object", "address": "object", "source_version": "object", "changed_s": "float64"})
