"""Where systemd listens for sshd, if a socket unit starts it: sshd's own Port does not count then.

Source: systemd.unit(5) for the folders and drop-ins, systemd.socket(5) for ``ListenStream``. Pure.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping

from bootwright.rootfs.sshd_config import host_and_port, is_loopback

UNIT_FOLDERS = (
    *("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"),
    "/lib/systemd/system",  # another folder than the one before where /usr is not merged
)
"""The folders of units on a disk; what is in an earlier one counts."""

_LISTEN = re.compile(r"ListenStream\s*=\s*(.*)")


def socket_ports(files: Mapping[str, str], unit: str) -> tuple[int, ...]:
    """Return the TCP ports that a socket unit listens on for other machines.

    Args:
        files: the texts of units and of their drop-ins, by path.
        unit: the name of the socket unit.
    """
    found: list[int] = []
    for value in _listen_values(files, unit):
        if value.isascii() and value.isdigit():
            found.append(int(value))
        elif not value.startswith(("/", "@", "vsock:")):
            host, port = host_and_port(value)
            if port and not is_loopback(host):
                found.append(port)
    return tuple(dict.fromkeys(found))


def has_socket(files: Mapping[str, str], unit: str) -> bool:
    """Return whether a unit is a socket, and the texts contain it, not only a drop-in."""
    return unit.endswith(".socket") and any(f"{folder}/{unit}" in files for folder in UNIT_FOLDERS)


def _listen_values(files: Mapping[str, str], unit: str) -> list[str]:
    values: list[str] = []
    for text in _texts(files, unit):
        section = ""
        for line in map(str.strip, text.splitlines()):
            if line.startswith("["):
                section = line
            elif section == "[Socket]" and (match := _LISTEN.fullmatch(line)):
                # An empty value removes those before it.
                values = [*values, match[1]] if match[1] else []
    return values


def _texts(files: Mapping[str, str], unit: str) -> Iterator[str]:
    """Yield the unit, and then its drop-ins in the order of their names."""
    yield next((files[path] for at in UNIT_FOLDERS if (path := f"{at}/{unit}") in files), "")
    drop_ins: dict[str, str] = {}
    for folder in UNIT_FOLDERS:
        for path, text in files.items():
            if posixpath.dirname(path) == f"{folder}/{unit}.d" and path.endswith(".conf"):
                drop_ins.setdefault(posixpath.basename(path), text)
    yield from (drop_ins[name] for name in sorted(drop_ins))
