"""Objects of a real S3 server are read and written completely, also when single requests fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from botocore.exceptions import ClientError
from urllib3.exceptions import SSLError

from tests.support import clips
from tests.support.footage import read_number, write_looped, write_numbered
from tests.support.s3 import KEYS, Fault, Proxy, Server
from udfs import clip, embed, ingest
from udfs.core.errors import MediaError, StoreError
from udfs.core.limits import Limits
from udfs.frames import extract, window_frames
from udfs.runtime.context import Env, Row
from udfs.storage import access, media_store, remote_file, s3
from udfs.storage.settings import Params
from udfs.video import container, decode

NAMES = ["mojibake Ã©.mp4", "emoji 😀.mp4", "a%20b.mp4", "what?.mp4", "#1 a+b.mp4"]
BITS = os.urandom(1 << 20)
STEADY = {"x264-params": "nal-hrd=cbr:bitrate=8000:vbv-maxrate=8000:vbv-bufsize=8000"}  # kbit/s, padded: 10 MB in 10 s


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    remote_file._blocks.clear()
    yield
    remote_file._blocks.clear()


@pytest.fixture(scope="module")
def uri(s3_server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A megabyte of random bytes."""
    path = tmp_path_factory.mktemp("bits") / "bits.bin"
    path.write_bytes(BITS)
    return s3_server.put("s3://things/bits.bin", path)


