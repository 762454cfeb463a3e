"""[sources]: what may be set, and what is refused before any file is read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from udfs.storage.settings import Params


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout_s": 0},
        {"retry_s": -1},
        {"requests_per_s": -1},
        {"max_bytes": 0},
        {"http_redirects": 21},
        {"http_redirects": -1},
        {"http_total_s": 0},
        {"http_disk_bytes": 0},
        {"s3_writers": "many"},
        {"s3_secret": "AKIA"},
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        TypeAdapter(Params).validate_python(settings)


def test_an_address_with_a_password_is_refused() -> None:
    """Every row of `runs` has the settings."""
    with pytest.raises(ValidationError, match="s3_endpoint: an address must not contain credentials"):
        Params(s3_endpoint="http://me:s3cret@host:9000")
    assert Params(s3_endpoint="http://host:9000").s3_endpoint == "http://host:9000"


def test_nothing_private_is_read_by_http_unless_it_is_allowed() -> None:
    assert not Params().http_private
    assert not Params().s3_anonymous
