"""Read, write, list and delete objects on S3; errors concern one object or the whole run."""

from __future__ import annotations

import io
import math
import mimetypes
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from urllib3.exceptions import HTTPError

from udfs.core.errors import MediaError, StoreError
from udfs.core.heartbeat import beat
from udfs.core.own_code import PACKAGES
from udfs.storage.remote_file import Stat
from udfs.storage.retry import Asked, BusyError, with_retries
from udfs.storage.settings import Params

T = TypeVar("T")
PART_BYTES = 64 << 20  # a larger object is uploaded in parts of about this size, a smaller one with one PUT
MAX_PARTS = 10_000  # of one upload, a limit of S3
MAX_DELETED = 1000  # objects per request, a limit of S3
LISTED = {"Contents": ("Key", "Size", "LastModified"), "CommonPrefixes": ("Prefix",)}  # what a page says of each entry
GONE = {"404", "NoSuchKey", "NoSuchBucket", "NoSuchVersion"}
CHANGED = {"412", "PreconditionFailed", "416", "InvalidRange"}
# Errors of the credentials, the clock or the region, which every other request would meet too.
RUN_ERRORS = {
    *(
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidToken",
        "TokenRefreshRequired",
        "RequestExpired",
        "InvalidAccessKeyId",
    ),
    *(
        "SignatureDoesNotMatch",
        "AuthorizationHeaderMalformed",
        "RequestTimeTooSkewed",
        "InvalidSecurity",
        "AccountProblem",
    ),
    *("NotSignedUp", "UnrecognizedClientException", "InvalidClientTokenId", "MissingSecurityHeader"),
}
CONNECTION_ERRORS = (
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ResponseParserError,
    ChecksumError,
    FlexibleChecksumError,
    HTTPError,  # of TLS within a body, and of a body of an error, which botocore does not translate
)
# What boto3 raises, before any request, for a name that no bucket or key can have.
INVALID_NAMES = (
    *(ParamValidationError, InvalidDNSNameError, InvalidHostLabelError, EndpointProviderError, UnsupportedS3ArnError),
    *(
        UnsupportedOutpostResourceError,
        UnsupportedS3AccesspointConfigurationError,
        UnsupportedS3ConfigurationError,
        ValueError,
    ),
)
BUSY = {
    "SlowDown",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "429",
}
BUSY_WITH_ONE = BUSY | {"InternalError", "ServiceUnavailable", "OperationAborted"}  # in an answer of status 200


