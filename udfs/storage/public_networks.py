"""Which IP addresses belong to the public internet, by IANA's registries and the addresses that clouds use inside."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

# IANA's registry of special-purpose IPv4 addresses as of 2025, multicast, and addresses that look public:
# https://www.iana.org/assignments/iana-ipv4-special-registry
NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers; Alibaba Cloud's metadata are at 100.100.100.200
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF protocols; Oracle Cloud's metadata are at 192.0.0.192
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's own services, from every virtual machine
        "161.26.0.0/16",  # IBM Cloud's services, from within
        "166.8.0.0/14",
    )
)
UNICAST = IPv6Network("2000::/3")  # all else is reserved, private, link-local, loopback or multicast
# Of these networks https://www.iana.org/assignments/iana-ipv6-special-registry says what they are for.
NOT_PUBLIC_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocols; Teredo, which contains IPv4 addresses
        "2001:db8::/32",
        "2002::/16",  # 6to4, which contains an IPv4 address that anyone may choose
        "2620:4f:8000::/48",
        "3ffe::/16",
        "3fff::/20",
    )
)
NAT64 = IPv6Network("64:ff9b::/96")  # contains the IPv4 address that a network without IPv4 is to reach
ISATAP = (0x00005EFE, 0x02005EFE)  # the third quarter of an address whose last quarter is an IPv4 address


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, and so does the IPv4 address that it contains."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in NOT_PUBLIC_V4)
    if ip.ipv4_mapped is not None or ip in NAT64:
        return is_public(str(_last_quarter(ip)))
    if ip not in UNICAST or any(ip in network for network in NOT_PUBLIC_V6):
        return False
    return (int(ip) >> 32) & 0xFFFFFFFF not in ISATAP or is_public(str(_last_quarter(ip)))


def _last_quarter(ip: IPv6Address) -> IPv4Address:
    return IPv4Address(int(ip) & 0xFFFFFFFF)
