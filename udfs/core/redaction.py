"""Take secrets out of settings and of texts that people read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from udfs.core.signed_addresses import KNOWN_SECRET, unsigned_text

HIDDEN = "*********(redacted)"  # as Spark writes it
PATTERN = "spark.redaction.regex"  # Spark's setting: which of its settings are secrets, by key or value
DEFAULT = "(?i)secret|password|token|access[.]?key"  # its default in Spark 4
# Keys of secrets that the default leaves out: Azure's account keys, Google's private keys, credentials of Iceberg.
LEFT_OUT = re.compile(r"(?i)account[.]key|private[._-]?key|api[._-]?key|credential|authorization")
ADDRESS = re.compile(r"(?P<scheme>\bhttps?://)(?:[^/\s'\"@]*@)?(?P<place>[^\s'\"?#]*)[^\s'\"]*", re.IGNORECASE)
# A user with a password in an address of another kind; abfss://container@account has none.
LOGIN = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^/\s'\"@:]*:[^/\s'\"]*@", re.IGNORECASE)
AUTHORIZATION = re.compile(r"(?P<kind>\b(?:Bearer|Basic)\s+)[\w.~+/=-]{8,}")


def without_secrets(text: str) -> str:
    """The text without users, passwords, queries and fragments of its addresses, and without known kinds of secrets."""
    text = LOGIN.sub(r"\g<scheme>", ADDRESS.sub(r"\g<scheme>\g<place>", text))
    return KNOWN_SECRET.sub(HIDDEN, AUTHORIZATION.sub(rf"\g<kind>{HIDDEN}", text))


def redacted_spark(settings: Mapping[str, str], pattern: str | None = None) -> dict[str, str]:
    """Settings of Spark, redacted as Spark does it: the pattern is looked for in keys and values.

    By default the pattern is that of the settings themselves, else Spark's default. Keys that Spark's
    default leaves out are redacted, too.
    """
    try:
        rule = re.compile(settings.get(PATTERN) or pattern or DEFAULT)
    except re.error:  # Java's patterns are others: what one hides is not known
        return {key: value if key == PATTERN else HIDDEN for key, value in settings.items()}
    return {
        key: HIDDEN
        if key != PATTERN and (rule.search(key) or rule.search(value) or LEFT_OUT.search(key))
        else without_secrets(value)
        for key, value in settings.items()
    }


def redacted_values(value: Any) -> Any:
    """Settings of sections within sections, with addresses in their texts unsigned."""
    if isinstance(value, Mapping):
        return {key: redacted_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_values(inner) for inner in value]
    return unsigned_text(value) if isinstance(value, str) else value
