"""s3:// uris -> sizes, versions and ranges of objects, as long as the store gives them at all."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from udfs.source import Params


@lru_cache(maxsize=4)
def client(params: Params) -> Any:
    """A client of boto3's, the same for every thread of this process; credentials come by AWS's usual chain."""
    session = boto3.Session(profile_name=params.s3_profile or None, region_name=params.s3_region or None)
    config = Config(
        signature_version=UNSIGNED if params.s3_anonymous else None,
        s3={"addressing_style": "path" if params.s3_endpoint else "auto"},
        connect_timeout=params.timeout_s,
        read_timeout=params.timeout_s,
        retries={"total_max_attempts": 1},  # `tried` does it, for bodies that break off as well
        max_pool_connections=32,
        # Stores that are not AWS's need not know checksums at the end of a body.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.client("s3", endpoint_url=params.s3_endpoint or None, config=config)
