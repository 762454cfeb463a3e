"""[sources]: which files, stores and web servers may be read, and how they are asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[sources]"""

    roots: Annotated[
        tuple[str, ...],
        Field(description="folders, s3:// prefixes and http(s) addresses below which files may be read; empty: any"),
    ] = ()
    s3_endpoint: Annotated[str, Field(description="address of an S3 that is not AWS's, such as http://host:9000")] = ""
    s3_region: Annotated[str, Field(description="region of the buckets; empty: as the AWS tools find it")] = ""
    s3_profile: Annotated[str, Field(description="profile of ~/.aws; empty: AWS's usual chain of credentials")] = ""
    s3_anonymous: Annotated[bool, Field(description="send no credentials: for buckets that anyone may read")] = False
    s3_writers: Annotated[
        Literal["one", "several"],
        Field(description="how many runs may write to one output on S3 at once; several: through a DynamoDB table"),
    ] = "one"
    requests_per_s: Annotated[
        float,
        Field(ge=0, description="requests per second and store, of all processes of a host together; 0: no limit"),
    ] = 500.0
    timeout_s: Annotated[float, Field(gt=0, description="seconds to wait for a connection, and for the next bytes")] = (
        20.0
    )
    retry_s: Annotated[
        float, Field(ge=0, description="seconds for which a request is repeated after a 503, a reset or a short answer")
    ] = 60.0
    max_bytes: Annotated[int, Field(gt=0, description="size in bytes over which no remote file is read")] = (
        100_000_000_000
    )
    http_private: Annotated[
        bool, Field(description="also connect to private, loopback and link-local addresses by http(s)")
    ] = False
    http_redirects: Annotated[int, Field(ge=0, le=20, description="redirects that one request may follow")] = 5
    http_total_s: Annotated[float, Field(gt=0, description="seconds for one whole answer by http(s)")] = 100.0
    http_disk_bytes: Annotated[
        int, Field(gt=0, description="disk space in bytes per host for downloads from servers without ranges")
    ] = 20_000_000_000

    def __post_init__(self) -> None:
        if "@" in self.s3_endpoint:  # every row of `runs` has the settings
            raise ValueError("s3_endpoint: an address must not contain credentials")
