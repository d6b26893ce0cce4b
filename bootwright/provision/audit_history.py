"""How long auditd's files reach back: its limits, raised for what health checks add.

Source: auditd.conf(5) on ``max_log_file`` (MiB), ``num_logs`` and ``max_log_file_action``.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from bootwright.core.file_changes import FileChange
from bootwright.hosts.profile import AuditHistory
from bootwright.provision.facts import HostFacts

AUDITD_CONF = "/etc/audit/auditd.conf"

_FILES = 10
"""Files that auditd writes in turn: the oldest one is removed whole, a tenth of the history."""

_LARGEST = 1024
"""The MiB of a file at most: on Debian 12 an auditd with 32 bits cannot write more than 2047."""

_FOLDER = "/var/log/audit/"
"""Where the free space is asked for."""

_HEADROOM = 1.25
"""How much more than needed is asked for, so that one container more is no reason for a change."""

_DAY_S = 86400


@dataclass(frozen=True)
class _Limits:
    """What auditd.conf says: the size of a file in MiB, how many, and what happens at their end."""

    size: int
    files: int
    action: str

    @property
    def kept(self) -> int:
        """The MiB of records that are there at any time: the newest file may be empty."""
        return self.size * (self.files - 1)

    @property
    def removes(self) -> bool:
        """Whether old records are removed, or no more are written, when a limit is reached.

        auditd keeps everything with the other actions, and with fewer than two files.
        """
        return self.action in ("rotate", "suspend") and self.files > 1 and self.size > 0


@dataclass(frozen=True)
class HistoryPlan:
    """What is done about auditd's files.

    Attributes:
        change: the new auditd.conf; ``None`` if it stays.
        says: what it means, in words for the operator.
        warnings: why the history will be too short.
    """

    change: FileChange | None = None
    says: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def day_mib(history: AuditHistory, intervals_s: Iterable[float]) -> float:
    """Return how many MiB of records a day brings.

    Args:
        history: the profile's figures.
        intervals_s: seconds between two health checks, for each container that has them.
    """
    checks = sum(_DAY_S / seconds for seconds in intervals_s)
    return history.other_mib + checks * history.health_check_bytes / 2**20


def plan_history(history: AuditHistory, facts: HostFacts) -> HistoryPlan:
    """Return how auditd is to keep as many hours as the profile says; limits are only raised.

    All files together may take a part of the space that is free or used by them already. Limits
    near to what would be right stay, so that a little more or less free space changes nothing. So
    do all limits if the free space is not known.
    """
    found = facts.files.files.get(AUDITD_CONF)
    if found is None:
        # auditd is not installed yet, and comes with a file.
        return HistoryPlan()
    now = _limits(found.text)
    day = day_mib(history, facts.health_checks_s)
    needed = math.ceil(day * history.hours / 24)
    if not now.removes or (now.kept >= needed and now.action == "rotate"):
        return HistoryPlan()
    most = _most_mib(history, facts, found.text)
    wanted = _raised(now, needed, 0 if most is None else most)
    text = _with(found.text, wanted)
    warnings: tuple[str, ...] = ()
    if wanted.kept < needed:
        space = (
            "how much space is free for its files is not known"
            if most is None
            else f"it gets at most {history.most_percent} % of the free space"
        )
        warnings = (
            f"auditd keeps {_hours(wanted, day)} of records, not {history.hours} h:"
            f" {len(facts.health_checks_s)} containers with health checks add"
            f" {day - history.other_mib:.0f} MiB a day, and {space}. Have them checked less often"
            f" (--health-interval), or set max_log_file in {AUDITD_CONF}",
        )
    if wanted == now:
        return HistoryPlan(warnings=warnings)
    says = (
        f"auditd keeps {wanted.files} files of {wanted.size} MiB, about {_hours(wanted, day)} of"
        f" records, in place of {now.files} of {now.size} MiB; containers with health checks:"
        f" {len(facts.health_checks_s)}",
    )
    # Bytes that are no UTF-8 stay as they are.
    content = text.encode("utf-8", "surrogateescape")
    change = FileChange(AUDITD_CONF, content, found.mode, found.uid, found.gid)
    return HistoryPlan(change, says, warnings)


def _hours(limits: _Limits, day: float) -> str:
    return f"{limits.kept / day * 24:.0f} h"


def _most_mib(history: AuditHistory, facts: HostFacts, text: str) -> float | None:
    """Return how many MiB all files may take; ``None`` if the free space is not known.

    It is only asked for with health checks: without them the files stay small.

    Args:
        history: the profile's figures.
        facts: of the board.
        text: auditd.conf, which may name another folder for the files.
    """
    if not facts.health_checks_s:
        return math.inf
    places = re.findall(r"^\s*log_file\s*=\s*(\S+)", text, re.IGNORECASE | re.MULTILINE)
    if facts.audit_space_kib is None or any(not place.startswith(_FOLDER) for place in places):
        return None
    return facts.audit_space_kib / 1024 * history.most_percent / 100


def _raised(now: _Limits, needed: int, most: float) -> _Limits:
    """Return limits for the MiB that are needed, with all files together at most ``most`` MiB."""
    rotating = _Limits(now.size, now.files, "rotate")
    if now.kept >= needed:
        return rotating
    files = max(now.files, _FILES, math.ceil(needed * _HEADROOM / _LARGEST) + 1)
    size = math.ceil(needed * _HEADROOM / (files - 1))
    if size * files > most:
        size = int(most // files)
    wanted = _Limits(max(size, now.size), files, "rotate")
    if wanted.size * files > most or wanted.kept < now.kept * _HEADROOM:
        return rotating
    return wanted


def _limits(text: str) -> _Limits:
    """Return the limits of an auditd.conf; auditd's own values for what is not in it."""
    values = {"max_log_file": "0", "num_logs": "0", "max_log_file_action": "ignore"}
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if equals and key.strip().lower() in values:
            values[key.strip().lower()] = value.strip().lower()
    size, files = (
        int(values[key]) if re.fullmatch(r"[0-9]{1,6}", values[key]) else 0
        for key in ("max_log_file", "num_logs")
    )
    return _Limits(size, files, values["max_log_file_action"])


def _with(text: str, limits: _Limits) -> str:
    """Return an auditd.conf with these limits in it; other lines stay."""
    wanted = {
        "max_log_file": str(limits.size),
        "num_logs": str(limits.files),
        "max_log_file_action": limits.action.upper(),
    }
    lines = []
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        name = key.strip().lower()
        if equals and name in wanted and value.strip().upper() != wanted[name]:
            line = f"{name} = {wanted[name]}"
        lines.append(line)
    return "\n".join(lines)
