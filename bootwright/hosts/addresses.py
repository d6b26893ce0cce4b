"""Reading the answers of ``getent`` and ``ip``: addresses of boards. Pure."""

import ipaddress
import json
from collections.abc import Sequence
from typing import Any


def parse_getent(text: str) -> list[str]:
    """Return the addresses that ``getent ahosts NAME`` printed, without those of this machine."""
    found = dict.fromkeys(line.split()[0] for line in text.splitlines() if line.split())
    return [address for address in found if _is_usable(address)]


def _is_usable(address: str) -> bool:
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (read.is_loopback or read.is_unspecified or read.is_multicast)


def parse_neighbours(text: str, macs: Sequence[str]) -> list[str]:
    """Return the addresses that ``ip -json neigh`` lists for these MAC addresses.

    A link-local address is followed by ``%`` and the interface, without which it has no meaning.
    """
    found = []
    for entry in _entries(text):
        address, interface = str(entry.get("dst", "")), str(entry.get("dev", ""))
        known = str(entry.get("lladdr", "")).lower() in macs
        if known and "FAILED" not in entry.get("state", ()) and _is_usable(address):
            local = ipaddress.ip_address(address).is_link_local and ":" in address
            found.append(f"{address}%{interface}" if local else address)
    # IPv4 first: more programs take it.
    return sorted(found, key=lambda address: ":" in address)


def parse_interfaces(text: str) -> list[str]:
    """Return the Ethernet interfaces that ``ip -json link`` lists as connected."""
    return [
        str(entry["ifname"])
        for entry in _entries(text)
        if entry.get("link_type") == "ether"
        and entry.get("operstate") == "UP"
        and "ifname" in entry
    ]


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        read = json.loads(text)
    except ValueError:
        return []
    return [entry for entry in read if isinstance(entry, dict)] if isinstance(read, list) else []


def link_local(mac: str) -> str:
    """Return the link-local IPv6 address that systemd-networkd gives an interface.

    It is made from the MAC address as RFC 4291 says it (EUI-64).

    Args:
        mac: the interface's MAC address, such as ``02:1a:2b:3c:4d:5e``.
    """
    octets = bytes.fromhex(mac.replace(":", ""))
    # The bit that says whether the address is a local one is inverted.
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + identifier))
