"""Cards as the board's own U-Boot boots them, in a model of the ODROID-XU3.

Debian's U-Boots come from the mirror of this machine's apt. The vendor's are not free to be shared:
they are tested if the environment variable BOOTWRIGHT_BLOBS names a folder that has them, such as
``sd_fuse`` of hardkernel/u-boot, or one with such folders in it.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bootwright.card.boot_script import uinitrd
from bootwright.card.execute import copy_sparse
from bootwright.core import paths
from bootwright.core.board import load_board
from bootwright.core.errors import BootwrightError
from bootwright.core.report import TextReporter
from bootwright.rootfs.debian_plan import AptSource, Recipe, other_sources
from bootwright.rootfs.io import debian
from bootwright.rootfs.source import Mmdebstrap, load_source
from tests.support.bench import Bench
from tests.support.debian_packages import package_files
from tests.support.exynos import Boot, boot
from tests.support.fdt import flattened
from tests.support.small_rootfs import small_rootfs

pytestmark = pytest.mark.integration

BOARD = load_board(paths.checkout() / "board", "odroid-xu3")
U_BOOT = "usr/lib/u-boot/odroid-xu3/u-boot.bin"
INITRD = os.urandom(1_234_567)


def zimage() -> bytes:
    """Return a file that U-Boot takes for a kernel: magic number, start and end."""
    size = 2_000_000
    words = (0x016F_2818, 0, size)
    head = bytes(0x24) + b"".join(word.to_bytes(4, "little") for word in words)
    return head.ljust(size, b"\xff")


def device_tree(model: str) -> bytes:
    cell = (1).to_bytes(4, "big")
    return flattened(
        {
            "#address-cells": cell,
            "#size-cells": cell,
            "model": model.encode() + b"\0",
            "aliases": {"ethernet": b"/ethernet\0"},
            "ethernet": {"local-mac-address": bytes(6)},
        }
    )


FILES = {
    "vmlinuz": zimage(),
    "initrd.img": INITRD,
    "boot/dtbs/exynos5422-odroidxu3.dtb": device_tree("xu3"),
    "boot/dtbs/exynos5422-odroidxu3-lite.dtb": device_tree("lite"),
    "boot/dtbs/exynos5422-odroidxu4.dtb": device_tree("xu4"),
}


@dataclass
class Card:
    """A finished card, and its manifest."""

    image: Path
    document: dict[str, Any]

    @property
    def arguments(self) -> bytes:
        """The kernel's arguments, as the device tree has them."""
        uuid = self.document["partitions"][0]["uuid"]
        text = f"console=tty1 console=ttySAC2,115200n8 root=UUID={uuid} rw rootwait\0"
        return text.encode()

    @property
    def mac(self) -> bytes:
        return bytes.fromhex(self.document["mac"].replace(":", ""))


def flashed(root: Path, files: dict[str, bytes]) -> Card:
    bench = Bench(root)
    tarball = small_rootfs(root / "own.tar", {**FILES, **files})
    return Card(bench.image, bench.flash(**{"rootfs-file": str(tarball)}))


def sources() -> tuple[AptSource, AptSource]:
    """Return where Debian's own packages and the board's U-Boot come from, on this machine."""
    source = load_source(paths.checkout(), "debian")
    assert isinstance(source, Mmdebstrap)
    recipe = Recipe.from_source(source, other_suites=BOARD.rootfs["debian"].other_suites)
    try:
        own = debian.apt_sources(recipe, TextReporter())
    except BootwrightError as error:
        pytest.skip(str(error))
    return own[0], other_sources(recipe, own)[0]


@pytest.fixture(scope="module")
def newer() -> bytes:
    """The U-Boot that a Debian card gets."""
    (name,) = BOARD.rootfs["debian"].other_suites[0].packages
    return (package_files(name, sources()[1]) / U_BOOT).read_bytes()


@pytest.fixture(scope="module")
def card(newer: bytes, tmp_path_factory: pytest.TempPathFactory) -> Card:
    return flashed(tmp_path_factory.mktemp("card"), {U_BOOT: newer})


