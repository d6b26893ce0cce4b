"""Reading the facts that decide about logins over SSH from an ext4 image, without mounting it."""

import posixpath
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from bootwright.core.board_names import UNITS
from bootwright.rootfs.io.ext4_read import DirectoryEntry, Ext4Reader
from bootwright.rootfs.login_facts import (
    BOOT_UNITS,
    HOME_PARENTS,
    IDENTITY_FILES,
    LOGIN_BLOCKERS,
    MOUNT_POINTS,
    OWN_UNITS,
    SSH_UNITS,
    SYSTEM_FOLDERS,
    Attributes,
    Home,
    LoginFacts,
    account_modules,
)
from bootwright.rootfs.ssh_units import ENVIRONMENT_FILES, UNIT_FOLDERS
from bootwright.rootfs.sshd_config import SSHD_CONFIG, include_patterns

_SSHD_PROGRAMS = (
    *("/usr/sbin/sshd", "/usr/bin/sshd", "/usr/lib/openssh/sshd-session"),
    *("/usr/lib/ssh/sshd-session", "/usr/libexec/openssh/sshd-session"),
)
"""sshd, and its part that serves a connection since OpenSSH 9.8, where distributions have them."""

_MKFS = tuple(f"{folder}/mkfs.ext4" for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"))
_GENERATORS = ("/usr/lib/systemd/system-generators", "/lib/systemd/system-generators")
_KEY_FILES = ("authorized_keys", "authorized_keys2")
_INCLUDE_DEPTH = 16
"""How deep files are included; the same limit as sshd's."""

_PAM_INCLUDE = re.compile(r"(?:@include|-?(?:account)\s+(?:include|substack))\s+(\S+)")


def read_login_facts(reader: Ext4Reader, text: Callable[[str], str], passwd: str) -> LoginFacts:
    """Return what decides about logins over SSH.

    Args:
        reader: the root file system.
        text: returns the text of a file; empty if there is none.
        passwd: text of ``/etc/passwd``.
    """
    accounts = [line.split(":") for line in passwd.splitlines()]
    complete = [fields for fields in accounts if len(fields) == 7]
    homes = sorted({fields[5] for fields in complete if fields[5].startswith("/")})
    shells = {fields[6] or "/bin/sh" for fields in complete} | {"/bin/bash", "/bin/sh"}
    ssh_folders = [posixpath.join(home, ".ssh") for home in homes]
    return LoginFacts(
        folders={
            path: _attributes(entry)
            for path in (*SYSTEM_FOLDERS, *MOUNT_POINTS, *HOME_PARENTS)
            if (entry := reader.lookup(path)) is not None
        },
        homes={home: _home(reader, home) for home in homes},
        key_files=tuple(
            path
            for folder in ssh_folders
            for path in (f"{folder}/{name}" for name in _KEY_FILES)
            if reader.lookup(path, follow=False) is not None
        ),
        ssh_links=tuple(
            folder
            for folder in ssh_folders
            if (entry := reader.lookup(folder, follow=False)) is not None and entry.is_link
        ),
        shells=frozenset(shell for shell in shells if is_program(reader, shell)),
        sshd_files=_sshd_files(reader, text),
        enabled_units=_enabled_units(reader),
        masked_units=frozenset(
            unit for unit in (*SSH_UNITS, *OWN_UNITS, *BOOT_UNITS) if _is_masked(reader, unit)
        ),
        unit_files={unit: path for unit in SSH_UNITS if (path := _unit_file(reader, unit))},
        unit_texts=_unit_texts(reader, text),
        sockets_follow_config=any(
            reader.exists(f"{folder}/sshd-socket-generator") for folder in _GENERATORS
        ),
        default_target=_default_target(reader),
        pam_modules=frozenset(_pam_modules(text, "sshd", _INCLUDE_DEPTH)),
        access_conf=text("/etc/security/access.conf"),
        hosts_allow=text("/etc/hosts.allow"),
        hosts_deny=text("/etc/hosts.deny"),
        has_tcp_wrappers=any(
            b"libwrap.so" in reader.read_file(path)
            for path in _SSHD_PROGRAMS
            if is_program(reader, path)
        ),
        blockers=_existing(reader, LOGIN_BLOCKERS),
        identity_files=tuple(
            path
            for path in IDENTITY_FILES
            if (entry := reader.lookup(path, follow=False)) is not None and entry.is_file
        ),
        has_mkfs_ext4=any(is_program(reader, path) for path in _MKFS),
    )


def is_program(reader: Ext4Reader, path: str) -> bool:
    """Return whether there is a file that somebody may execute; links are followed."""
    entry = reader.lookup(path)
    return entry is not None and entry.is_file and bool(entry.mode & 0o111)


def _attributes(entry: DirectoryEntry) -> Attributes:
    return Attributes(entry.mode & 0o7777, entry.uid, entry.gid)


def _existing(reader: Ext4Reader, paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if reader.lookup(path, follow=False) is not None)


def _home(reader: Ext4Reader, home: str) -> Home:
    path = reader.resolve(home) or posixpath.normpath(home)
    parts = [part for part in path.split("/") if part]
    parents: list[tuple[str, Attributes]] = []
    for depth in range(len(parts)):
        parent = "/" + "/".join(parts[:depth])
        entry = reader.lookup(parent)
        if entry is None:
            break
        parents.append((parent, _attributes(entry)))
    found = reader.lookup(path)
    return Home(path, tuple(parents), _attributes(found) if found and found.is_dir else None)


def _sshd_files(reader: Ext4Reader, text: Callable[[str], str]) -> dict[str, str]:
    found: dict[str, str] = {}
    todo = [(SSHD_CONFIG, 0)]
    while todo:
        path, depth = todo.pop()
        entry = reader.lookup(path)
        if path in found or depth > _INCLUDE_DEPTH or entry is None or not entry.is_file:
            continue
        found[path] = text(path)
        for pattern in include_patterns(found[path]):
            todo += [(name, depth + 1) for name in _glob(reader, pattern)]
    return found


def _glob(reader: Ext4Reader, pattern: str) -> list[str]:
    """Return the paths that a shell pattern matches."""
    paths = ["/"]
    for part in pattern.split("/"):
        if part:
            paths = [found for path in paths for found in _matching(reader, path, part)]
    return paths


def _matching(reader: Ext4Reader, folder: str, part: str) -> list[str]:
    entry = reader.lookup(folder)
    if entry is None or not entry.is_dir:
        return []
    names = (child.name for child in reader.list_dir(folder))
    return [
        posixpath.join(folder, name)
        for name in names
        if fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
    ]


def _enabled_units(reader: Ext4Reader) -> frozenset[str]:
    """Return which SSH units a target of the boot wants."""
    enabled = set()
    for base in UNIT_FOLDERS:
        for target in ("multi-user.target", "sockets.target", "default.target", "basic.target"):
            for kind in ("wants", "requires"):
                folder = f"{base}/{target}.{kind}"
                entry = reader.lookup(folder)
                if entry is not None and entry.is_dir:
                    enabled |= {child.name for child in reader.list_dir(folder)}
    return frozenset(enabled) & frozenset(SSH_UNITS)


def _is_masked(reader: Ext4Reader, unit: str) -> bool:
    """Return whether a unit is masked: a link to /dev/null, or an empty file."""
    path = f"{UNITS}/{unit}"
    entry = reader.lookup(path, follow=False)
    if entry is None:
        return False
    if entry.is_link:
        return reader.readlink(path) == "/dev/null"
    return entry.is_file and entry.size == 0


def _unit_file(reader: Ext4Reader, unit: str) -> str | None:
    """Return the path of a unit; ``None`` if there is none, or only an empty file."""
    for folder in UNIT_FOLDERS:
        path = f"{folder}/{unit}"
        entry = reader.lookup(path)
        if entry is not None and entry.is_file and entry.size > 0:
            return path
    return None


def _unit_texts(reader: Ext4Reader, text: Callable[[str], str]) -> dict[str, str]:
    patterns = [
        f"{folder}/{unit}{rest}"
        for unit in SSH_UNITS
        for folder in UNIT_FOLDERS
        for rest in ("", ".d/*.conf")
    ]
    patterns += ENVIRONMENT_FILES
    texts = {path: text(path) for pattern in patterns for path in _glob(reader, pattern)}
    # An empty unit is a masked one; an empty drop-in replaces one of the same name.
    return {path: found for path, found in texts.items() if found or path.endswith(".conf")}


def _default_target(reader: Ext4Reader) -> str | None:
    path = f"{UNITS}/default.target"
    entry = reader.lookup(path, follow=False)
    if entry is None or not entry.is_link:
        return None
    return posixpath.basename(reader.readlink(path))


def _pam_modules(text: Callable[[str], str], service: str, depth: int) -> set[str]:
    """Return the modules of type ``account`` that the PAM service asks (pam.d(5))."""
    modules: set[str] = set()
    for line in text(f"/etc/pam.d/{service}").splitlines() if depth else ():
        if match := _PAM_INCLUDE.match(line.strip()):
            modules |= _pam_modules(text, posixpath.basename(match[1]), depth - 1)
        else:
            modules |= account_modules(line)
    return modules