@pytest.fixture(scope="module")
def ten_s(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 numbered frames with sound, 10 MB."""
    path = tmp_path_factory.mktemp("ten") / "ten.mp4"
    return write_numbered(path, 300, audio="aac", gop=30, options=STEADY)


def read(uri: str, start: int, end: int, params: Params) -> bytes:
    return s3.fetch(uri, start, end, s3.stat(uri, params).version, params)


def test_a_range_is_those_bytes(proxy: Proxy, uri: str) -> None:
    assert read(uri, 1000, 5000, proxy.params()) == BITS[1000:5000]
    assert proxy.sent["things/bits.bin"] == 4000


@pytest.mark.parametrize("name", [*NAMES, "../up.mp4", "a//b.mp4"])
def test_a_key_is_taken_as_it_is_written(name: str) -> None:
    assert s3.bucket_and_key(f"s3://bucket/{name}") == ("bucket", name)


@pytest.mark.parametrize("name", NAMES)
def test_an_object_of_any_name_is_found(s3_server: Server, proxy: Proxy, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read(s3_server.put(f"s3://things/{name}", tmp_path / "file"), 1, 3, proxy.params()) == b"23"


@pytest.mark.parametrize("fault", get_args(Fault))
def test_a_fault_of_one_request_is_not_seen(proxy: Proxy, uri: str, fault: Fault) -> None:
    version = s3.stat(uri, proxy.params()).version
    proxy.planned = [fault, fault]
    assert s3.fetch(uri, 0, len(BITS), version, proxy.params()) == BITS
    assert proxy.faults == {fault: 2}


@pytest.mark.parametrize("fault", get_args(Fault))
def test_a_fault_that_stays_is_unreachable(proxy: Proxy, uri: str, fault: Fault) -> None:
    version = s3.stat(uri, proxy.params()).version
    proxy.rate, proxy.kinds = 1.0, (fault,)
    with pytest.raises(MediaError, match="UNREACHABLE") as e:
        s3.fetch(uri, 0, len(BITS), version, proxy.params(retry_s=0.5))
    assert not any(secret in f"{e.value}" for secret in (*KEYS.values(), proxy.url))


def test_a_store_that_is_not_there_is_unreachable() -> None:
    params = Params(s3_endpoint="http://127.0.0.1:9", retry_s=0.2, s3_region="us-east-1", s3_anonymous=True)
    with pytest.raises(MediaError, match="UNREACHABLE"):
        s3.stat("s3://bucket/key", params)


@pytest.mark.parametrize(
    "uri", ["s3://things/none.mp4", "s3://nowhere/bits.bin", "s3://things", "s3://things/", "s3:///key"]
)
def test_what_is_not_there_is_not_found(proxy: Proxy, uri: str) -> None:
    with pytest.raises(MediaError, match="NOT_FOUND"):
        access.checked_path(uri, proxy.params())


def test_an_object_without_bytes_is_empty(s3_server: Server, proxy: Proxy, tmp_path: Path) -> None:
    (tmp_path / "none").write_bytes(b"")
    with pytest.raises(MediaError, match="EMPTY"):
        access.checked_path(s3_server.put("s3://things/none", tmp_path / "none"), proxy.params())


def test_outside_the_roots_nothing_is_asked(proxy: Proxy, uri: str) -> None:
    for roots in (("/data",), ("s3://things/bits",), ("s3://thing",)):
        with pytest.raises(MediaError, match="DENIED"):
            access.checked_path(uri, proxy.params(roots=roots))
    assert not proxy.requests
    assert access.checked_path(uri, proxy.params(roots=("/data", "s3://things/")))
    assert access.own_path(uri, proxy.params(roots=("/data",)))


def test_an_object_that_is_replaced_is_changed(s3_server: Server, proxy: Proxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    uri = s3_server.put("s3://things/a", tmp_path / "a")
    path = access.checked_path(uri, proxy.params())
    (tmp_path / "a").write_bytes(b"two")
    s3_server.put(uri, tmp_path / "a")
    with pytest.raises(MediaError, match="CHANGED"):
        access.unchanged_path(uri, access.version(path), proxy.params())
    with pytest.raises(MediaError, match="CHANGED"), remote_file.open_path(path) as f:
        f.read()


def test_wrong_credentials_stop_the_run(proxy: Proxy, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match="SignatureDoesNotMatch") as e:
        s3.stat(uri, proxy.params(timeout_s=6))  # settings of its own: a client is kept
    assert "wrong" not in str(e.value)


def test_without_permission_to_read_it_is_denied(proxy: Proxy, uri: str) -> None:
    with pytest.raises(MediaError, match="DENIED: the store says AccessDenied"):
        s3.stat(uri, proxy.params(s3_anonymous=True))


FAR = Params(s3_endpoint="http://127.0.0.1:9", s3_region="us-east-1", s3_anonymous=True, retry_s=0.0)  # is never asked


def answering(status: int, code: str) -> Callable[[Any], Any]:
    """A request that a store refuses."""

    def attempt(client: Any) -> Any:
        raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")

    return attempt


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "InvalidObjectState", "DENIED"),
        (403, "AccessDenied", "DENIED"),
        (400, "KMS.DisabledException", "DENIED"),
        (400, "InvalidRequest", "DENIED"),
        (405, "MethodNotAllowed", "DENIED"),
        (301, "PermanentRedirect", "DENIED"),
        (418, "WhatIsThis", "DENIED"),
        (416, "InvalidRange", "CHANGED"),
        (412, "PreconditionFailed", "CHANGED"),
        (404, "NoSuchKey", "NOT_FOUND"),
        (599, "", "UNREACHABLE"),
    ],
)
def test_an_error_of_one_object_is_its_failure(status: int, code: str, told: str) -> None:
    with pytest.raises(MediaError, match=told):
        s3.request(answering(status, code), "bucket", FAR)


def test_an_error_of_tls_within_a_body_may_pass() -> None:
    def attempt(client: Any) -> None:
        raise SSLError("bad record mac")

    with pytest.raises(MediaError, match="UNREACHABLE: SSLError"):
        s3.request(attempt, "bucket", FAR)


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed"])
def test_an_error_of_the_credentials_stops_the_run(code: str) -> None:
    with pytest.raises(StoreError, match=f"s3://bucket: the store says {code}"):
        s3.request(answering(400, code), "bucket", FAR)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://b b/k",
        "s3://b\u00fccket/k",
        "s3://arn:aws:s3:us-east-1:1:accesspoint/x/k",
        "s3://bucket/\ud800",
        f"s3://{'b' * 300}/k",
    ],
)
def test_a_name_that_no_object_can_have_is_not_found(uri: str) -> None:
    with pytest.raises(MediaError, match="NOT_FOUND"):
        access.checked_path(uri, FAR)


def test_missing_credentials_stop_the_run(
    proxy: Proxy, uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreError, match="credentials"):
        s3.stat(uri, proxy.params(timeout_s=7))


def test_a_profile_is_read_from_the_users_file(
    proxy: Proxy, uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = (f"{name.lower()} = {value}\n" for name, value in KEYS.items())
    (tmp_path / "credentials").write_text("[films]\n" + "".join(lines))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in KEYS:
        monkeypatch.delenv(name)
    assert s3.stat(uri, proxy.params(s3_profile="films")).size == len(BITS)
    with pytest.raises(StoreError, match="no client for s3://"):
        s3.stat(uri, proxy.params(s3_profile="none"))


@pytest.mark.s3
@pytest.mark.parametrize("in_front", [False, True], ids=["moov at the end", "moov in front"])
def test_probing_and_a_span_cost_little_more_than_they_show(
    s3_server: Server, proxy: Proxy, ten_s: Path, tmp_path: Path, in_front: bool
) -> None:
    """Of 200 MB in 200 s."""
    path = write_looped(ten_s, tmp_path / "long.mp4", 20, in_front=in_front)
    uri, key, size = s3_server.put("s3://things/long.mp4", path), "things/long.mp4", path.stat().st_size
    env = Env("unused", "f", sources=proxy.params())
    (facts,) = ingest.facts({"uri": uri}, env)
    probed = proxy.sent[key]
    remote_file._blocks.clear()
    proxy.reset()
    with container.open_video(access.unchanged_path(uri, facts["source_version"], env.sources), Limits()) as video:
        shown = [read_number(frame) for _, frame in decode.frames(video, 95.0, 105.0)]
    share = size * 10 / facts["duration_s"]
    cost = f"{proxy.sent[key] / share:.2f} of their share, {proxy.requests[key]} requests"
    print(f"{size / 1e6:.0f} MB: probed by {probed / size:.2%}; 10 s: {cost}")
    assert size > 200e6
    assert shown == [(k + 150) % 300 for k in range(300)]
    assert probed < 0.02 * size
    assert proxy.sent[key] < 1.5 * share


def test_the_facts_of_an_object_are_those_of_the_file(s3_server: Server, proxy: Proxy, ten_s: Path) -> None:
    uri = s3_server.put("s3://things/ten.mp4", ten_s)
    env = Env("unused", "f", sources=proxy.params())
    (there,), (here,) = ingest.facts({"uri": uri}, env), ingest.facts({"uri": str(ten_s)}, env)
    assert {name for name in here if there[name] != here[name]} == {"video_id", "uri", "source_version"}


def span(second: int) -> Row:
    """Two seconds of a video with 30 frames per second."""
    first = 30 * second
    return {
        "clip_id": f"c{second}",
        "start_s": second,
        "end_s": second + 2.0,
        "start_frame": first,
        "end_frame": first + 60,
    }


@pytest.mark.s3
@pytest.mark.parametrize("settings", [clip.Params(), clip.Params(mode="copy")], ids=["transcode", "copy"])
def test_clips_cut_from_and_to_a_store_are_those_of_a_folder(
    s3_server: Server, proxy: Proxy, ten_s: Path, tmp_path: Path, settings: clip.Params
) -> None:
    uri = s3_server.put("s3://things/ten.mp4", ten_s)
    made = []
    for media_root, source_uri in (("s3://things/out/media", uri), (str(tmp_path / "media"), str(ten_s))):
        env = Env(media_root, "f" * 16, sources=proxy.params())
        (row,) = ingest.facts({"uri": source_uri}, env)
        spans = [span(k) for k in (1, 4)]
        made.append(clip.cut_unit(row | {"spans": spans, "video_id": "v"}, settings, env))
    there, here = made
    assert [{**row, "uri": ""} for row in there] == [{**row, "uri": ""} for row in here]
    assert [row["uri"] for row in there] == [f"s3://things/out/media/clips/c{k}/c{k}-ffffffff.mp4" for k in (1, 4)]
    with (
        remote_file.open_path(access.own_path(there[0]["uri"], proxy.params())) as f,
        open(here[0]["uri"], "rb") as local,
    ):
        assert f.read() == local.read()


def upload(proxy: Proxy, data: bytes, name: str = "file.bin", **settings: Any) -> bytes:
    """The object in the store after a file has been uploaded."""
    uri = f"s3://things/up/{name}"
    with media_store.write_to(uri, proxy.params(**settings), root="s3://things/up") as path:
        Path(path).write_bytes(data)
    with remote_file.open_path(access.own_path(uri, proxy.params())) as f:
        return f.read()


def test_a_small_file_is_one_put(s3_server: Server, proxy: Proxy) -> None:
    s3_server.bucket("things")
    assert upload(proxy, b"content") == b"content"
    assert proxy.methods["PUT"] == 1


@pytest.mark.parametrize("fault", ["slow", "lost", "unanswered"])
def test_a_fault_of_one_put_is_not_seen(s3_server: Server, proxy: Proxy, fault: Fault) -> None:
    s3_server.bucket("things")
    proxy.planned = [fault, fault]
    assert upload(proxy, fault.encode()) == fault.encode()
    assert proxy.faults == {fault: 2}


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)


@pytest.mark.s3
@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("fault", [None, "slow", "lost", "unanswered"])
def test_a_large_file_goes_by_parts(s3_server: Server, proxy: Proxy, fault: Fault | None) -> None:
    s3_server.bucket("things")
    data = BITS * 11
    # No one knows the id of an upload whose first request got no answer.
    proxy.planned = [None, fault, fault, None, None, fault]
    assert upload(proxy, data) == data
    assert unfinished(proxy) == 0


@pytest.mark.s3
@pytest.mark.usefixtures("_small_parts")
def test_parts_that_do_not_arrive_leave_nothing(s3_server: Server, proxy: Proxy) -> None:
    s3_server.bucket("things")
    before = unfinished(proxy)
    proxy.planned = [None, None, "lost"]  # begun, a part, and one that is lost
    with pytest.raises(MediaError, match="UNREACHABLE"):
        upload(proxy, BITS * 11, "half.bin", retry_s=0.0)
    assert unfinished(proxy) == before
    with pytest.raises(MediaError, match="NOT_FOUND"):
        s3.stat("s3://things/up/half.bin", proxy.params())


def unfinished(proxy: Proxy) -> int:
    """How many uploads have begun and are neither completed nor aborted."""
    return len(s3.client(proxy.params()).list_multipart_uploads(Bucket="things").get("Uploads", []))


def test_a_write_that_breaks_off_leaves_nothing(proxy: Proxy) -> None:
    left = []

    def write_half() -> None:
        with media_store.write_to("s3://things/up/none.bin", proxy.params(), root="s3://things/up") as path:
            Path(path).write_bytes(b"half")
            left.append(Path(path))
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert not left[0].exists()
    assert not proxy.requests


def test_a_bucket_that_takes_nothing_stops_the_run(proxy: Proxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(StoreError, match="s3://nowhere cannot be written to"):
        s3.put("s3://nowhere/a.bin", str(tmp_path / "a"), proxy.params())


def test_a_clip_in_a_store_is_read_back(s3_server: Server, proxy: Proxy, tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4")
    uri = s3_server.put("s3://things/a.mp4", path)
    row = clips.row(path) | {"uri": uri}
    env = Env("unused", "f", sources=proxy.params())
    _, there = embed.decode(uri, 8, extract.short_side(64), env)
    _, here = embed.decode(str(path), 8, extract.short_side(64), env)
    assert (there == here).all()
    assert len(window_frames.decode(row["uri"], [0.0, 1.0], extract.short_side(64), env.sources, env.limits)) == 2


def test_media_in_a_store_are_listed_folder_by_folder_and_removed(
    s3_server: Server, proxy: Proxy, tmp_path: Path
) -> None:
    root, params, path = "s3://things/out 1/media", proxy.params(), tmp_path / "a"
    path.write_bytes(b"abc")
    names = ["clips/ab/abc-1.mp4", "clips/cd/cde-1.mp4", "proxies/ab/abc-2.mp4"]
    uris = [s3_server.put(f"{root}/{name}", path) for name in names]
    s3_server.put("s3://things/out 10/media/clips/ab/abc-1.mp4", path)
    folders = media_store.folders(root, params)
    assert folders == [f"{root}/clips/ab", f"{root}/clips/cd", f"{root}/proxies/ab"]
    found = [file for folder in folders for file in media_store.files(folder, params)]
    assert [(file.uri, file.num_bytes) for file in found] == [(uri, 3) for uri in uris]
    assert all(abs(file.changed_s - path.stat().st_mtime) < 60 for file in found)
    assert media_store.remove(uris[:2], params) == uris[:2]
    assert media_store.folders(root, params) == [f"{root}/proxies/ab"]
    assert media_store.holds("s3://things/out 10", params)


def put_two(s3_server: Server, tmp_path: Path) -> list[str]:
    """Two objects."""
    (tmp_path / "a").write_bytes(b"abc")
    return [s3_server.put(f"s3://things/gone/{name}", tmp_path / "a") for name in ("a", "b")]


def not_deleted(code: str) -> tuple[int, bytes]:
    """The answer to a deletion of both that has deleted one."""
    error = f"<Error><Key>gone/b</Key><Code>{code}</Code><Message>Please try again.</Message></Error>"
    return 200, f'<?xml version="1.0"?><DeleteResult>{error}</DeleteResult>'.encode()


def there(uris: list[str], proxy: Proxy) -> list[str]:
    """Those of these objects that exist."""
    return [uri for uri in uris if media_store.size(uri, proxy.params()) is not None]


@pytest.mark.parametrize("code", ["InternalError", "SlowDown"])
def test_what_a_store_was_too_busy_to_delete_is_deleted_by_another_request(
    s3_server: Server, proxy: Proxy, tmp_path: Path, code: str
) -> None:
    uris = put_two(s3_server, tmp_path)
    proxy.answers = [not_deleted(code)]
    assert media_store.remove(uris, proxy.params()) == uris
    assert proxy.methods["POST"] == 2
    assert there(uris, proxy) == uris[:1]  # which the first answer said to be deleted


def test_what_a_store_does_not_delete_stops_the_job(s3_server: Server, proxy: Proxy, tmp_path: Path) -> None:
    uris = put_two(s3_server, tmp_path)
    proxy.answers = [not_deleted("AccessDenied")]
    with pytest.raises(StoreError, match="s3://things: 1 objects are not deleted: the store says AccessDenied"):
        media_store.remove(uris, proxy.params())


def test_a_store_that_knows_no_newer_checksums_deletes_one_by_one(
    s3_server: Server, proxy: Proxy, tmp_path: Path
) -> None:
    uris = put_two(s3_server, tmp_path)
    proxy.answers = [(400, b'<?xml version="1.0"?><Error><Code>MissingContentMD5</Code></Error>')]
    assert media_store.remove(uris, proxy.params()) == uris
    assert proxy.methods["DELETE"] == 2
    assert there(uris, proxy) == []
