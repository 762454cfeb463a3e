"""One GET of a web server: which hosts it may reach, where a password goes, and when it gives up."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.downloads import HERE
from tests.support.web_server import Fault, Page, Site, serving
from udfs.core.errors import MediaError
from udfs.storage import http_connection
from udfs.storage.http_connection import get
from udfs.storage.http_target import parse_target
from udfs.storage.public_networks import is_public
from udfs.storage.retry import BusyError
from udfs.storage.settings import Params

pytestmark = pytest.mark.usefixtures("no_connection")
DATA = bytes(range(256)) * 1000
PUBLIC_ONLY = Params()


def body(url: str, params: Params = HERE, headers: Mapping[str, str] | None = None, within_s: float = 5.0) -> bytes:
    """The whole body of an answer."""
    with get(url, dict(headers or {}), params, time.monotonic() + within_s) as answer:
        return b"".join(answer.chunks())


def refusal(url: str, params: Params = HERE) -> MediaError:
    """Why an address is never read."""
    with pytest.raises(MediaError) as e:
        body(url, params)
    return e.value


def passwords(site: Site) -> list[str | None]:
    """The passwords that a server was sent, by request."""
    return [headers.get("authorization") for _, headers in site.asked]


def test_a_request_asks_for_the_file_as_it_is() -> None:
    with serving({"/v.mp4": Page(DATA)}) as site:
        assert body(f"{site.url}/v.mp4", headers={"Range": "bytes=2-5"}) == DATA[2:6]
    [(path, headers)] = site.asked
    assert (path, headers["host"], headers["range"]) == ("/v.mp4", site.url[7:], "bytes=2-5")
    assert (headers["accept-encoding"], headers["user-agent"]) == ("identity", "reelmill")


def test_one_connection_serves_the_answers_that_were_read_to_their_end() -> None:
    with serving({"/a": Page(DATA), "/b": Page(DATA, ranges=False, length=None)}) as site:
        assert [body(f"{site.url}/{name}") for name in "abab"] == [DATA] * 4
        assert site.connections == 1
        assert body(f"{site.url}/a", Params(http_private=True)) == DATA  # with other limits
        assert site.connections == 2


def test_the_rest_of_an_answer_is_never_taken_for_the_next_one() -> None:
    with serving({"/a": Page(DATA), "/b": Page(b"b")}) as site:
        with get(f"{site.url}/a", {}, HERE, time.monotonic() + 5) as answer:
            assert DATA.startswith(next(answer.chunks()))
        with get(f"{site.url}/a", {}, HERE, time.monotonic() + 5):
            pass
        assert body(f"{site.url}/b") == b"b"
    assert site.connections >= 2


def test_threads_do_not_share_a_connection() -> None:
    with serving({"/a": Page(DATA)}) as site:
        body(f"{site.url}/a")
        thread = threading.Thread(target=body, args=(f"{site.url}/a",))
        thread.start()
        thread.join()
        assert (site.connections, len(site.asked)) == (2, 2)


@pytest.mark.parametrize("fault", ["slow headers", "slow body"])
def test_an_answer_that_comes_byte_by_byte_ends_at_the_deadline(fault: Fault) -> None:
    started = time.monotonic()
    with (
        serving({"/v.mp4": Page(DATA, faults=[fault])}) as site,
        pytest.raises(BusyError, match="the answer took too long"),
    ):
        body(f"{site.url}/v.mp4", within_s=0.4)
    assert 0.3 < time.monotonic() - started < 1.5


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(DATA, ranges=False, length=None, faults=["cut"]), "IncompleteRead"),
        (Page(DATA, faults=["reset"]), "Connection reset by peer"),
    ],
)
def test_an_answer_that_breaks_off_may_succeed_next_time(page: Page, said: str) -> None:
    with serving({"/v.mp4": page}) as site:
        with pytest.raises(BusyError, match=said):
            body(f"{site.url}/v.mp4")
        assert body(f"{site.url}/v.mp4") == DATA


def test_a_server_that_is_silent_or_not_there_may_answer_next_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v.mp4"
        with pytest.raises(BusyError, match="no answer in time"):
            body(url, Params(http_private=True, timeout_s=0.2))
    with pytest.raises(BusyError, match="Connection refused"):
        body(url)


def test_so_many_redirects_are_followed_and_no_more() -> None:
    pages = {"/0": Page(redirect="/1"), "/1": Page(redirect="2?x=1"), "/2": Page(b"there")}
    with serving(pages) as site:
        assert body(f"{site.url}/0", Params(http_private=True, http_redirects=2)) == b"there"
        assert [path for path, _ in site.asked] == ["/0", "/1", "/2?x=1"]
        error = refusal(f"{site.url}/0", Params(http_private=True, http_redirects=1))
        assert str(error) == "DENIED: more than 1 redirects"
        assert len(site.asked) == 3 + 2


@pytest.mark.parametrize(("encoding", "path"), [("utf-8", "/%C3%A9.mp4"), ("latin-1", "/%E9.mp4")])
def test_a_redirect_may_name_a_file_by_its_bytes(encoding: str, path: str) -> None:
    raw = "/é.mp4".encode(encoding).decode("latin-1")  # as the server writes headers
    with serving({"/v.mp4": Page(redirect=raw), path: Page(b"there")}) as site:
        assert body(f"{site.url}/v.mp4") == b"there"


def test_a_redirect_is_followed_and_takes_no_password_along() -> None:
    with (
        serving({"/v.mp4": Page(DATA)}) as there,
        serving({"/to": Page(redirect="/on"), "/on": Page(redirect=f"{there.url}/v.mp4?x=1")}) as here,
    ):
        assert body(f"http://me:s%40cret@{here.url[7:]}/to") == DATA
    assert passwords(here) == ["Basic bWU6c0BjcmV0"] * 2
    assert (there.asked[0][0], passwords(there)) == ("/v.mp4?x=1", [None])


def test_a_redirect_may_bring_a_password_of_its_own() -> None:
    with serving({"/v.mp4": Page(DATA)}) as there, serving({"/to": Page()}) as here:
        here.pages["/to"].redirect = f"http://you:other@{there.url[7:]}/v.mp4"
        assert body(f"http://me:s3cret@{here.url[7:]}/to") == DATA
    assert passwords(there) == ["Basic eW91Om90aGVy"]


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/v.mp4", "file:///etc/passwd", "http://[::1/"])
def test_a_redirect_leads_to_web_servers_only(address: str) -> None:
    with serving({"/v.mp4": Page(redirect=address)}) as site:
        assert refusal(f"{site.url}/v.mp4").code == "UNSUPPORTED"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "0",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:ffff:7f00:1]",
        "LOCALHOST",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "me@127.0.0.1",
        "example.com@127.0.0.1",
    ],
)
def test_a_loopback_address_is_refused_in_every_spelling(host: str) -> None:
    with serving({"/v.mp4": Page(DATA)}) as site:
        error = refusal(f"http://{host}:{site.url.rpartition(':')[2]}/v.mp4", PUBLIC_ONLY)
    assert error.code == "DENIED"
    assert "sources.http_private = true allows it" in error.message
    assert site.connections == 0


PRIVATE = (
    "10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 169.254.169.254 224.0.0.1 255.255.255.255 240.0.0.1 0.0.0.0 "
    "::1 :: fe80::1%1 "
)
EMBEDDED = "fc00::1 ff02::1 fec0::1 ::ffff:10.0.0.1 ::10.0.0.1 64:ff9b::a9fe:a9fe 2002:a00:1::1 2001:db8::1 2001::1"


@pytest.mark.parametrize("address", (PRIVATE + EMBEDDED).split())
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "is_public", lambda address: address == "127.0.0.1")
    with (
        serving({"/v.mp4": Page(DATA)}, host="127.0.0.2") as inner,
        serving({"/v.mp4": Page(redirect=f"{inner.url}/v.mp4")}) as outer,
    ):
        error = refusal(f"{outer.url}/v.mp4", PUBLIC_ONLY)
    assert (error.code, len(outer.asked), inner.connections) == ("DENIED", 1, 0)


def test_a_name_that_resolves_differently_the_second_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["127.0.0.1", "127.0.0.2"]
    real = socket.getaddrinfo
    monkeypatch.setattr(http_connection, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **how: real(answers.pop(0), port, **how))
    with serving({"/v.mp4": Page(DATA, faults=["reset"])}) as site:
        url = site.url.replace("127.0.0.1", "rebind.test") + "/v.mp4"
        with pytest.raises(BusyError):
            body(url, PUBLIC_ONLY)
        error = refusal(url, PUBLIC_ONLY)
    assert (error.code, site.connections, answers) == ("DENIED", 1, [])


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///v.mp4",
        "http://host:99999/v.mp4",
        "http://[::1/v.mp4",
        "http://a b/v.mp4",
        "gopher://x/",
        "/v.mp4",
    ],
)
def test_an_address_that_is_not_http_is_refused(url: str) -> None:
    error = refusal(url)
    assert str(error) == "UNSUPPORTED: not an http(s) address"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://h/a b/%20ü.mp4", "/a%20b/%20%C3%BC.mp4"),
        ("http://h/100%.mp4?sig=a%2Fb+c/d==#part", "/100%25.mp4?sig=a%2Fb+c/d=="),
        ("http://h", "/"),
    ],
)
def test_a_request_has_everything_escaped_once(url: str, path: str) -> None:
    assert parse_target(url).path == path


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://H.org/v.mp4", (False, "h.org", 80)),
        ("https://h.org/v.mp4", (True, "h.org", 443)),
        ("https://me:s3cret@h.org:8443/v.mp4", (True, "h.org", 8443)),
        ("http://bücher.example/v.mp4", (False, "xn--bcher-kva.example", 80)),
        ("http://[2606:4700::1111]/v.mp4", (False, "2606:4700::1111", 80)),
    ],
)
def test_a_connection_leads_to_the_host_and_port_of_the_address(url: str, origin: tuple[bool, str, int]) -> None:
    assert parse_target(url).origin == origin


def certificate(folder: Path) -> Path:
    """A self-signed certificate of 127.0.0.1 and its key, in a file."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*made, *names, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
    )
    (folder / "both.pem").write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return folder / "both.pem"


def test_a_certificate_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = certificate(tmp_path)
    with serving({"/v.mp4": Page(DATA), "/down": Page(redirect="http://127.0.0.1/v.mp4")}, certificate=both) as site:
        error = refusal(f"{site.url}/v.mp4")
        assert (error.code, site.asked) == ("DENIED", [])
        assert "not trusted: self-signed certificate" in error.message
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        http_connection._tls.cache_clear()
        assert body(f"{site.url}/v.mp4") == DATA
        assert refusal(f"{site.url}/down").message == "a redirect from https to http"
    http_connection._tls.cache_clear()
