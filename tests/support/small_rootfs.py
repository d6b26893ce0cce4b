"""Root file systems of a few files: enough for a card to be made, not to be booted.

One is laid out as Debian's, one as Arch Linux ARM's tarball for the ODROID-XU3.
"""

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

U_BOOT = os.urandom(300_000)
"""Stands at the place of Debian's u-boot.bin."""

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""``cap_net_raw=ep`` as the kernel stores it (linux/capability.h, revision 2)."""

_KERNEL = "lib/modules/6.1.0-test"
_FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\nalarm:x:1000:1000::/home/alarm:/bin/sh\n",
    "etc/shadow": b"root:$y$j9T$secret:1::::::\nalarm:$6$secret:1::::::\n",
    "etc/group": b"root:x:0:\nshadow:x:42:\nalarm:x:1000:\n",
    "etc/os-release": b'PRETTY_NAME="Small"\n',
    "etc/ssh/sshd_config": b"PermitRootLogin yes\n",
    "etc/ssh/ssh_host_rsa_key": b"shared by every card\n",
    f"{_KERNEL}/modules.builtin": b"kernel/fs/ext4/ext4.ko\n",
    f"{_KERNEL}/modules.dep": b"kernel/drivers/md/dm-crypt.ko:\nkernel/crypto/adiantum.ko:\n",
    "usr/lib/systemd/systemd": b"",
    "usr/lib/systemd/systemd-cryptsetup": b"",
    "usr/lib/systemd/systemd-makefs": b"",
    "usr/lib/systemd/systemd-networkd": b"",
    "usr/sbin/sshd": b"",
    "usr/sbin/mkfs.ext4": b"",
    "bin/bash": b"",
    "bin/sh": b"",
    "usr/lib/systemd/system/ssh.service": b"[Service]\nExecStart=/usr/sbin/sshd -D\n",
    "usr/share/zoneinfo/UTC": b"TZif2",
    "usr/lib/u-boot/odroid-xu3/u-boot.bin": U_BOOT,
    "vmlinuz": os.urandom(3_000_000),
    "initrd.img": os.urandom(1_000_000),
    "boot/dtbs/exynos5422-odroidxu3.dtb": os.urandom(60_000),
    "boot/dtbs/exynos5422-odroidxu4.dtb": os.urandom(60_000),
}


ARCH_BLOBS = {
    "boot/bl1.bin": os.urandom(15360),
    "boot/bl2.bin": os.urandom(14592),
    "boot/u-boot.bin": os.urandom(400_000),
    "boot/tzsw.bin": os.urandom(262_144),
}
"""The names since 2016.07; the contents are the vendor's, so the tests make their own."""

BOOT_TXT = (
    b"# After modifying, run ./mkscr\n\n# MAC address configuration\n"
    b'# setenv macaddr "00:1e:ee:61:7a:39"\n\npart uuid ${devtype} ${devnum}:${bootpart} uuid\n'
)


def small_rootfs(path: Path, files: Mapping[str, bytes] = MappingProxyType({})) -> Path:
    """Write a tarball laid out as Debian's to ``path`` and return it.

    Args:
        path: the tarball.
        files: further files, or others in place of the usual ones.
    """
    return _write(path, "w", {**_FILES, **files})


def small_archlinuxarm(path: Path) -> Path:
    """Write a gzipped tarball laid out as Arch Linux ARM's to ``path`` and return it."""
    debian_only = ("usr/lib/u-boot/odroid-xu3/u-boot.bin", "vmlinuz", "initrd.img")
    files = {name: content for name, content in _FILES.items() if name not in debian_only}
    files |= {**ARCH_BLOBS, "boot/boot.txt": BOOT_TXT, "boot/zImage": os.urandom(2_000_000)}
    return _write(path, "w:gz", files)


def _write(path: Path, mode: Literal["w", "w:gz"], files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:
        folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
        for name in sorted(
            {*folders, "root", "dev", "home", "home/alarm", "mnt", "var", "var/lib"}
        ):
            info = tarfile.TarInfo(f"./{name}")
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            is_program = Path(name).parent.name in ("bin", "sbin")
            info.size, info.mode = len(content), 0o755 if is_program else 0o644
            tar.addfile(info, io.BytesIO(content))
        ping = tarfile.TarInfo("./usr/bin-ping")
        ping.mode = 0o755
        ping.pax_headers = {
            "SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")
        }
        tar.addfile(ping)
    return path
