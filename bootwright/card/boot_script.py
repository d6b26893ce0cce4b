"""Setting the MAC address in the boot script that is part of a root file system. Pure."""

import re

from bootwright.core.errors import FailedError

BOOT_INI_MAX = 64 * 1024
"""Bytes of boot.ini that the vendor's U-Boot reads (hardkernel/u-boot, cmd/cfgload.c)."""

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
