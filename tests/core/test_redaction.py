"""Secrets are taken out of settings as Spark does it, and out of texts."""

from __future__ import annotations

import pytest

from udfs.core.redaction import HIDDEN, PATTERN, redacted_spark, redacted_values, without_secrets


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spark.hadoop.fs.s3a.secret.key", "x"),
        ("spark.hadoop.fs.s3a.access.key", "x"),
        ("spark.my.PassWord", "x"),
        ("spark.executor.extraJavaOptions", "-Dmy.token=x"),
    ],
)
def test_sparks_rule_looks_at_keys_and_values(key: str, value: str) -> None:
    assert redacted_spark({key: value, "spark.ui.enabled": "false"}) == {key: HIDDEN, "spark.ui.enabled": "false"}


@pytest.mark.parametrize(
    "key",
    [
        "spark.sql.catalog.polaris.credential",  # https://github.com/apache/polaris/pull/5468
        "spark.hadoop.fs.azure.account.key.films.dfs.core.windows.net",
        "spark.hadoop.fs.gs.auth.service.account.private.key",
        "spark.my.api-key",
    ],
)
def test_keys_that_sparks_rule_leaves_out_are_redacted_as_well(key: str) -> None:
    assert redacted_spark({key: "x", "spark.app.name": "films"}) == {key: HIDDEN, "spark.app.name": "films"}


def test_the_users_own_rule_replaces_the_default() -> None:
    settings = {"spark.my.pin": "1234", "spark.my.token": "x"}
    own = {PATTERN: "(?i)pin"}
    assert redacted_spark(settings | own) == {"spark.my.pin": HIDDEN, "spark.my.token": "x"} | own
    assert redacted_spark(settings, "pin") == {"spark.my.pin": HIDDEN, "spark.my.token": "x"}


def test_a_rule_that_python_cannot_read_hides_everything() -> None:
    rule = {PATTERN: r"\p{Alpha}+[[a-z]&&[b]](?<x"}
    assert redacted_spark({"spark.ui.enabled": "false"} | rule) == {"spark.ui.enabled": HIDDEN} | rule


def test_addresses_in_settings_lose_what_lets_in() -> None:
    values = {"sources": {"roots": ("https://me:pw@h/a/",), "requests_per_s": 500.0}, "proxy": None}
    assert redacted_values(values) == {"sources": {"roots": ["https://h/a/"], "requests_per_s": 500.0}, "proxy": None}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://me:pw@h/v.mp4?sig=A#t failed", "GET https://h/v.mp4 failed"),
        ("rtsp://a:b@cam/1 and ftp://h/x", "rtsp://cam/1 and ftp://h/x"),
        ("Authorization: Basic bWU6cHdwdw==", f"Authorization: Basic {HIDDEN}"),
        ("Authorization: Bearer abc.def-123", f"Authorization: Bearer {HIDDEN}"),
        ("key AKIAIOSFODNN7EXAMPLE is wrong", f"key {HIDDEN} is wrong"),
        ("Basic things, /a?b.mp4, s3://b/a@b:c.mp4", "Basic things, /a?b.mp4, s3://b/a@b:c.mp4"),
    ],
)
def test_texts_are_shown_without_secrets(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
