"""Subordinate ids for user namespaces: ``/etc/subuid`` and ``/etc/subgid``; subuid(5)."""

from collections.abc import Iterable

SUBUID, SUBGID = "/etc/subuid", "/etc/subgid"

COUNT = 65536
"""Ids of a range: as many as a container can use, 0 to 65535."""

FIRST = 165536
"""The first id of a range if there is no other: after the first range that useradd gives."""

REMAP_USER = "dockremap"
"""The account for ``userns-remap = "default"``; moby, ``daemon/daemon_unix.go``."""


def with_range(text: str, user: str) -> str:
    """Return the file with a range for ``user``; the same text if it has one.

    The new range begins after all others, at a multiple of :data:`COUNT`.
    """
    ranges = list(_ranges(text))
    if any(name == user and count >= COUNT for name, _, count in ranges):
        return text
    end = max((start + count for _, start, count in ranges), default=0)
    start = max(FIRST, -(-end // COUNT) * COUNT)
    before = text if not text or text.endswith("\n") else f"{text}\n"
    return f"{before}{user}:{start}:{COUNT}\n"


def _ranges(text: str) -> Iterable[tuple[str, int, int]]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 3 and fields[1].isdecimal() and fields[2].isdecimal():
            yield fields[0], int(fields[1]), int(fields[2])
