"""s3:// uris -> sizes, versions and ranges of objects, as long as the store gives them at all; files -> objects, whole or not."""

from __future__ import annotations

import io
import math
import mimetypes
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import islice
from operator import methodcaller
from typing import Any, BinaryIO, TypeVar

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,
    EndpointProviderError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    InvalidDNSNameError,
    InvalidHostLabelError,
    ParamValidationError,
    UnsupportedOutpostResourceError,
    UnsupportedS3AccesspointConfigurationError,
    UnsupportedS3ArnError,
    UnsupportedS3ConfigurationError,
)
from botocore.parsers import ResponseParserError

from udfs.core.errors import MediaError, StoreError
from udfs.core.heartbeat import beat
from udfs.storage.remote_file import Stat
from udfs.storage.retry import BusyError, with_retries
from udfs.storage.settings import Params

T = TypeVar("T")
PART = 64 << 20  # bytes up to which an object is one PUT; above it, of a part of its upload
MAX_PARTS = 10_000  # by S3's rules
MAX_DELETED = 1000  # at once, by the same
GONE = {"404", "NoSuchKey", "NoSuchBucket", "NoSuchVersion"}
OTHER = {"412", "PreconditionFailed", "416", "InvalidRange"}
# Errors of the keys, the clock or the region, which every other request would meet too.
OURS = {
    *("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired", "InvalidAccessKeyId"),
    *("SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "RequestTimeTooSkewed", "InvalidSecurity", "AccountProblem"),
    *("NotSignedUp", "UnrecognizedClientException", "InvalidClientTokenId", "MissingSecurityHeader"),
}
LOST = (ConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError, ChecksumError, FlexibleChecksumError)
# What boto3 raises for a bucket or a key that cannot exist, before any request.
MISNAMED = (
    *(ParamValidationError, InvalidDNSNameError, InvalidHostLabelError, EndpointProviderError, UnsupportedS3ArnError),
    *(UnsupportedOutpostResourceError, UnsupportedS3AccesspointConfigurationError, UnsupportedS3ConfigurationError, ValueError),
)
BUSY = {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429"}


@lru_cache(maxsize=4)
def client(params: Params) -> Any:
    """A client of boto3's, the same for every thread of this process; credentials come by AWS's usual chain.

    Raises:
        StoreError: there is no such profile, or the endpoint is no address.
    """
    config = Config(
        signature_version=UNSIGNED if params.s3_anonymous else None,
        s3={"addressing_style": "path" if params.s3_endpoint else "auto"},
        connect_timeout=params.timeout_s,
        read_timeout=params.timeout_s,
        retries={"total_max_attempts": 1},  # `with_retries` does it, for bodies that break off as well
        max_pool_connections=32,
        # Stores that are not AWS's need not know checksums at the end of a body.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = boto3.Session(profile_name=params.s3_profile or None, region_name=params.s3_region or None)
        return session.client("s3", endpoint_url=params.s3_endpoint or None, config=config)
    except (BotoCoreError, ValueError) as e:
        raise StoreError(f"no client for s3://: {e}") from e


def place(uri: str) -> tuple[str, str]:
    """Bucket and key of a uri; keys are taken as they are written, escapes and all.

    Raises:
        MediaError: NOT_FOUND if it names no object.
    """
    bucket, _, key = uri.partition("://")[2].partition("/")
    if not bucket or not key:
        raise MediaError("NOT_FOUND", "names no object: s3://bucket/key")
    return bucket, key


def stat(uri: str, params: Params) -> Stat:
    """Size and version, which holds the ETag, of an object.

    Raises:
        MediaError: NOT_FOUND, DENIED or UNREACHABLE.
        StoreError: the fault is not this object's.
    """
    bucket, key = place(uri)
    try:
        head = asked(lambda s3: s3.head_object(Bucket=bucket, Key=key), bucket, params)
    except MediaError as e:
        if e.code == "DENIED":  # the answer to a HEAD has no body that would say why
            asked(lambda s3: s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-0"), bucket, params)
        raise
    return Stat(head["ContentLength"], version(head["ContentLength"], head.get("ETag", "")))


def version(size: int, etag: str) -> str:
    """What changes when an object does, of its bytes and its ETag."""
    return f"{size}-" + etag.strip('"')


def fetch(uri: str, start: int, end: int, version: str, params: Params) -> bytes:
    """The bytes [start, end) of an object, which is not empty, all of them.

    Raises:
        MediaError: CHANGED if the object is no longer of that version, and what `stat` raises.
    """
    bucket, key = place(uri)
    etag = version.partition("-")[2]
    match = {"IfMatch": f'"{etag}"'} if etag else {}

    def attempt(s3: Any) -> bytes:
        body = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", **match)["Body"]
        data: bytes = body.read(end - start + 1)  # not more, even if the store sends the whole object
        if len(data) != end - start:
            raise BusyError(f"{len(data)} bytes of {end - start}")
        return data

    return asked(attempt, bucket, params)


def put(uri: str, path: str, params: Params) -> None:
    """Make a file an object, by parts where it is large; nothing is to be seen of the object before it is whole.

    Raises:
        MediaError: UNREACHABLE.
        StoreError: the store does not take it.
    """
    bucket, key = place(uri)
    size, kind = os.path.getsize(path), mimetypes.guess_type(key)[0] or "application/octet-stream"
    with open(path, "rb") as f:
        if size > PART:
            return _put_parts(f, size, {"Bucket": bucket, "Key": key}, kind, params)

        data = f.read()

        def attempt(s3: Any) -> None:
            s3.put_object(Bucket=bucket, Key=key, Body=_Body(data), ContentType=kind)

        _written(attempt, bucket, params)


def check(uri: str, params: Params) -> None:
    """Whether a bucket is there and may be looked into.

    Raises:
        MediaError: NOT_FOUND, DENIED or UNREACHABLE.
        StoreError: a fault of credentials or region.
    """
    holds(uri, params)


def holds(uri: str, params: Params) -> bool:
    """Whether there is an object below a uri; raises as `check`."""
    at = _below(uri)
    answer = asked(lambda s3: s3.list_objects_v2(**at, MaxKeys=1), at["Bucket"], params)
    return bool(answer.get("KeyCount"))


def folders(uri: str, params: Params) -> list[str]:
    """The uris of the folders right below a uri; raises as `check`."""
    at = _below(uri)
    found = (entry for page in pages(at | {"Delimiter": "/"}, params) for entry in page.get("CommonPrefixes", []))
    return [f"s3://{at['Bucket']}/{entry['Prefix'].rstrip('/')}" for entry in found]


def files(uri: str, params: Params) -> Iterator[tuple[str, int, float]]:
    """Uri, bytes and time of change, seconds of Unix time, of each object below a uri, as they come; raises as `check`."""
    at = _below(uri)
    for page in pages(at, params):
        for entry in page.get("Contents", []):
            yield f"s3://{at['Bucket']}/{entry['Key']}", entry["Size"], entry["LastModified"].timestamp()


def remove(uris: Iterable[str], params: Params) -> list[str]:
    """Delete objects of one bucket; those that are not there any more, which no store tells from those that never were.

    Raises:
        MediaError: as `check`.
        StoreError: the store does not allow it.
    """
    left, gone = iter(uris), list[str]()
    while some := list(islice(left, MAX_DELETED)):
        bucket = place(some[0])[0]
        delete = {"Objects": [{"Key": place(uri)[1]} for uri in some], "Quiet": True}
        answer = asked(methodcaller("delete_objects", Bucket=bucket, Delete=delete), bucket, params)
        if errors := answer.get("Errors"):
            raise StoreError(f"s3://{bucket}: {len(errors)} objects stay: the store says {errors[0].get('Code')}")
        gone += some
    return gone


def abort_uploads(uri: str, older_than_s: float, params: Params) -> None:
    """Abort the uploads below a uri that were begun so long ago and never completed; raises as `check`."""
    at = _below(uri)
    uploads = asked(lambda s3: list(s3.get_paginator("list_multipart_uploads").paginate(**at)), at["Bucket"], params)
    for left in (upload for page in uploads for upload in page.get("Uploads", [])):
        if _age_s(left["Initiated"]) > older_than_s:
            begun = {"Bucket": at["Bucket"], "Key": left["Key"], "UploadId": left["UploadId"]}
            asked(methodcaller("abort_multipart_upload", **begun), at["Bucket"], params)


def remove_old(uri: str, older_than_s: float, params: Params) -> None:
    """Delete the objects below a uri that were written so long ago; raises as `remove`."""
    listed = files(uri, params)
    remove((left for left, _, changed_s in listed if _age_s(datetime.fromtimestamp(changed_s, UTC)) > older_than_s), params)


def pages(at: dict[str, str], params: Params) -> Iterator[dict[str, Any]]:
    """What list_objects_v2 answers, each page asked for until it comes; boto3's paginator would begin anew. Raises as `check`."""
    while True:
        page: dict[str, Any] = asked(methodcaller("list_objects_v2", **at), at["Bucket"], params)
        yield page
        if not page.get("IsTruncated"):
            return
        at = at | {"ContinuationToken": page["NextContinuationToken"]}


def _age_s(time: datetime) -> float:
    return (datetime.now(UTC) - time).total_seconds()


def _below(uri: str) -> dict[str, str]:
    bucket, _, key = uri.partition("://")[2].partition("/")
    return {"Bucket": bucket, "Prefix": f"{key.rstrip('/')}/" if key else ""}


def _put_parts(f: BinaryIO, size: int, at: dict[str, str], kind: str, params: Params) -> None:
    upload = _written(lambda s3: s3.create_multipart_upload(**at, ContentType=kind), at["Bucket"], params)
    at = at | {"UploadId": upload["UploadId"]}
    with ExitStack() as stack:
        stack.callback(_abort, at, params)
        length = max(PART, math.ceil(size / MAX_PARTS))
        parts = [_part(f.read(length), number, at, params) for number in range(1, math.ceil(size / length) + 1)]
        _written(partial(_complete, size=size, at=at, parts=parts), at["Bucket"], params)
        stack.pop_all()


class _Body(io.BytesIO):
    """Bytes to send, with a heartbeat at each read."""

    def read(self, size: int | None = -1, /) -> bytes:
        beat()
        return super().read(size)


def _abort(at: dict[str, str], params: Params) -> None:
    with suppress(MediaError, StoreError):  # else its parts are paid for, unseen
        _written(lambda s3: s3.abort_multipart_upload(**at), at["Bucket"], params)


def _part(data: bytes, number: int, at: dict[str, str], params: Params) -> dict[str, Any]:
    sent = _written(lambda s3: s3.upload_part(**at, PartNumber=number, Body=_Body(data)), at["Bucket"], params)
    return {"PartNumber": number, "ETag": sent["ETag"]}


def _complete(s3: Any, size: int, at: dict[str, str], parts: list[dict[str, Any]]) -> None:
    try:
        s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
    except s3.exceptions.NoSuchUpload:  # an attempt whose answer was lost may have completed it
        if s3.head_object(Bucket=at["Bucket"], Key=at["Key"])["ContentLength"] != size:
            raise


def _written(attempt: Callable[[Any], T], bucket: str, params: Params) -> T:
    try:
        return asked(attempt, bucket, params)
    except MediaError as e:
        if e.code == "UNREACHABLE":
            raise
        raise StoreError(f"s3://{bucket} does not take what is written: {e.message}") from e


def asked(attempt: Callable[[Any], T], bucket: str, params: Params) -> T:
    """What a client is asked for, again and again while the store is busy.

    Raises:
        MediaError: NOT_FOUND, DENIED, CHANGED or UNREACHABLE.
        StoreError: a fault that every other request would meet as well.
    """

    def told() -> T:
        try:
            return attempt(client(params))
        except ClientError as e:
            raise _fault(e, bucket) from e
        except LOST as e:
            raise BusyError(type(e).__name__) from e
        except MISNAMED as e:
            raise MediaError("NOT_FOUND", f"no object can have this name: {type(e).__name__}") from e
        except BotoCoreError as e:  # no credentials, or none that can be had now
            raise StoreError(f"s3://{bucket}: {' '.join(str(e).split())}") from e

    return with_retries(told, params.s3_endpoint or "s3", params)


def _fault(error: ClientError, bucket: str) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status >= 500 or code in BUSY:
        return BusyError(f"{status} {code}")
    if code in GONE:
        return MediaError("NOT_FOUND", f"no such object: {code}")
    if code in OTHER:
        return MediaError("CHANGED", f"another object than the one that was looked at: {code}")
    if code in OURS:
        return StoreError(f"s3://{bucket}: the store says {code} (status {status})")
    # Not allowed, archived, encrypted with a deleted KMS key, or another error of one object.
    return MediaError("DENIED", f"the store says {code} (status {status})")
