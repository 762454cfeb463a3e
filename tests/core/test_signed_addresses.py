"""Addresses without what lets their reader in: one that is signed again is the same, two files stay two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.core.signed_addresses import is_signed, unsigned, unsigned_text

AWS = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA&X-Amz-Date={}&X-Amz-Expires=9&X-Amz-Signature={}"


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        (f"https://b.s3.amazonaws.com/a%20b.mp4?{AWS.format(1, 'ab')}", "https://b.s3.amazonaws.com/a%20b.mp4"),
        (f"https://h/video?versionId=3&{AWS.format(1, 'ab')}", "https://h/video?versionId=3"),
        ("https://h/v.mp4?AWSAccessKeyId=AK&Expires=7&Signature=x%3D", "https://h/v.mp4"),
        ("https://h/v.mp4?sv=2022&st=a&se=b&sr=b&sp=r&sig=x%3D", "https://h/v.mp4"),
        ("https://h/v.mp4?X-Goog-Algorithm=G&X-Goog-Signature=ab", "https://h/v.mp4"),
        ("https://h/v.mp4?Policy=p&Signature=s&Key-Pair-Id=k", "https://h/v.mp4"),
        ("https://h/v.mp4?md5=x&expires=7", "https://h/v.mp4"),
        ("https://h/v.mp4?alt=media&TOKEN=abc", "https://h/v.mp4?alt=media"),
        ("https://h/v.mp4?token=abc&expires=1764500000&token_path=%2F&e=2", "https://h/v.mp4?e=2"),
        ("https://h/v.mp4?id=3&t=65a1&exper=0&rlimit=3&us=x9&sign=ab", "https://h/v.mp4?id=3"),
        ("https://h/v.mp4?id=3&k=AIzaSyA1234567890abcdefghijklmnopqrstuv", "https://h/v.mp4?id=3"),
        ("https://me:pw@h:8/v.mp4", "https://h:8/v.mp4"),
        ("https://ghp@h/v.mp4", "https://h/v.mp4"),
        ("rtsp://admin:pw@camera/1", "rtsp://camera/1"),
        ("https://h/v.mp4#access_token=x", "https://h/v.mp4"),
    ],
)
def test_users_passwords_signatures_and_tokens_are_left_out(address: str, plain: str) -> None:
    assert unsigned(address) == plain
    assert unsigned(plain) == plain
    assert is_signed(address)
    assert not is_signed(plain)


@pytest.mark.parametrize(
    "address",
    [
        "https://h/v.mp4?id=3&e=5&st=2&hash=7&t=10&expires=7",
        "https://h/v@2.mp4?a=1&&b=2#t=10",
        "https://h/v.mp4?key=day/a.mp4",
        "abfss://container@account.dfs.core.windows.net/v.mp4",
        "s3://b/k.mp4?sig=3",
        "/a/b.mp4?token=2",
        "https://h/v.mp4?",
        "",
    ],
)
def test_all_else_stays(address: str) -> None:
    assert unsigned(address) == address


def test_files_that_only_a_token_tells_apart_stay_apart() -> None:
    one, other = (unsigned(f"https://h/get.php?token={token}") for token in ("first-token", "other-token"))
    assert one != other
    assert "first-token" not in one
    assert unsigned("https://h/get.php?Token=first-token") == one


PARAMETERS = ("token=a", "sig=x", "sign=x", "e=5", "expires=7", "t=1", "Key=hf_" + "a" * 34, "token=hash-1", "", "a=b")


@given(st.lists(st.sampled_from(PARAMETERS)))
def test_what_is_unsigned_stays_so(parameters: list[str]) -> None:
    for path in ("/watch", "/v.mp4"):
        plain = unsigned(f"https://ann:pw@h{path}?{'&'.join(parameters)}#token=x&t=1")
        assert unsigned(plain) == plain
        assert not is_signed(plain)


def test_a_text_keeps_its_words_and_loses_its_secrets() -> None:
    text = "from https://me:pw@h/v.mp4?id=1&sig=x, by hf_" + "a" * 34 + " and sk-learn-is-a-library-of-python"
    assert unsigned_text(text) == "from https://h/v.mp4?id=1, by *** and sk-learn-is-a-library-of-python"
