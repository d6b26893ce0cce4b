"""The Debian root file system that a card gets: what is in it."""

import hashlib
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.core import paths
from bootwright.core.board import Board, load_board
from bootwright.core.errors import BootwrightError
from bootwright.rootfs.debian_plan import EMULATOR_MODULES, KEYRING
from bootwright.rootfs.io import debian
from tests.support.debian_recipe import recipe_for
from tests.support.reporter import Notes

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def board() -> Board:
    return load_board(paths.checkout() / "board", "odroid-xu3")


class Tree:
    """The entries of a tarball by path, without the leading ``./``."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.entries = {member.name.removeprefix("./"): member for member in tar}

    def read(self, path: str) -> bytes:
        file = self._tar.extractfile(self.entries[path])
        assert file is not None
        return file.read()

    def lines(self, path: str) -> list[str]:
        return self.read(path).decode().splitlines()

    def matching(self, pattern: str) -> list[str]:
        return [path for path in self.entries if re.fullmatch(pattern, path)]

    def only(self, pattern: str) -> str:
        (path,) = self.matching(pattern)
        return path


@pytest.fixture(scope="module")
def tree(board: Board) -> Iterator[Tree]:
    listener = Notes()
    if shutil.which("mmdebstrap") is None or not Path(KEYRING).is_file():
        pytest.fail("mmdebstrap and Debian's keys are not installed: run scripts/setup test")
    try:
        tarball = debian.build(recipe_for(board), paths.cache_dir() / "debian", listener)
    except BootwrightError as error:
        if "cannot run ARM programs" in str(error) or "needs root" in str(error):
            pytest.skip(str(error))
        raise
    with tarfile.open(tarball) as tar:
        yield Tree(tar)


def initrd_names(packed: bytes) -> set[str]:
    """Return the names in a cpio archive of kind "newc", packed by zstd."""
    data = subprocess.run(["zstd", "-dc"], input=packed, stdout=subprocess.PIPE, check=True).stdout
    names, at = set(), 0
    while data[at : at + 6] == b"070701":
        size = int(data[at + 54 : at + 62], 16)
        name_size = int(data[at + 94 : at + 102], 16)
        names.add(data[at + 110 : at + 110 + name_size - 1].decode())
        # Header with name, and content, are each padded to four bytes.
        at = (at + 110 + name_size + 3) // 4 * 4
        at = (at + size + 3) // 4 * 4
    return names


def test_kernel_and_initrd_are_where_rootfs_toml_says(tree: Tree) -> None:
    kernel = tree.entries["vmlinuz"].linkname
    # The magic number of an ARM zImage.
    assert tree.read(kernel)[0x24:0x28] == bytes.fromhex("18286f01")
    initrd = tree.entries["initrd.img"].linkname
    assert kernel.partition("vmlinuz-")[2] == initrd.partition("initrd.img-")[2]
    assert 1_000_000 < tree.entries[initrd].size < 12_000_000


def test_initrd_finds_the_root_on_board_and_emulator(tree: Tree, board: Board) -> None:
    names = initrd_names(tree.read(tree.entries["initrd.img"].linkname))
    built_in = tree.read(tree.only(r"usr/lib/modules/[^/]+/modules\.builtin")).decode()

    def stem(path: str) -> str:
        return Path(path).stem.replace("-", "_")

    inside = {stem(name) for name in names if name.endswith(".ko")}
    assert {"virtio_blk", "virtio_mmio", "ext4", "jbd2", "dw_mmc", "dw_mmc_exynos"} <= inside
    there = inside | {stem(line) for line in built_in.splitlines()}
    assert {*EMULATOR_MODULES, *board.initramfs_modules} <= there
    assert {"init", "usr/bin/udevadm"} <= names


def test_programs_and_modules_that_a_card_needs(tree: Tree) -> None:
    for path in (
        "usr/sbin/cryptsetup",
        "usr/sbin/sshd",
        "usr/bin/sudo",
        "usr/bin/ip",
        "usr/lib/systemd/systemd-makefs",
        "usr/lib/systemd/systemd-networkd",
        "usr/lib/systemd/systemd-resolved",
        "usr/lib/systemd/systemd-timesyncd",
        "usr/share/zoneinfo/Europe/Berlin",
    ):
        assert path in tree.entries, path
    for module in ("adiantum", "nhpoly1305", "dm-crypt", "overlay", "smsc95xx"):
        assert tree.matching(rf"usr/lib/modules/[^/]+/.*/{module}\.ko"), module


def test_boot_loader_and_device_trees(tree: Tree, board: Board) -> None:
    u_boot = tree.read("usr/lib/u-boot/odroid-xu3/u-boot.bin")
    blob = board.layouts["1m"].blobs[2]
    assert hashlib.sha256(u_boot).hexdigest() not in {bad.sha256 for bad in blob.bad}
    assert b"U-Boot 2025.01" in u_boot
    for name in board.device_trees:
        assert tree.read(f"boot/dtbs/{name}")[:4] == bytes.fromhex("d00dfeed")
    assert tree.entries["etc/kernel/postinst.d/bootwright-device-trees"].mode & 0o111


def test_no_secret_and_no_name_is_shared_between_cards(tree: Tree) -> None:
    assert tree.matching(r"etc/ssh/ssh_host_.*") == []
    assert tree.entries["etc/machine-id"].size == 0
    assert tree.matching(r"etc/hostname|var/lib/dbus/machine-id") == []
    assert tree.matching(r"var/lib/systemd/(random-seed|credential\.secret)") == []
    for line in tree.lines("etc/shadow"):
        assert line.split(":")[1] in ("*", "!", "!*"), line
    assert tree.lines("etc/shadow")[0].startswith("root:*:")
    assert [line for line in tree.lines("etc/passwd") if line.split(":")[2] == "0"] == [
        "root:x:0:0:root:/root:/bin/bash"
    ]


def test_every_package_is_installed_and_configured(tree: Tree, board: Board) -> None:
    stanzas = tree.read("var/lib/dpkg/status").decode().strip().split("\n\n")
    state, versions = {}, {}
    for stanza in stanzas:
        fields = dict(re.findall(r"^(\S+): (.*)$", stanza, re.MULTILINE))
        state[fields["Package"]] = (fields["Status"], fields["Architecture"])
        versions[fields["Package"]] = fields["Version"]
    assert {status for status, _ in state.values()} == {"install ok installed"}
    assert {architecture for _, architecture in state.values()} == {"armhf", "all"}
    recipe = recipe_for(board)
    others = {name for other in recipe.other_suites for name in other.packages}
    assert {*recipe.packages, *others, "apt", "usr-is-merged"} <= set(state)
    # Nothing else came from the other suites: versions of Debian 13 contain "deb13".
    assert {name for name, version in versions.items() if "deb13" in version} == others
    assert not {"usrmerge", "docker.io"} & set(state)
    assert tree.matching(r".*\.dpkg-(new|old|tmp)") == []
    assert tree.read("var/lib/dpkg/triggers/Unincorp") == b""


def test_attributes_modes_and_owners_survive(tree: Tree) -> None:
    ping = tree.entries["usr/bin/ping"]
    assert "SCHILY.xattr.security.capability" in ping.pax_headers
    assert tree.entries["usr/bin/sudo"].mode == 0o4755
    assert tree.entries["tmp"].mode == 0o1777
    assert tree.entries["root"].mode == 0o700
    groups = {line.split(":")[0]: int(line.split(":")[2]) for line in tree.lines("etc/group")}
    assert tree.entries["etc/shadow"].gid == groups["shadow"]
    assert tree.entries["usr/bin/ssh-agent"].gid == groups["_ssh"]
    assert max(max(entry.uid, entry.gid) for entry in tree.entries.values()) < 1000
    for name in ("bin", "sbin", "lib"):
        assert tree.entries[name].linkname == f"usr/{name}"


def test_certificate_authorities(tree: Tree) -> None:
    bundle = tree.read("etc/ssl/certs/ca-certificates.crt").decode()
    links = tree.matching(r"etc/ssl/certs/.*\.pem")
    assert bundle.count("BEGIN CERTIFICATE") == len(links) > 100
    for path in links:
        target = tree.entries[path].linkname
        assert target.startswith("/usr/share/ca-certificates/mozilla/")
        assert target.removeprefix("/") in tree.entries
    # openssl looks an authority up by the hash of its name.
    assert len(tree.matching(r"etc/ssl/certs/[0-9a-f]{8}\.\d")) >= len(links)


def test_apt_works_on_the_board(tree: Tree) -> None:
    sources = [line for line in tree.lines("etc/apt/sources.list") if line]
    assert sources[0].split()[3] == "bookworm"
    assert any("bookworm-security" in line for line in sources)
    assert all(f"[signed-by={KEYRING}]" in line for line in sources)
    assert not any("trixie" in line or "contrib" in line for line in sources)
    assert tree.matching(r"etc/apt/(sources\.list|preferences)\.d/.*") == []
    assert KEYRING.removeprefix("/") in tree.entries
    # Recommended packages are the board's default again.
    assert tree.matching(r"etc/apt/apt\.conf\.d/.*(mmdebstrap|bootwright)") == []


def test_no_files_of_the_build_are_left(tree: Tree) -> None:
    assert tree.matching(r"var/cache/apt/archives/.*\.deb|var/lib/apt/lists/.*_.*") == []
    assert tree.matching(r"(run/bootwright|tmp/.+|usr/sbin/policy-rc\.d).*") == []
    assert [path for path in tree.entries if "mmdebstrap." in path] == []
    links = [entry.linkname for entry in tree.entries.values() if entry.issym()]
    assert [link for link in links if "mmdebstrap" in link] == []
    # The tools that were replaced during the build are the real ones again.
    for path in ("update-initramfs", "update-ca-certificates"):
        assert tree.entries[f"usr/sbin/{path}"].size > 1000
    assert tree.entries["usr/bin/dpkg-maintscript-helper"].size > 1000


def test_it_is_small(tree: Tree) -> None:
    documents = tree.matching(r"usr/share/(doc|man|info)/.+(?<!/copyright)")
    kept = [path for path in documents if tree.entries[path].isfile()]
    # Files that maintainer scripts write are kept.
    assert [path for path in kept if path != "usr/share/info/dir"] == []
    assert sum(entry.size for entry in tree.entries.values()) < 320 * 1024 * 1024