@lru_cache(maxsize=4)
def client(params: Params) -> Any:
    """The boto3 client of this process, which all threads share; credentials come from AWS's usual chain.

    Raises:
        StoreError: there is no such profile, or the endpoint is not an address.
    """
    config = Config(
        signature_version=UNSIGNED if params.s3_anonymous else None,
        s3={"addressing_style": "path" if params.s3_endpoint else "auto"},
        connect_timeout=params.timeout_s,
        read_timeout=params.timeout_s,
        retries={"total_max_attempts": 1},  # `with_retries` repeats requests, also when a body breaks off
        max_pool_connections=32,
        # Stores other than AWS's may not support checksums at the end of a body.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return _session(params).client("s3", endpoint_url=params.s3_endpoint or None, config=config)
    except (BotoCoreError, ValueError) as e:
        raise StoreError(f"no client for s3://: {e}") from e


def region(params: Params) -> str:
    """The region of the buckets, as `client` finds it; us-east-1 where none is named, as boto3 has it."""
    return str(client(params).meta.region_name or "us-east-1")


def keys(params: Params) -> dict[str, str]:
    """The credentials that `client` sends, by the names that AWS's other libraries have for them.

    Raises:
        StoreError: AWS's usual chain has none.
    """
    try:
        found = _session(params).get_credentials()
        frozen = found and found.get_frozen_credentials()
    except BotoCoreError as e:
        raise StoreError(f"no credentials for s3://: {' '.join(str(e).split())}") from e
    if frozen is None:
        raise StoreError("no credentials for s3://: set sources.s3_profile or sources.s3_anonymous, or AWS's variables")
    named = {
        "aws_access_key_id": frozen.access_key,
        "aws_secret_access_key": frozen.secret_key,
        "aws_session_token": frozen.token,
    }
    return {name: value for name, value in named.items() if value}


def _session(params: Params) -> Any:
    return boto3.Session(profile_name=params.s3_profile or None, region_name=params.s3_region or None)


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Bucket and key of a URI; percent escapes are part of the key.

    Raises:
        MediaError: NOT_FOUND if one of them is missing.
    """
    bucket, _, key = uri.partition("://")[2].partition("/")
    if not bucket or not key:
        raise MediaError("NOT_FOUND", "not the address of an object: s3://bucket/key")
    return bucket, key


def stat(uri: str, params: Params) -> Stat:
    """Size and version, which holds the ETag, of an object.

    Raises:
        MediaError: NOT_FOUND, DENIED or UNREACHABLE.
        StoreError: an error that every other request would meet as well.
    """
    bucket, key = bucket_and_key(uri)
    try:
        head = request(lambda s3: s3.head_object(Bucket=bucket, Key=key), bucket, params, uri)
    except MediaError as e:
        if e.code == "DENIED":  # the answer to a HEAD has no body with the reason, so a GET asks again
            request(lambda s3: s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-0"), bucket, params)
        raise
    if (size := head.get("ContentLength")) is None:
        raise MediaError("UNREACHABLE", "the store states no size")
    return Stat(size, version(size, head.get("ETag", "")))


def version(size: int, etag: str) -> str:
    """The version of an object, from its size and its ETag."""
    return f"{size}-" + etag.strip('"')


def fetch(uri: str, start: int, end: int, version: str, params: Params) -> bytes:
    """The bytes [start, end) of an object that is not empty.

    Raises:
        MediaError: CHANGED if the object has another version now, and whatever `stat` raises.
    """
    bucket, key = bucket_and_key(uri)
    etag = version.partition("-")[2]
    match = {"IfMatch": f'"{etag}"'} if etag else {}

    def attempt(s3: Any) -> bytes:
        body = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", **match)["Body"]
        data: bytes = body.read(end - start + 1)  # no more than that, even if the store sends the whole object
        if len(data) != end - start:
            raise BusyError(f"{len(data)} bytes of {end - start}", answered=True)
        return data

    return request(attempt, bucket, params, uri)


def put(uri: str, path: str, params: Params) -> None:
    """Upload a file, in parts if it is large; the object appears when it is complete.

    Raises:
        MediaError: UNREACHABLE.
        StoreError: the store refuses it.
    """
    bucket, key = bucket_and_key(uri)
    size, kind = os.path.getsize(path), mimetypes.guess_type(key)[0] or "application/octet-stream"
    with open(path, "rb") as f:
        if size > PART_BYTES:
            return _put_parts(f, size, {"Bucket": bucket, "Key": key}, kind, params)

        data = f.read()

        def attempt(s3: Any) -> None:
            s3.put_object(Bucket=bucket, Key=key, Body=_Body(data), ContentType=kind)

        _write(attempt, bucket, params)


def check(uri: str, params: Params) -> None:
    """Refuse a bucket that does not exist or may not be listed.

    Raises:
        MediaError: NOT_FOUND, DENIED or UNREACHABLE.
        StoreError: wrong credentials or the wrong region.
    """
    holds(uri, params)


def holds(uri: str, params: Params) -> bool:
    """Whether there is an object below a URI; raises as `check`."""
    at = _below(uri)
    answer = request(lambda s3: s3.list_objects_v2(**at, MaxKeys=1), at["Bucket"], params)
    return bool(answer.get("Contents"))  # not every store counts them


def folders(uri: str, params: Params) -> list[str]:
    """The URIs of the folders directly below a URI; raises as `check`."""
    at = _below(uri)
    prefixes = (entry for page in pages(at | {"Delimiter": "/"}, params) for entry in page.get("CommonPrefixes", []))
    return [f"s3://{at['Bucket']}/{entry['Prefix'].rstrip('/')}" for entry in prefixes]


def files(uri: str, params: Params) -> Iterator[tuple[str, int, float]]:
    """URI, size in bytes and time of change (seconds of Unix time) of each object below a URI; raises as `check`."""
    at = _below(uri)
    for page in pages(at, params):
        for entry in page.get("Contents", []):
            yield f"s3://{at['Bucket']}/{entry['Key']}", entry["Size"], entry["LastModified"].timestamp()


def remove(uris: Iterable[str], params: Params) -> list[str]:
    """Delete objects of one bucket; their URIs. S3 does not tell which of them existed.

    Raises:
        MediaError: as `check`.
        StoreError: the store refuses.
    """
    remaining, deleted = iter(uris), list[str]()
    while batch := list(islice(remaining, MAX_DELETED)):
        bucket = bucket_and_key(batch[0])[0]
        keys = [bucket_and_key(uri)[1] for uri in batch]
        request(partial(_delete, bucket=bucket, keys=keys), bucket, params)
        deleted += batch
    return deleted


def _delete(s3: Any, bucket: str, keys: list[str]) -> None:
    """Delete objects; `keys` keeps those that are left for the next attempt."""
    try:
        delete = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        errors = s3.delete_objects(Bucket=bucket, Delete=delete).get("Errors", [])
    except ClientError as e:
        if e.response.get("Error", {}).get("Code") != "MissingContentMD5":
            raise
        while keys:  # a store that knows none of the checksums that botocore sends
            s3.delete_object(Bucket=bucket, Key=keys[-1])
            keys.pop()
        return
    for error in errors:
        _check_has(error, ("Code", "Key"), bucket)
    if refused := [error["Code"] for error in errors if error["Code"] not in BUSY_WITH_ONE]:
        raise StoreError(f"s3://{bucket}: {len(refused)} objects are not deleted: the store says {refused[0]}")
    keys[:] = [error["Key"] for error in errors]
    if keys:
        raise BusyError(f"{len(keys)} objects are not deleted: {errors[0]['Code']}", answered=True)


def abort_uploads(uri: str, older_than_s: float, params: Params) -> None:
    """Abort the uploads below a URI that began longer ago and were never completed; raises as `check`."""
    at = _below(uri)
    uploads = request(lambda s3: list(s3.get_paginator("list_multipart_uploads").paginate(**at)), at["Bucket"], params)
    for upload in (entry for page in uploads for entry in page.get("Uploads", [])):
        _check_has(upload, ("Initiated", "Key", "UploadId"), at["Bucket"])
        if _age_s(upload["Initiated"]) > older_than_s:
            names = {"Bucket": at["Bucket"], "Key": upload["Key"], "UploadId": upload["UploadId"]}
            request(methodcaller("abort_multipart_upload", **names), at["Bucket"], params)


def remove_old(uri: str, older_than_s: float, params: Params) -> None:
    """Delete the objects below a URI that were written longer ago; raises as `remove`."""
    objects = files(uri, params)
    remove(
        (name for name, _, changed_s in objects if _age_s(datetime.fromtimestamp(changed_s, UTC)) > older_than_s),
        params,
    )


def pages(at: dict[str, str], params: Params) -> Iterator[dict[str, Any]]:
    """The pages of list_objects_v2, each with its own retries: boto3's paginator would start again.

    Raises as `check` does.
    """
    while True:
        page: dict[str, Any] = request(methodcaller("list_objects_v2", **at), at["Bucket"], params)
        for kind, fields in LISTED.items():
            for entry in page.get(kind, ()):
                _check_has(entry, fields, at["Bucket"])
        yield page
        if not page.get("IsTruncated"):
            return
        _check_has(page, ("NextContinuationToken",), at["Bucket"])
        at = at | {"ContinuationToken": page["NextContinuationToken"]}


def _check_has(answer: Mapping[str, Any], fields: Iterable[str], bucket: str) -> None:
    """Refuse an answer that lacks what every S3 states: no part of a listing is left out without a word."""
    if missing := [field for field in fields if field not in answer]:
        raise StoreError(f"s3://{bucket}: the store's answer lacks {missing[0]}: it does not speak S3 as it should")


def _age_s(time: datetime) -> float:
    return (datetime.now(UTC) - time).total_seconds()


def _below(uri: str) -> dict[str, str]:
    bucket, _, key = uri.partition("://")[2].partition("/")
    return {"Bucket": bucket, "Prefix": f"{key.rstrip('/')}/" if key else ""}


def _put_parts(f: BinaryIO, size: int, at: dict[str, str], kind: str, params: Params) -> None:
    upload = _write(lambda s3: s3.create_multipart_upload(**at, ContentType=kind), at["Bucket"], params)
    _check_has(upload, ("UploadId",), at["Bucket"])
    at = at | {"UploadId": upload["UploadId"]}
    with ExitStack() as stack:
        stack.callback(_abort, at, params)
        length = max(PART_BYTES, math.ceil(size / MAX_PARTS))
        parts = [_part(f.read(length), number, at, params) for number in range(1, math.ceil(size / length) + 1)]
        _write(partial(_complete, size=size, at=at, parts=parts), at["Bucket"], params)
        stack.pop_all()


class _Body(io.BytesIO):
    """Bytes to send, with a heartbeat at each read."""

    def read(self, size: int | None = -1, /) -> bytes:
        beat()
        return super().read(size)


def _abort(at: dict[str, str], params: Params) -> None:
    with suppress(MediaError, StoreError):  # parts of an unfinished upload cost money although no listing shows them
        _write(lambda s3: s3.abort_multipart_upload(**at), at["Bucket"], params)


def _part(data: bytes, number: int, at: dict[str, str], params: Params) -> dict[str, Any]:
    sent = _write(lambda s3: s3.upload_part(**at, PartNumber=number, Body=_Body(data)), at["Bucket"], params)
    _check_has(sent, ("ETag",), at["Bucket"])
    return {"PartNumber": number, "ETag": sent["ETag"]}


def _complete(s3: Any, size: int, at: dict[str, str], parts: list[dict[str, Any]]) -> None:
    try:
        s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
    except s3.exceptions.NoSuchUpload:  # an earlier attempt may have completed it, and its answer was lost
        if s3.head_object(Bucket=at["Bucket"], Key=at["Key"]).get("ContentLength") != size:
            raise


def _write(attempt: Callable[[Any], T], bucket: str, params: Params) -> T:
    try:
        return request(attempt, bucket, params)
    except MediaError as e:
        if e.code == "UNREACHABLE":
            raise
        raise StoreError(f"s3://{bucket} cannot be written to: {e.message}") from e


def request(attempt: Callable[[Any], T], bucket: str, params: Params, file: str | None = None) -> T:
    """The result of an attempt with a client, repeated while the store is busy.

    For a `file` that is read, the store is asked only once a minute while it is down.

    Raises:
        MediaError: NOT_FOUND, DENIED, CHANGED or UNREACHABLE.
        StoreError: an error that every other request would meet as well.
    """

    def sorted_attempt() -> T:
        try:
            return attempt(client(params))
        except ClientError as e:
            raise _sorted_error(e, bucket) from e
        except CONNECTION_ERRORS as e:
            raise BusyError(type(e).__name__) from e
        except INVALID_NAMES as e:
            raise MediaError("NOT_FOUND", f"no object can have this name: {type(e).__name__}") from e
        except BotoCoreError as e:  # no credentials, or they cannot be obtained now
            raise StoreError(f"s3://{bucket}: {' '.join(str(e).split())}") from e
        except (LookupError, TypeError, ValueError, AttributeError) as e:
            if not _was_parsing(e):
                raise
            raise BusyError(f"an answer that is not S3's: {type(e).__name__}") from e

    store = params.s3_endpoint or "s3"
    return with_retries(sorted_attempt, store, params, Asked(store, file) if file else None)


def _was_parsing(error: Exception) -> bool:
    """Whether an error is botocore's, which reads some answers as if they could not be malformed."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(name.startswith("botocore.") for name in modules) and modules[-1].partition(".")[0] not in PACKAGES


def _sorted_error(error: ClientError, bucket: str) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status >= 500 or code in BUSY:
        return BusyError(f"{status} {code}")
    if code in GONE:
        return MediaError("NOT_FOUND", f"no such object: {code}")
    if code in CHANGED:
        return MediaError("CHANGED", f"the object has been replaced: {code}")
    if code in RUN_ERRORS:
        return StoreError(f"s3://{bucket}: the store says {code} (status {status})")
    # No permission, archived, encrypted with a deleted KMS key, or another error of one object.
    return MediaError("DENIED", f"the store says {code} (status {status})")
