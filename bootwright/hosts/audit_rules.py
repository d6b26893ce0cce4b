"""The kernel's audit rules as ``auditctl -l`` lists them; auditctl(8)."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

_PERMISSIONS = re.compile(r"[rwxa]+")

_OPTIONS = {"-w", "-p", "-k", "-a", "-F path", "-F dir", "-F perm", "-F key"}
"""Options of a rule that watches every access to a path, and no other access."""


@dataclass(frozen=True)
class WatchedPath:
    """A path that the kernel watches: for which permissions, and whether everything below it."""

    path: str
    permissions: frozenset[str]
    recursive: bool = False

    def covers(self, path: str, permissions: Iterable[str]) -> bool:
        """Return whether this is the rule for a path, and records these permissions."""
        return self.path.rstrip("/") == path.rstrip("/") and set(permissions) <= self.permissions


def parse_audit_rules(lines: Iterable[str]) -> tuple[WatchedPath, ...]:
    """Return the watches; rules of other kinds, and lines that are no rule, are ignored.

    A watch is listed as ``-w PATH -p rwa``, or as ``-a always,exit`` with ``-F path=`` or
    ``-F dir=``. One with further conditions is ignored: it watches some accesses only.
    """
    return tuple(found for line in lines if (found := _watch(line)) is not None)


def _watch(line: str) -> WatchedPath | None:
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    if len(words) % 2:
        return None
    given: dict[str, str] = {}
    # Every option of a rule has one argument.
    for option, argument in zip(words[::2], words[1::2], strict=True):
        name, _, value = argument.partition("=")
        given |= {f"-F {name}": value} if option == "-F" else {option: argument}
    if given.keys() - _OPTIONS or "never" in given.get("-a", ""):
        return None
    folder, watched = given.get("-F dir"), given.get("-w", "")
    path = watched or folder or given.get("-F path", "")
    # Without any a watch is of everything; auditctl(8).
    permissions = given.get("-p") or given.get("-F perm") or "rwxa"
    if not path.startswith("/") or not _PERMISSIONS.fullmatch(permissions):
        return None
    recursive = folder is not None or watched.endswith("/")
    return WatchedPath(path, frozenset(permissions), recursive)
