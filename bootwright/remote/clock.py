"""A board's clock against the clock of this machine: many boards have none that runs while they
are off, and then certificates and lists of packages seem not to be valid yet.
"""

from datetime import UTC, datetime

from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.shell import render
from bootwright.remote.sections import SECTIONS

TOLERANCE_S = 60.0
"""Seconds by which a board's clock may differ: nothing that we do depends on less."""

RTC = "/sys/class/rtc/rtc0/since_epoch"
"""The time of a board's hardware clock, in seconds since 1970; not there without one."""

SAVED = "/var/lib/systemd/timesync/clock"
"""The file by whose time of change systemd-timesyncd keeps the time over a restart."""


def clock_is_off(shown: float, before: float, after: float) -> bool:
    """Return whether a board's clock differs from this machine's by more than a minute.

    Args:
        shown: what the board reported, in seconds since 1970.
        before: this machine's time before the board was asked.
        after: the time when its answer was there.
    """
    return not before - TOLERANCE_S <= shown <= after + TOLERANCE_S


def clock_text(seconds: float) -> str:
    """Return a time for an operator, such as ``2026-11-30 17:45:00 UTC``."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (*PARSE_ERRORS, OSError):
        return f"{seconds:.0f} s after 1970"


def set_clock_script(seconds: float, *, unless_right: bool) -> str:
    """Return the script that sets a board's clock, and that of its next start, as root.

    Args:
        seconds: the time to set, since 1970.
        unless_right: leave a clock as it is that a time server keeps right.
    """
    return render(
        SECTIONS,
        "remote/shell/set_clock.sh",
        seconds=f"{seconds:.3f}",
        unless_right=unless_right,
        rtc_file=RTC,
        saved_file=SAVED,
    )
