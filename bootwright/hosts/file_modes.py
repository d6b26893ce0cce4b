"""Owners and permissions, as ``stat`` prints them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PathMode:
    """The owner and the permissions of a file or folder; ``numbers`` are the owner's."""

    path: str
    mode: int
    owner: str
    kind: str
    numbers: str = "0:0"


def parse_mode(line: str) -> PathMode:
    """Return a line of ``stat -c '%a %U:%G %u:%g %F|%n'``.

    Raises:
        ValueError: it is none.
    """
    described, _, path = line.partition("|")
    bits, owner, numbers, kind = described.split(" ", 3)
    return PathMode(path, int(bits, 8), owner, kind, numbers)
