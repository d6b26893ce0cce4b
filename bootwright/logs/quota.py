"""How much disk space each board's logs may use. Pure: sizes are parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

from bootwright.core.units import format_size

MAX_RESERVE_BYTES = 1 << 30
"""The most bytes of the reserve."""

_RESERVE_PARTS = 20
"""The reserve is this part of the file system: 1/20, 5 %."""


_NEARLY_FULL = "the disk was nearly full, and they used more than an equal share"


@dataclass(frozen=True)
class Disk:
    """The size of a file system, and the bytes that the collector may still write to it."""

    total: int
    free: int

    @property
    def reserve(self) -> int:
        """The bytes that no board may use: 5 % of the file system, at most 1 GiB."""
        return min(MAX_RESERVE_BYTES, self.total // _RESERVE_PARTS)

    @property
    def scarce(self) -> bool:
        """Whether only boards that use less than their share may write: twice the reserve."""
        return self.free < 2 * self.reserve


@dataclass(frozen=True)
class Excess:
    """What has to be removed before a board may write.

    Attributes:
        boards: the oldest days of these boards are removed, of the first one first.
        bytes: how many bytes have to be removed.
        refusal: why the board is refused if there are not enough old days.
        removal: why old days were removed.
    """

    boards: tuple[str, ...]
    bytes: int
    refusal: str
    removal: str


def excess_of_board(used: int, size: int, keep_bytes: int, board: str) -> Excess | None:
    """Return what a board's quota requires; ``None`` if nothing.

    Args:
        used: the bytes of the board's logs.
        size: the bytes that it wants to write.
        keep_bytes: its quota.
        board: its name.
    """
    if used + size <= keep_bytes:
        return None
    quota = f"keep_bytes ({format_size(keep_bytes)})"
    refusal, removal = f"its logs of one day need more than {quota}", f"they had reached {quota}"
    return Excess((board,), used + size - keep_bytes, refusal, removal)


def excess_of_disk(used: Mapping[str, int], size: int, disk: Disk, board: str) -> Excess | None:
    """Return what the reserve requires; ``None`` if nothing.

    A board's share is an equal part of what all logs may use. When the disk is nearly full, a board
    over its share has to remove its own oldest days. A board within its share goes on until only
    the reserve is left; then the boards over their share have to remove theirs.

    Never more has to be removed than is written: if another program fills the disk, it would fill
    that space too, and the history would be lost for nothing.

    Args:
        used: the bytes of each board's logs.
        size: the bytes that the board wants to write.
        disk: the file system of the logs.
        board: the board's name.
    """
    after = Disk(disk.total, disk.free - size)
    if not after.scarce:
        return None
    share = _share(used, disk)
    if used.get(board, 0) + size > share:
        refusal = (
            f"less than {format_size(2 * disk.reserve)} of the disk is free, and its logs use more"
            " than an equal share"
        )
        needed = min(size, 2 * disk.reserve - after.free)
        return Excess((board,), needed, refusal, _NEARLY_FULL)
    if after.free >= disk.reserve:
        return None
    over = sorted((name for name in used if used[name] > share), key=lambda name: -used[name])
    refusal = f"only the reserve of {format_size(disk.reserve)} of the disk is free"
    needed = min(size, disk.reserve - after.free)
    return Excess(tuple(over), needed, refusal, _NEARLY_FULL)


def stopped_senders(used: Mapping[str, int], keep_bytes: int, disk: Disk) -> dict[str, str]:
    """Return the boards of which syslog-ng may store nothing more, each with the reason.

    syslog-ng cannot ask before it writes, so they are stopped when the limit is passed.

    Args:
        used: the bytes of each board's logs.
        keep_bytes: the quota of each board.
        disk: the file system of the logs.
    """
    share = _share(used, disk)
    found = {}
    for board, size in used.items():
        if size > keep_bytes:
            quota = f"keep_bytes ({format_size(keep_bytes)})"
            found[board] = f"its logs of one day need more than {quota}"
        elif disk.free < disk.reserve and size > share:
            found[board] = (
                f"only the reserve of {format_size(disk.reserve)} of the disk is free, and its logs"
                " use more than an equal share"
            )
    return found


def _share(used: Mapping[str, int], disk: Disk) -> int:
    """Return a board's share: an equal part of what all logs may use."""
    return (sum(used.values()) + max(0, disk.free - disk.reserve)) // max(1, len(used))
