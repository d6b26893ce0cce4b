"""Reading card images made by sfdisk and mke2fs."""

import subprocess
from pathlib import Path

import pytest

from bootwright.card.block_device import UNFINISHED_MARK
from bootwright.core.errors import InputError
from bootwright.core.io.process import environment
from bootwright.core.units import MIB, SECTOR
from bootwright.emulator.io.card_image import open_root, read_card, read_partitions

pytestmark = pytest.mark.integration

FIRST = 8192
ROOT_UUID = "376529bf-944e-40f6-af56-e941128aaf4d"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYXGt1ajHadN8XR8BaqrQlqiAEEqhnEOe1HiFPj+NZq"


def tool(*argv: str | Path, stdin: str = "") -> None:
    subprocess.run(argv, input=stdin, text=True, check=True, env=environment())


def debian_tree(root: Path) -> None:
    modules = root / "usr/lib/modules/6.1.0-50-armmp-lpae"
    other = root / "usr/lib/modules/5.10.0-1-odroid"
    for directory in (modules, other, root / "boot", root / "etc/ssh"):
        directory.mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "vmlinuz").symlink_to("boot/vmlinuz-6.1.0-50-armmp-lpae")
    (root / "initrd.img").symlink_to("boot/initrd.img-6.1.0-50-armmp-lpae")
    (root / "boot/vmlinuz-6.1.0-50-armmp-lpae").write_bytes(b"kernel")
    (root / "boot/initrd.img-6.1.0-50-armmp-lpae").write_bytes(b"initrd")
    (modules / "modules.builtin").write_text("kernel/drivers/virtio/virtio_mmio.ko\n")
    (modules / "modules.dep").write_text("kernel/drivers/block/virtio_blk.ko:\n")
    (other / "modules.builtin").write_text("kernel/other.ko\n")
    (root / "etc/ssh/ssh_host_ed25519_key.pub").write_text(f"{KEY} root@board\n")
    (root / "etc/ssh/ssh_host_ed25519_key").write_text("private\n")


def arch_tree(root: Path) -> None:
    modules = root / "usr/lib/modules/4.14.180-3-ARCH"
    for directory in (modules, root / "boot"):
        directory.mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "boot/zImage").write_bytes(b"kernel")
    (root / "boot/initramfs-linux.img").write_bytes(b"initrd")
    (modules / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")


def make_card(tree: Path, image: Path) -> Path:
    with image.open("wb") as file:
        file.truncate(48 * MIB)
    table = f"label: dos\nstart={FIRST}, size=40960, type=83\nstart=49152, type=83\n"
    tool("sfdisk", "-q", image, stdin=table)
    extended = f"offset={FIRST * SECTOR}"
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-U", ROOT_UUID, "-d", tree, "-E", extended,
         image, "20M")  # fmt: skip
    return image


def test_a_debian_card(tmp_path: Path) -> None:
    debian_tree(tmp_path / "tree")
    image = make_card(tmp_path / "tree", tmp_path / "card1")
    first, second = read_partitions(image)
    assert (first.number, first.offset, first.size) == (1, FIRST * SECTOR, 20 * MIB)
    assert second.number == 2
    assert second.offset >= first.offset + first.size
    card = read_card(image)
    assert card.root_uuid == ROOT_UUID
    assert card.kernel == "/boot/vmlinuz-6.1.0-50-armmp-lpae"
    assert card.initrd == "/boot/initrd.img-6.1.0-50-armmp-lpae"
    # Only what belongs to that kernel.
    assert card.modules == {"virtio_mmio", "virtio_blk"}
    assert card.host_keys == (KEY,)
    assert open_root(image).read_file("/vmlinuz") == b"kernel"


def test_an_arch_card(tmp_path: Path) -> None:
    arch_tree(tmp_path / "tree")
    card = read_card(make_card(tmp_path / "tree", tmp_path / "card.img"))
    assert (card.kernel, card.initrd) == ("/boot/zImage", "/boot/initramfs-linux.img")
    assert card.modules == {"ext4"}
    assert card.host_keys == ()


def test_a_card_without_anything(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    card = read_card(make_card(tmp_path / "tree", tmp_path / "card.img"))
    assert (card.kernel, card.initrd, card.modules) == (None, None, frozenset())


def test_an_unfinished_card(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    image.write_bytes(UNFINISHED_MARK.ljust(SECTOR, b"\0") + bytes(MIB))
    with pytest.raises(InputError, match=r"unfinished.*flash it again"):
        read_card(image)


def test_files_that_are_not_a_card(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    with pytest.raises(InputError, match="No such file"):
        read_card(image)
    image.write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="too short"):
        read_card(image)
    image.write_bytes(bytes(8 * MIB))
    with pytest.raises(InputError, match="no DOS partition table"):
        read_card(image)
    tool("sfdisk", "-q", image, stdin="label: dos\n")
    with pytest.raises(InputError, match="partition table is empty"):
        read_card(image)
    tool("sfdisk", "-q", image, stdin="label: dos\nstart=4096, size=1024, type=83\n")
    with pytest.raises(InputError, match="partition 1 is not ext4"):
        read_card(image)
    tool("sfdisk", "-q", image, stdin="label: dos\n2: start=4096, size=1024, type=83\n")
    with pytest.raises(InputError, match="no partition 1"):
        read_card(image)
    tool("sfdisk", "-q", image, stdin="label: gpt\nstart=4096, size=1024\n")
    with pytest.raises(InputError, match="GPT"):
        read_card(image)
