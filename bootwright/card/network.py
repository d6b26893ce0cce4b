"""What a target's ``network`` becomes on the card: files for systemd, and for programs' proxy."""

from typing import Protocol

from bootwright.core.config import Target
from bootwright.core.errors import RefusedError
from bootwright.core.file_changes import Change, FileChange, text_file
from bootwright.rootfs.facts import RootfsFacts
from bootwright.rootfs.source import Mmdebstrap, Tarball

FOLDER = "/etc/systemd/network"


class Render(Protocol):
    """Renders a template of the folder ``templates`` as a file of the card."""

    def __call__(self, path: str, template: str, mode: int = 0o644, **more: object) -> FileChange:
        """Return the file."""
        ...


def network_changes(
    target: Target, source: Mmdebstrap | Tarball, rootfs: RootfsFacts, rendered: Render
) -> list[Change]:
    """Return the files that connect the board to its network.

    Raises:
        RefusedError: the root file system lacks the program or driver that a setting needs.
    """
    network = target.network
    changes: list[Change] = [
        rendered(f"{FOLDER}/10-bootwright.network", "wired.network.j2"),
        rendered(f"{FOLDER}/10-bootwright.link", "ethernet.link.j2"),
    ]
    if network.vlan is not None:
        # Without it systemd-networkd gives the port up, with all its addresses.
        _need(rootfs.has_module("8021q"), "vlan", "kernel driver 8021q")
        changes += [
            rendered(f"{FOLDER}/10-bootwright-vlan.netdev", "vlan.netdev.j2"),
            rendered(f"{FOLDER}/10-bootwright-vlan.network", "vlan.network.j2"),
        ]
    if network.mdns:
        _need(rootfs.has_resolved, "mdns", "systemd-resolved")
        text = "[Resolve]\nMulticastDNS=yes\n"
        changes.append(text_file("/etc/systemd/resolved.conf.d/10-bootwright.conf", text))
    if network.ntp:
        _need(rootfs.has_timesyncd, "ntp", "systemd-timesyncd")
        text = f"[Time]\nNTP={' '.join(network.ntp)}\n"
        changes.append(text_file("/etc/systemd/timesyncd.conf.d/10-bootwright.conf", text))
    if network.proxy is not None:
        changes += _proxy(target, network.proxy, source, rendered)
    return changes


def _need(present: bool, key: str, what: str) -> None:
    if not present:
        raise RefusedError(f"network.{key}: the root file system has no {what}")


def _proxy(
    target: Target, proxy: str, source: Mmdebstrap | Tarball, rendered: Render
) -> list[Change]:
    # The board's logs go to their server directly: a proxy would only see what it cannot read.
    own = ("localhost", "127.0.0.1", "::1", target.hostname, target.logs.server)
    direct = ",".join(dict.fromkeys(filter(None, (*own, *target.network.no_proxy))))
    names = {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": direct}
    # Programs differ in which of the two forms they read.
    variables = [
        f"{form}={value}" for name, value in names.items() for form in (name, name.upper())
    ]
    path = "/etc/systemd/system.conf.d/10-bootwright-proxy.conf"
    changes: list[Change] = [
        rendered(path, "proxy.conf.j2", variables=variables),
        # For logins, by pam_env.
        text_file("/etc/environment", "".join(f"{line}\n" for line in variables)),
    ]
    if isinstance(source, Mmdebstrap):
        # For apt under sudo, which drops the variables.
        text = f'Acquire::http::Proxy "{proxy}";\nAcquire::https::Proxy "{proxy}";\n'
        changes.append(text_file("/etc/apt/apt.conf.d/10bootwright-proxy", text))
    return changes
