"""The kernel's audit rules as ``auditctl -l`` lists them; auditctl(8)."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

_PERMISSION = re.compile(r"[rwxa]*")


@dataclass(frozen=True)
class WatchedPath:
    """A path that is watched, with which permissions, and whether below it as well."""

    path: str
    permissions: frozenset[str]
    recursive: bool = False

    def covers(self, path: str, permissions: Iterable[str]) -> bool:
        """Tell whether a wish is answered by this very path's rule."""
        return self.path.rstrip("/") == path.rstrip("/") and set(permissions) <= self.permissions


def parse_audit_rules(lines: Iterable[str]) -> tuple[WatchedPath, ...]:
    """Return the watches; rules of other kinds, and what is no rule, are passed over.

    A watch shows as ``-w PATH -p rwa``, or with ``-F path=``/``-F dir=`` when it has more
    conditions than that; such a one watches only some accesses and does not count.
    """
    return tuple(found for line in lines if (found := _watch(line)) is not None)


def _watch(line: str) -> WatchedPath | None:
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    path, permissions, recursive = "", "", False
    rest = iter(words)
    for word in rest:
        if word == "-w":
            path = next(rest, "")
            recursive = path.endswith("/")
        elif word == "-p":
            permissions = next(rest, "")
        elif word == "-F":
            name, _, value = next(rest, "").partition("=")
            if name in ("path", "dir"):
                path, recursive = value, name == "dir"
            elif name == "perm":
                permissions = value
            elif name != "key":
                return None
        elif word in ("-k", "-a"):
            if word == "-a" and "never" in next(rest, ""):
                return None
            if word == "-k":
                next(rest, "")
        else:
            return None
    if not path.startswith("/") or not _PERMISSION.fullmatch(permissions):
        return None
    # Without -p a watch is of everything; auditctl(8).
    return WatchedPath(path, frozenset(permissions or "rwxa"), recursive)
