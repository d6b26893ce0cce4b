"""A root file system of a few files: enough for a card to be made, not to be booted."""

import io
import os
import tarfile
from pathlib import Path

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
    "usr/share/zoneinfo/UTC": b"TZif2",
    "usr/lib/u-boot/odroid-xu3/u-boot.bin": U_BOOT,
    "boot/vmlinuz": os.urandom(3_000_000),
}


def small_rootfs(path: Path) -> Path:
    """Write the tarball to ``path`` and return it."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        folders = {str(parent) for name in _FILES for parent in Path(name).parents} - {"."}
        for name in sorted(
            {*folders, "root", "dev", "home", "home/alarm", "mnt", "var", "var/lib"}
        ):
            info = tarfile.TarInfo(f"./{name}")
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name, content in _FILES.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
        ping = tarfile.TarInfo("./usr/bin-ping")
        ping.mode = 0o755
        ping.pax_headers = {
            "SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")
        }
        tar.addfile(ping)
    return path
