"""Hosts and addresses in the configuration; a target's network, ``[targets.NAME.network]``."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from bootwright.core.toml_model import StrictModel

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?")
_WITH_PORT = re.compile(r"\[?([^\[\]]+?)\]?:(\d+)")
_PROXY = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}/?")


def _host(value: str) -> str:
    if len(value) <= 253 and (_NAME.fullmatch(value) or _is_address(value)):
        return value
    message = f"{value!r} is neither a host name nor an IP address"
    found = _WITH_PORT.fullmatch(value)
    if found and (_NAME.fullmatch(found[1]) or _is_address(found[1])):
        message += f"; write a port as port = {found[2]}, and the host as {found[1]!r}"
    elif "://" in value:
        message += "; write only the name or address, without ://"
    raise ValueError(message)


def _is_address(value: str) -> bool:
    # A link-local IPv6 address needs the name of its interface.
    if not re.fullmatch(r"[0-9A-Fa-f.:]+(%[A-Za-z0-9._-]+)?", value):
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _address(value: str) -> str:
    if "%" in value or not _is_address(value):
        raise ValueError(f"{value!r} is not an IP address; write it like 192.0.2.1")
    return value


def _interface(value: str) -> str:
    try:
        address = ipaddress.ip_interface(value)
    except ValueError:
        address = None
    if address is None or not re.fullmatch(r"[0-9A-Fa-f.:]+/[0-9]{1,3}", value):
        raise ValueError(
            f"{value!r} is not an IP address with the length of its network; write it like"
            " 192.0.2.10/24"
        )
    whole = address.network
    ends = (whole.network_address, whole.broadcast_address)
    if address.version == 4 and whole.prefixlen < 31 and address.ip in ends:
        raise ValueError(f"{value!r} is the network or its broadcast address, not that of a board")
    return value


def _proxy(value: str) -> str:
    if "@" in value:
        # The files on the board that contain it can be read by every user there.
        raise ValueError(
            "a proxy with a user name or password cannot be configured; give one without"
        )
    if not _PROXY.fullmatch(value):
        raise ValueError(f"{value!r} is not like http://proxy.example:3128")
    return value


Host = Annotated[str, AfterValidator(_host)]
"""The name or the address of a machine, without a port."""


class Network(StrictModel):
    """How a board is connected by its Ethernet.

    Attributes:
        address: its addresses, each with the length of its network; none: DHCP.
        gateway: the router's address, for ``address``.
        dns: addresses of name servers, instead of those of DHCP or beside them.
        vlan: the number of a VLAN (IEEE 802.1Q) on the Ethernet port. Without ``vlan_address`` all
            settings are for the VLAN, and the network without a VLAN is not used.
        vlan_address: the board's addresses in the VLAN; the network without a VLAN is used as well,
            with ``address`` or DHCP.
        mdns: the board can be found by the name ``HOSTNAME.local``.
        ntp: time servers, instead of those of the distribution.
        proxy: where the board fetches packages and images through.
        no_proxy: names, domains and addresses that are reached without the proxy.
    """

    address: tuple[Annotated[str, AfterValidator(_interface)], ...] = ()
    gateway: Annotated[str, AfterValidator(_address)] | None = None
    dns: tuple[Annotated[str, AfterValidator(_address)], ...] = ()
    vlan: Annotated[int, Field(ge=1, le=4094)] | None = None
    vlan_address: tuple[Annotated[str, AfterValidator(_interface)], ...] = ()
    mdns: bool = False
    ntp: tuple[Host, ...] = ()
    proxy: Annotated[str, AfterValidator(_proxy)] | None = None
    no_proxy: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:/_-]+$")], ...] = ()

    EXAMPLES: ClassVar[Mapping[str, Any]] = {
        "address": ["192.0.2.10/24"],
        "gateway": "192.0.2.1",
        "dns": ["192.0.2.53"],
        "vlan": 42,
        "vlan_address": ["198.51.100.10/24"],
        "mdns": True,
        "ntp": ["ntp.example"],
        "proxy": "http://proxy.example:3128",
        "no_proxy": ["registry.example", "192.0.2.0/24"],
    }

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.no_proxy and self.proxy is None:
            raise ValueError("no_proxy: it has no meaning without proxy")
        if self.vlan_address and self.vlan is None:
            raise ValueError("vlan_address: it has no meaning without vlan, the VLAN's number")
        for one in map(ipaddress.ip_interface, self.vlan_address):
            for other in map(ipaddress.ip_interface, self.address):
                if one.version == other.version and one.network.overlaps(other.network):
                    raise ValueError(
                        f"vlan_address: {one} is in the network of address {other}; a board cannot"
                        " have one network both in the VLAN and outside of it"
                    )
        if self.gateway is not None:
            gateway = ipaddress.ip_address(self.gateway)
            networks = [ipaddress.ip_interface(one).network for one in self.address]
            if not gateway.is_link_local and not any(gateway in one for one in networks):
                raise ValueError(
                    f"gateway: {self.gateway} is in no network of address; without address, leave"
                    " gateway out: the board gets it by DHCP"
                )
        return self