@pytest.mark.parametrize(
    ("board", "model"),
    [
        ("odroid-xu3", b"xu3\0"),
        ("odroid-xu3-lite", b"lite\0"),
        ("odroid-xu4", b"xu4\0"),
        # Its device tree is not on the card.
        ("odroid-hc1", b"xu3\0"),
    ],
)
def test_debians_u_boot_starts_the_kernel(card: Card, board: str, model: bytes) -> None:
    booted = boot(card.image, board=board)
    assert booted.started, booted.console
    assert booted.resets == 0
    assert booted.device_tree["/model"] == model
    assert booted.device_tree["/chosen/bootargs"] == card.arguments
    assert booted.device_tree["/ethernet/local-mac-address"] == card.mac
    assert booted.initrd == INITRD


def test_debians_u_boot_accepts_the_ram_disk_for_the_vendors(newer: bytes, tmp_path: Path) -> None:
    # It can do both, and reads the header as the vendor's does.
    script = (
        "load mmc 2:1 0x42000000 /vmlinuz\nload mmc 2:1 0x43000000"
        " /boot/dtbs/exynos5422-odroidxu3.dtb\nload mmc 2:1 0x44000000 /boot/uInitrd\n"
        "bootz 0x42000000 0x44000000 0x43000000\n"
    )
    card = flashed(
        tmp_path,
        {U_BOOT: newer, "boot/boot.txt": script.encode(), "boot/uInitrd": uinitrd(INITRD)},
    )
    booted = boot(card.image)
    assert "Image Name:   bootwright" in booted.console
    assert booted.initrd == INITRD


def test_debian_12s_u_boot_resets_for_ever_and_is_refused(card: Card, tmp_path: Path) -> None:
    u_boot = package_files("u-boot-exynos", sources()[0]) / U_BOOT
    image = tmp_path / "old.img"
    copy_sparse(card.image, image)
    with image.open("r+b") as file:
        file.seek(BOARD.layouts["1m"].blobs[2].sector * 512)
        file.write(u_boot.read_bytes())
    booted = boot(image, most_resets=3)
    assert (booted.resets, booted.started) == (3, False)
    assert booted.console.count("Cannot init cros-ec device") == 3

    bench = Bench(tmp_path)
    done = bench.inv("--blobs", str(u_boot.parent))
    assert done.returncode == 3, done.stderr
    assert "Cannot init cros-ec device" in done.stderr
    assert not bench.image.exists()


def vendor_blobs(layout: str) -> Path:
    """Return the folder with the vendor's blobs for a layout."""
    given = os.environ.get("BOOTWRIGHT_BLOBS")
    if not given:
        pytest.skip("BOOTWRIGHT_BLOBS is not set: the vendor's U-Boot is not tested")
    u_boot = BOARD.layouts[layout].blobs[2]
    known = {item.sha256 for item in u_boot.known}
    for name in u_boot.files:
        for file in Path(given).rglob(name):
            if hashlib.sha256(file.read_bytes()).hexdigest() in known:
                return file.parent
    pytest.skip(f"BOOTWRIGHT_BLOBS has no known U-Boot for layout {layout}")


@pytest.mark.parametrize("layout", ["328k", "720k"])
def test_the_vendors_u_boot_starts_the_kernel(layout: str, tmp_path: Path) -> None:
    blobs = vendor_blobs(layout)
    bench = Bench(tmp_path)
    bench.own_checkout(f'[targets.odroid]\nboard = "odroid-xu3"\nlayout = "{layout}"\n')
    tarball = small_rootfs(tmp_path / "own.tar", FILES)
    document = bench.flash("--blobs", str(blobs), **{"rootfs-file": str(tarball)})
    assert all(blob["known"] for blob in document["boot_blobs"])
    assert document["bootable_on_board"] is True
    booted: Boot = boot(bench.image)
    assert booted.started, booted.console
    assert booted.device_tree["/model"] == b"xu3\0"
    assert booted.device_tree["/chosen/bootargs"] == Card(bench.image, document).arguments
    assert booted.initrd == INITRD
