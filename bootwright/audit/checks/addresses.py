"""Whether an address belongs to the board itself, as far as the address shows it."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

_LOOPBACK = ("localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback")
"""Names of loopback in /etc/hosts of Debian, Fedora and Arch Linux; any domain may follow."""

_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
"""Matches the last part of an IPv4 address in any notation: inet_aton(3)."""


def host_of(address: str) -> str:
    """Return the host of ``SCHEME://HOST:PORT`` or ``HOST:PORT``; empty if it has none."""
    try:
        place = urlsplit(address if "://" in address else f"tcp://{address}")
        # Without the zone of an IPv6 address, and without the final point of a complete name.
        return (place.hostname or "").partition("%")[0].rstrip(".")
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is loopback."""
    number = _number(host)
    if number is not None:
        return number.is_loopback or number.is_unspecified
    labels = host.split(".")
    # For example 0, 127.1 and 2130706433, which the resolver reads as addresses.
    if _NUMBER.fullmatch(labels[-1]):
        return True
    return labels[0] in _LOOPBACK or labels[-1] == "localhost"


def is_elsewhere(host: str, hostname: str) -> bool:
    """Return whether ``host`` is another machine than the board with the name ``hostname``."""
    own = hostname.lower().rstrip(".")
    names = {name for name in (own, own.partition(".")[0]) if name}
    names |= {f"{name}.{domain}" for name in names for domain in ("local", "localdomain")}
    return bool(host) and not is_loopback(host) and host not in names


def _number(host: str) -> IPv4Address | IPv6Address | None:
    try:
        number = ip_address(host)
    except ValueError:
        return None
    return (number.ipv4_mapped or number) if isinstance(number, IPv6Address) else number
