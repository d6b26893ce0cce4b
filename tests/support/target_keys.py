"""The targets of the cards that tests boot: the one unlocked over SSH has all keys of a network."""

import os
from typing import Literal

Unlock = Literal["serial", "ssh"]
"""How the volume of a card is unlocked at a boot: the setting ``unlock`` of a target."""

ROOTFS_VARIABLE = "BOOTWRIGHT_TEST_ROOTFS"
"""Names a Debian tarball that is used instead of building one (minutes)."""

PACKAGE = "tree"
"""A small package that is no part of the root file system, and that nothing else needs."""

ADDRESS, GATEWAY, NAME_SERVER = "10.0.2.15", "10.0.2.2", "10.0.2.3"
"""Those of QEMU's user network: the guest, this machine, and its name server."""

VLAN, VLAN_ADDRESS = 42, "198.51.100.10"

TIME_SERVERS = ("10.0.2.2", "ntp.example")

PROXY, NO_PROXY = f"http://{GATEWAY}:3128", ("registry.example", "198.51.100.0/24")

FIRST_BOOT_MARK = "/var/lib/first-boot-was-here"
"""A file on the board with one line for each run of :data:`FIRST_BOOT`."""

FIRST_BOOT = f"""\
#!/bin/sh
set -e
ip -4 route show default
echo "the proxy is $http_proxy"
date >>{FIRST_BOOT_MARK}
"""

NETWORK = f"""\
address = ["{ADDRESS}/24"]
gateway = "{GATEWAY}"
dns = ["{NAME_SERVER}"]
vlan = {VLAN}
vlan_address = ["{VLAN_ADDRESS}/24"]
mdns = true
ntp = {list(TIME_SERVERS)}
proxy = "{PROXY}"
no_proxy = {list(NO_PROXY)}
"""


def has_package() -> bool:
    """Return whether the cards have :data:`PACKAGE`: a tarball that is given is used as it is."""
    return not os.environ.get(ROOTFS_VARIABLE)


def target_text(unlock: Unlock) -> str:
    """Return ``bootwright.toml`` for a card; its target is ``odroid``.

    Both cards have the same package, so that one root file system does for both.
    """
    text = f'[targets.odroid]\nboard = "odroid-xu3"\nrootfs = "debian"\nunlock = "{unlock}"\n'
    if has_package():
        text += f'packages = ["{PACKAGE}"]\n'
    if unlock == "ssh":
        text += f'first_boot = "rootfs/first-boot.sh"\n\n[targets.odroid.network]\n{NETWORK}'
    return text
