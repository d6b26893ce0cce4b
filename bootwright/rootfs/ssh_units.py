"""What the units that start sshd add to its configuration: where a socket listens, and options.

Source: systemd.unit(5) for the folders and drop-ins, systemd.socket(5) for ``ListenStream``,
systemd.service(5) and systemd.exec(5) for the command line, sshd(8) for its options. Pure.
"""

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bootwright.rootfs.sshd_config import SSHD_CONFIG, host_and_port, is_loopback

UNIT_FOLDERS = (
    *("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"),
    "/lib/systemd/system",  # another folder than the one before where /usr is not merged
)
"""The folders of units on a disk; what is in an earlier one counts."""

ENVIRONMENT_FILES = (
    *("/etc/default/ssh", "/etc/default/sshd", "/etc/sysconfig/sshd", "/etc/conf.d/sshd"),
)
"""Files that distributions give to the unit for further options of sshd."""

_SETTING = re.compile(r"(\w+)\s*=\s*(.*)")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")

_WITH_ARGUMENT = "CEbcfghkopu"
"""The options of sshd(8) that have an argument."""


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
    return _values(files, unit, "[Socket]", "ListenStream")


def _values(files: Mapping[str, str], unit: str, section: str, name: str) -> list[str]:
    """Return the values of a setting that collects them."""
    values: list[str] = []
    for text in _texts(files, unit):
        at = ""
        for line in map(str.strip, text.replace("\\\n", " ").splitlines()):
            if line.startswith("["):
                at = line
            elif at == section and (match := _SETTING.fullmatch(line)) and match[1] == name:
                # An empty value removes those before it.
                values = [*values, match[2]] if match[2] else []
    return values


@dataclass(frozen=True)
class SshdOptions:
    """Options on the command line of sshd.

    Attributes:
        config: the lines of ``-o``, which count before those of sshd_config.
        ports: of ``-p``, which counts in place of ``Port`` in sshd_config.
        other_config: of ``-f``: the file that is read in place of sshd_config.
    """

    config: str = ""
    ports: tuple[int, ...] = ()
    other_config: str | None = None


def sshd_options(files: Mapping[str, str], unit: str) -> SshdOptions:
    """Return the options with which a service starts sshd.

    Args:
        files: the texts of units, of their drop-ins, and of :data:`ENVIRONMENT_FILES`, by path.
        unit: the name of the service.
    """
    config, ports, other_config = "", [], None
    words = _command_line(files, unit)
    for word in words:
        if not word.startswith("-") or len(word) < 2:
            continue
        # Options without an argument can stand before one that has one: -De, -Dp 22.
        at = next((n for n, letter in enumerate(word) if letter in _WITH_ARGUMENT), None)
        if at is None:
            continue
        value = word[at + 1 :] or next(words, "")
        match word[at]:
            case "o":
                config += f"{value}\n"
            case "p" if value.isascii() and value.isdigit():
                ports.append(int(value))
            case "f" if posixpath.normpath(value) != SSHD_CONFIG:
                other_config = value
    return SshdOptions(config, tuple(ports), other_config)


def _command_line(files: Mapping[str, str], unit: str) -> Iterator[str]:
    """Yield the words after the program in the last ``ExecStart`` of a service."""
    variables: dict[str, str] = {}
    for value in _values(files, unit, "[Service]", "Environment"):
        variables |= dict(word.split("=", 1) for word in _words(value) if "=" in word)
    for path in _values(files, unit, "[Service]", "EnvironmentFile"):
        for line in files.get(path.removeprefix("-"), "").splitlines():
            if match := _SETTING.fullmatch(line.strip()):
                variables[match[1]] = " ".join(_words(match[2]))
    for word in _words("".join(_values(files, unit, "[Service]", "ExecStart")[-1:]))[1:]:
        if variable := _VARIABLE.fullmatch(word):
            yield from _words(variables.get(variable[1], ""))
        else:
            yield word


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed
        return text.split()


def _texts(files: Mapping[str, str], unit: str) -> Iterator[str]:
    """Yield the unit, and then its drop-ins in the order of their names."""
    yield next((files[path] for at in UNIT_FOLDERS if (path := f"{at}/{unit}") in files), "")
    drop_ins: dict[str, str] = {}
    for folder in UNIT_FOLDERS:
        for path, text in files.items():
            if posixpath.dirname(path) == f"{folder}/{unit}.d" and path.endswith(".conf"):
                drop_ins.setdefault(posixpath.basename(path), text)
    yield from (drop_ins[name] for name in sorted(drop_ins))
