"""A real Debian card as the board's boot loader would read it; it is not booted."""

import re

import pytest

from bootwright.core.io.process import run
from bootwright.core.units import SECTOR
from bootwright.emulator.io.card_image import open_root, read_partitions
from tests.support.accounts import logins_with_password
from tests.support.exynos import boot
from tests.support.machine import Card

pytestmark = pytest.mark.emulator

U_BOOT = "/usr/lib/u-boot/odroid-xu3/u-boot.bin"


def test_the_real_u_boot_is_at_the_sector_where_bl2_loads_it(card_image: Card) -> None:
    u_boot = open_root(card_image.image).read_file(U_BOOT)
    assert len(u_boot) > 400_000
    with card_image.image.open("rb") as file:
        file.seek(63 * SECTOR)
        assert file.read(len(u_boot)) == u_boot
    assert b"U-Boot 20" in u_boot


def test_u_boot_finds_script_kernel_disk_and_device_tree(card_image: Card) -> None:
    root = open_root(card_image.image)
    script = root.read_file("/boot/boot.scr")
    # doc/uImage: magic, then the text after header and two lengths.
    assert script[:4] == bytes.fromhex("27051956")
    text = script[72:].decode()
    assert text == root.read_file("/boot/boot.txt").decode()
    named = [line.split()[-1] for line in text.splitlines() if line.startswith("load")]
    assert [path.replace("${fdtfile}", "exynos5422-odroidxu3.dtb") for path in named] == [
        "/vmlinuz",
        "/boot/dtbs/exynos5422-odroidxu3.dtb",
        "/initrd.img",
    ]
    for path in ("/vmlinuz", "/initrd.img", "/boot/dtbs/exynos5422-odroidxu3.dtb"):
        found = root.lookup(path)
        assert found is not None
        assert found.size > 1000
    assert f"root=UUID={root.superblock().uuid}" in text


def test_the_real_u_boot_starts_the_real_kernel(card_image: Card) -> None:
    root = open_root(card_image.image)
    booted = boot(card_image.image)
    assert booted.started, booted.console
    assert booted.initrd == root.read_file("/initrd.img")
    assert booted.device_tree["/model"] == b"Hardkernel Odroid XU3\0"
    arguments = booted.device_tree["/chosen/bootargs"].decode()
    assert f"console=ttySAC2,115200n8 root=UUID={root.superblock().uuid} rw" in arguments
    link = root.read_file("/etc/systemd/network/10-bootwright.link").decode()
    (mac,) = re.findall(r"^MACAddress=(\S+)$", link, re.MULTILINE)
    given = [value for key, value in booted.device_tree.items() if "local-mac-address" in key]
    assert given == [bytes.fromhex(mac.replace(":", ""))]


def test_the_file_system_is_consistent_and_no_password_works(card_image: Card) -> None:
    partition = read_partitions(card_image.image)[0]
    run(["e2fsck", "-fn", f"{card_image.image}?offset={partition.offset}"])
    root = open_root(card_image.image)
    assert logins_with_password(root.read_file("/etc/shadow").decode()) == []
    keys = [entry.name for entry in root.list_dir("/etc/ssh") if entry.name.endswith("_key")]
    assert sorted(keys) == ["ssh_host_ecdsa_key", "ssh_host_ed25519_key"]


def test_capabilities_are_kept(card_image: Card) -> None:
    partition = read_partitions(card_image.image)[0]
    where = f"{card_image.image}?offset={partition.offset}"
    shown = run(["debugfs", "-R", "ea_get -x /usr/bin/ping security.capability", where]).text
    # cap_net_raw=ep, revision 2 (linux/capability.h).
    assert "01 00 00 02 00 20 00 00" in shown
