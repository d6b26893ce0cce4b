"""What overlays change about logins. They are copied last, so nothing repairs them. Pure."""

import dataclasses
import posixpath
from collections.abc import Iterable, Mapping

from bootwright.card.overlays import OverlayEntry
from bootwright.core.board_names import UNITS
from bootwright.rootfs.login_facts import (
    BOOT_UNITS,
    LOGIN_BLOCKERS,
    SSH_UNITS,
    LoginFacts,
    account_modules,
)
from bootwright.rootfs.ssh_units import UNIT_FOLDERS

_TEXT_MAX = 1 << 20
"""Bytes of the largest file of an overlay that is read as configuration."""


def configuration_files(overlays: Iterable[OverlayEntry]) -> dict[str, str]:
    """Return the texts of the files that overlays bring to ``/etc`` and the folders of units."""
    folders = ("/etc/", *(f"{folder}/" for folder in UNIT_FOLDERS))
    return {
        entry.path: entry.content.decode("utf-8", "replace")
        for entry in overlays
        if entry.content is not None
        and len(entry.content) <= _TEXT_MAX
        and entry.path.startswith(folders)
    }


def with_overlays(login: LoginFacts, overlays: Iterable[OverlayEntry]) -> LoginFacts:
    """Return the facts as they are with the overlays on the card."""
    entries = {entry.path: entry for entry in overlays}
    files = configuration_files(entries.values())
    modules = (account_modules(files[path]) for path in files if path.startswith("/etc/pam.d/"))
    masked = _masked(entries)
    unmasked = {name for name in _units(entries) if f"{UNITS}/{name}" in entries} - masked
    default = entries.get(f"{UNITS}/default.target")
    return dataclasses.replace(
        login,
        unit_files={**login.unit_files, **_units(entries)},
        enabled_units=login.enabled_units | _enabled(entries),
        masked_units=(login.masked_units - unmasked) | masked,
        default_target=(
            posixpath.basename(default.link_target)
            if default and default.link_target
            else login.default_target
        ),
        pam_modules=login.pam_modules.union(*modules),
        access_conf=files.get("/etc/security/access.conf", login.access_conf),
        hosts_allow=files.get("/etc/hosts.allow", login.hosts_allow),
        hosts_deny=files.get("/etc/hosts.deny", login.hosts_deny),
        unit_texts={**login.unit_texts, **files},
    )


def overlay_reasons(overlays: Iterable[OverlayEntry], ssh_unit: str | None) -> list[str]:
    """Return what overlays bring that closes out everybody, and that only they can take back.

    Args:
        overlays: the entries of the target's overlays.
        ssh_unit: the unit that starts sshd.
    """
    entries = {entry.path: entry for entry in overlays}
    reasons = [
        f"the overlay {entries[path].overlay} brings {path}, which closes all logins"
        for path in LOGIN_BLOCKERS
        if path in entries
    ]
    if ssh_unit in _masked(entries):
        overlay = entries[f"{UNITS}/{ssh_unit}"].overlay
        reasons.append(f"the overlay {overlay} masks {ssh_unit}, which starts sshd")
    return reasons


def _masked(entries: Mapping[str, OverlayEntry]) -> frozenset[str]:
    """Return which units overlays mask: by a link to /dev/null, or an empty file."""
    return frozenset(
        name
        for name in (*SSH_UNITS, *BOOT_UNITS)
        if (entry := entries.get(f"{UNITS}/{name}"))
        and (entry.link_target == "/dev/null" or entry.content == b"")
    )


def _units(entries: Mapping[str, OverlayEntry]) -> dict[str, str]:
    """Return the paths of the SSH units that overlays bring, by their names."""
    return {
        name: path
        for folder in reversed(UNIT_FOLDERS)
        for name in SSH_UNITS
        if (entry := entries.get(path := f"{folder}/{name}")) and entry.content
    }


def _enabled(entries: Mapping[str, OverlayEntry]) -> frozenset[str]:
    """Return which SSH units overlays enable."""
    return frozenset(
        posixpath.basename(path)
        for path in entries
        if posixpath.dirname(path).endswith((".target.wants", ".target.requires"))
        and posixpath.dirname(posixpath.dirname(path)) in UNIT_FOLDERS
    ) & frozenset(SSH_UNITS)
