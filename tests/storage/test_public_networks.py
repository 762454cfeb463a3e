"""Addresses of clouds, special networks and IPv4 within IPv6 are not taken for public ones."""

from __future__ import annotations

import pytest

from udfs.storage.public_networks import NOT_PUBLIC_V4, NOT_PUBLIC_V6, is_public

CLOUDS = {
    "AWS, Azure, Google, DigitalOcean, Hetzner": "169.254.169.254",
    "AWS containers": "169.254.170.2",
    "AWS over IPv6": "fd00:ec2::254",
    "AWS names": "fd00:ec2::253",
    "Google over IPv6": "fd20:ce::254",
    "Azure": "168.63.129.16",
    "Oracle": "192.0.0.192",
    "Alibaba": "100.100.100.200",
    "Tencent": "169.254.0.23",
    "IBM": "161.26.0.10",
    "OpenStack over IPv6": "fe80::a9fe:a9fe",
}


@pytest.mark.parametrize("address", CLOUDS.values(), ids=[*CLOUDS])
def test_the_inner_addresses_of_clouds_are_not_public(address: str) -> None:
    assert not is_public(address)
    if "." in address:
        a, b, c, d = map(int, address.split("."))
        for form in ("::ffff:{}", "64:ff9b::{}", "::{}", "2001:470::5efe:{}", "2001:470::200:5efe:{}"):
            assert not is_public(form.format(address))
        assert not is_public(f"2002:{a << 8 | b:x}:{c << 8 | d:x}::1")


@pytest.mark.parametrize("network", NOT_PUBLIC_V4 + NOT_PUBLIC_V6, ids=str)
def test_the_first_and_the_last_address_of_a_network_are_in_it(network: object) -> None:
    assert not is_public(str(network[0]))  # type: ignore[index]
    assert not is_public(str(network[-1]))  # type: ignore[index]


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "168.63.129.15", "100.128.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.255"),
        *("2a00:1450:4001::1", "2001:4860:4860::8888", "2001:470::5efe:8.8.8.8", "64:ff9b::8.8.8.8"),
    ],
)
def test_their_neighbors_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",  # https://github.com/felippe-regazio/ssrfcheck/pull/11, https://github.com/everruns/bashkit/issues/1569
    [
        *("::ffff:7f00:1", "::FFFF:169.254.169.254", "0:0:0:0:0:ffff:a9fe:a9fe", "::7f00:1", "64:ff9b::7f00:1"),
        *("64:ff9b:1:fffe::10.0.0.1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "fe80::5efe:8.8.8.8"),
        "::ffff:0:127.0.0.1",
    ],
)
def test_forms_by_which_other_programs_were_led_inside(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["64:ff9b:1::808:808", "100::1", "5f00::1", "4000::1", "fec0::1", "3fff::1", "::1"])
def test_what_no_public_host_has_is_not_public(address: str) -> None:
    assert not is_public(address)
