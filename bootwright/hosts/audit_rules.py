"""The kernel's audit rules as ``auditctl -l`` lists them, and what they record of a path.

Sources: auditctl(8), audit.rules(7); in the kernel ``kernel/audit_watch.c`` (a path stands for the
file that it leads to), ``auditfilter.c`` and ``auditsc.c``; ``lib/libaudit.c`` of audit 4.0.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_PERMISSIONS = re.compile(r"[rwxa]+")

_OPTIONS = {
    *("-w", "-p", "-k", "-a", "-S", "-F arch", "-F path", "-F dir", "-F perm", "-F key"),
}
"""Options of a rule that watches every access to a path, and no other access."""

_ARCHITECTURES = {
    **dict.fromkeys(("b32", "arm", "i386", "0x40000028", "0x40000003"), "b32"),
    **dict.fromkeys(("b64", "aarch64", "x86_64", "0xC00000B7", "0xC000003E"), "b64"),
}
"""The values of ``-F arch=`` for programs of 32 and of 64 bits."""

_MACHINE_32 = re.compile(r"arm(v[4-7]\w*)?|i[3-6]86")
"""Matches machines (uname -m) that run only programs of 32 bits."""

_CALLS = {
    "r": {"openat", "readlinkat", "getxattr"},
    "w": {"openat", "mkdirat", "mknodat", "unlinkat", "linkat", "symlinkat", "truncate"},
    "x": {"execve"},
    "a": {"fchmod", "fchmodat", "fchown", "fchownat", "setxattr", "removexattr"},
}
"""System calls without which a rule does not record a permission, on every architecture. auditctl 4
lists them for a rule without ``-S``; others that it lists are not on all architectures."""

_CALLS_32 = {"w": {"truncate64", "ftruncate64"}, "a": {"chown32", "fchown32", "lchown32"}}
"""Further ones of 32 bits, which the C library calls there. auditctl 4.0 lacks them in its list."""


@dataclass(frozen=True)
class WatchedPath:
    """A path that the kernel watches.

    Attributes:
        path: the path.
        permissions: the kinds of access that are recorded, of ``r w x a``.
        recursive: everything below it as well.
        architecture: ``b32`` or ``b64`` if only programs of so many bits are recorded; else empty.
        partial: permissions of the rule that are not among ``permissions``, since its list of
            system calls lacks some that such an access may take.
    """

    path: str
    permissions: frozenset[str]
    recursive: bool = False
    architecture: str = ""
    partial: frozenset[str] = field(default=frozenset())


def parse_audit_rules(lines: Iterable[str]) -> tuple[WatchedPath, ...]:
    """Return the watches; rules of other kinds, and lines that are no rule, are ignored.

    A watch is listed as ``-w PATH -p rwa``, or as ``-a always,exit`` with ``-F path=`` or
    ``-F dir=``. One with further conditions is ignored: it watches some accesses only.
    """
    return tuple(found for line in lines if (found := _watch(line)) is not None)


def resolved(path: str, folders: Mapping[str, str]) -> str:
    """Return a path by the other name of its folder.

    Args:
        path: of a rule, or of a file.
        folders: folders that are links, such as ``/lib``, and what they are links to.
    """
    path = path.rstrip("/") or "/"
    for link, folder in folders.items():
        if path.startswith(f"{link}/"):
            return resolved(folder + path.removeprefix(link), folders)
    return path


def rules_for(
    rules: Iterable[WatchedPath], path: str, folders: Mapping[str, str]
) -> tuple[WatchedPath, ...]:
    """Return the rules for a path, by whatever name of its folder."""
    wanted = resolved(path, folders)
    return tuple(rule for rule in rules if resolved(rule.path, folders) == wanted)


def recorded(rules: Iterable[WatchedPath], machine: str = "") -> frozenset[str]:
    """Return the permissions that the rules for one path record together, of every program.

    Args:
        rules: those for the path.
        machine: the kernel's architecture, as ``uname -m`` prints it. If it is not known, programs
            of 32 and of 64 bits have to be recorded.
    """
    rules = tuple(rules)
    needed = ("b32",) if _MACHINE_32.fullmatch(machine) else ("b32", "b64")
    of_each = [
        frozenset[str]().union(*(rule.permissions for rule in rules if _is_for(rule, bits)))
        for bits in needed
    ]
    return frozenset.intersection(*of_each)


def _is_for(rule: WatchedPath, bits: str) -> bool:
    return rule.architecture in ("", bits)


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
        name, equals, value = argument.partition("=")
        if option == "-F" and (not equals or f"-F {name}" in given):
            return None
        given |= {f"-F {name}": value} if option == "-F" else {option: argument}
    if given.keys() - _OPTIONS or {*given.get("-a", "always,exit").split(",")} != {
        "always",
        "exit",
    }:
        return None
    architecture = _ARCHITECTURES.get(given.get("-F arch", ""), "")
    if "-F arch" in given and not architecture:
        return None
    folder, watched = given.get("-F dir"), given.get("-w", "")
    path = watched or folder or given.get("-F path", "")
    # auditctl(8): a watch without permissions records all four kinds of access.
    permissions = given.get("-p") or given.get("-F perm") or "rwxa"
    if not path.startswith("/") or not _PERMISSIONS.fullmatch(permissions):
        return None
    recursive = folder is not None or watched.endswith("/")
    full = frozenset(permissions)
    if (calls := given.get("-S", "all")) != "all":
        full = frozenset(one for one in full if _complete(one, {*calls.split(",")}, architecture))
    return WatchedPath(path, full, recursive, architecture, frozenset(permissions) - full)


def _complete(permission: str, calls: set[str], architecture: str) -> bool:
    """Return whether a list of system calls has all that such an access may take."""
    needed = set(_CALLS[permission])
    if architecture != "b64":
        needed |= _CALLS_32.get(permission, set())
    return needed <= calls
