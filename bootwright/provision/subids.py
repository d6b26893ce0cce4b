"""Subordinate ids for user namespaces: ``/etc/subuid`` and ``/etc/subgid``; subuid(5)."""

from collections.abc import Iterable

COUNT = 65536
"""Ids of a range: all that a container can name."""

FIRST = 165536
"""Where useradd's own first range ends, when there is none."""

REMAP_USER = "dockremap"
"""Whom ``userns-remap = "default"`` means; moby, ``daemon/daemon_unix.go``."""


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
