"""Owners and permissions, as ``stat`` prints them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PathMode:
    """The owner and the permissions of a file or folder.

    Attributes:
        path: absolute.
        mode: the permission bits.
        owner: user and group by name, such as ``root:docker``.
        kind: as ``stat`` calls it, such as ``regular file``.
        numbers: user and group by number, such as ``0:998``.
    """

    path: str
    mode: int
    owner: str
    kind: str
    numbers: str = "0:0"


def parse_mode(line: str) -> PathMode:
    """Return what a line of ``stat -c '%a %U:%G %u:%g %F|%n'`` says.

    Raises:
        ValueError: it is no such line.
    """
    described, _, path = line.partition("|")
    bits, owner, numbers, kind = described.split(" ", 3)
    return PathMode(path, int(bits, 8), owner, kind, numbers)
