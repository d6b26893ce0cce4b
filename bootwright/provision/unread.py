"""Whether a file was changed after a service has read it, on a board whose clock may have been set
in between.

systemd reports by a clock that is never set when a service was started
(``ActiveEnterTimestampMonotonic``), and when it was started or reloaded last
(``StateChangeTimestampMonotonic``). The time of a file is by the clock that is: what it was at that
moment, the service's own pid file tells.
"""

from collections.abc import Iterable, Mapping

from bootwright.hosts.systemd_units import HostUnit


def changed_since_read(
    changed: Iterable[int], read_at: int | None, since_read: float, now: int
) -> bool:
    """Return whether one of a service's files was changed since the service has read them.

    A file that seems to be older than the reading, by the clock before or after a step, is taken
    for one that was read. So is one of the future.

    Args:
        changed: when each file was changed, in seconds since 1970 by the board's clock.
        read_at: when the service's pid file was written, by the same clock; ``None`` if there is
            none.
        since_read: seconds since the service has read its files.
        now: the board's time.
    """
    if read_at is None:
        # A file's time has no fraction.
        return any(now - since_read + 2 < time <= now for time in changed)
    # By a clock that was not set since then, or before it was set.
    with_that_clock = any(read_at < time <= read_at + since_read for time in changed)
    # A clock that was set forward: nothing that was read can have a time of the last while. One
    # that was set back shows such times for files that were written shortly before.
    forward = now - since_read > read_at + 2
    return with_that_clock or (forward and any(now - since_read < time <= now for time in changed))


def parse_times(lines: Iterable[str]) -> dict[str, int]:
    """Return when files were changed, in seconds since 1970, of lines ``SECONDS PATH``."""
    rows = (line.partition(" ") for line in lines)
    return {path: int(seconds) for seconds, _, path in rows if seconds.isdecimal()}


def since_change(units: Mapping[str, HostUnit], names: Iterable[str], uptime: str) -> float | None:
    """Return for how many seconds a service has been as it is: since its last start or reload.

    Args:
        units: by name.
        names: of the service, which may have one of several.
        uptime: of the board, as ``/proc/uptime`` has it.

    Returns:
        ``None`` if the service does not run, or if that is not known.
    """
    unit = _running(units, names)
    return None if unit is None else _since(unit.changed_s, uptime)


def since_start(units: Mapping[str, HostUnit], names: Iterable[str], uptime: str) -> float | None:
    """Return for how many seconds a service has run, as :func:`since_change` does.

    It is for a service that reads some of its settings only at its start, and writes its pid file
    only then.
    """
    unit = _running(units, names)
    return None if unit is None else _since(unit.started_s, uptime)


def _running(units: Mapping[str, HostUnit], names: Iterable[str]) -> HostUnit | None:
    running = (unit for name in names if (unit := units.get(name)) and unit.active == "active")
    return next(running, None)


def _since(moment_s: float, uptime: str) -> float | None:
    return float(uptime.split()[0]) - moment_s if uptime.split() and moment_s else None
