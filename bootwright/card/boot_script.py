"""The boot script that is part of a root file system, and the initial RAM disk for it. Pure."""

import re
import struct
import zlib

from bootwright.core.errors import FailedError

BOOT_INI_MAX = 64 * 1024
"""Bytes of boot.ini that the vendor's U-Boot reads (hardkernel/u-boot, cmd/cfgload.c)."""

UINITRD = "/boot/uInitrd"
"""The initial RAM disk with U-Boot's header; :func:`uinitrd` makes its content."""

INITRD_MAX = 0x4400_0000 - 0x4200_0000 - 64
"""Bytes of an initial RAM disk between the two addresses in ``templates/boot/boot.ini.j2``."""

_SETENV_MAC = re.compile(r"^[ \t]*#?[ \t]*setenv[ \t]+macaddr\b.*$", re.MULTILINE)


def with_mac(script: str, mac: str) -> str:
    """Return ``script`` with one ``setenv macaddr``, set to ``mac``.

    The first such line, commented out or not, is replaced; further ones become a comment.
    Without such a line, the new one is the second line of the script: the first line of boot.ini
    has to be the word by which U-Boot recognises it.
    """
    line = f'setenv macaddr "{mac}"'
    first = _SETENV_MAC.search(script)
    if first is None:
        head, newline, rest = script.partition("\n")
        return f"{head}{newline or chr(10)}{line}\n{rest}"
    tail = _SETENV_MAC.sub("# (one macaddr is set above)", script[first.end() :])
    return script[: first.start()] + line + tail


def check_boot_ini(script: str) -> str:
    """Return ``script`` unchanged if the vendor's U-Boot accepts it.

    Raises:
        FailedError: its first line is not the one that U-Boot requires, or it is too long.
    """
    if not script.startswith("ODROIDXU-UBOOT-CONFIG"):
        raise FailedError("boot.ini does not start with ODROIDXU-UBOOT-CONFIG")
    if len(script.encode()) > BOOT_INI_MAX:
        raise FailedError(f"boot.ini is longer than the {BOOT_INI_MAX} bytes that U-Boot reads")
    return script


def uinitrd(initrd: bytes) -> bytes:
    """Return an initial RAM disk with the header by which the vendor's U-Boot recognises it.

    The header has 64 bytes (U-Boot, include/image.h). It is the one that ``mkimage -A arm -O linux
    -T ramdisk -C none -n bootwright`` writes, with the time 0.
    """
    fields = (0, len(initrd), 0, 0, zlib.crc32(initrd), 5, 2, 3, 0, b"bootwright")
    magic = 0x27051956
    header = struct.pack(_HEADER, magic, 0, *fields)
    return struct.pack(_HEADER, magic, zlib.crc32(header), *fields) + initrd


_HEADER = ">7I4B32s"
"""Magic number, checksum of the header (computed with 0 here), time, length, load address, entry
point, checksum of the content; numbers of the system (5: Linux), the architecture (2: ARM), the
type (3: RAM disk) and the compression (0: none); the name."""
