"""Facts about a root file system that decide whether somebody can log in over SSH. Pure."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

SYSTEM_FOLDERS = (
    *("/etc", "/etc/ssh", "/etc/systemd", "/etc/systemd/system"),
    *("/usr", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib/systemd", "/var", "/var/lib"),
)
"""Folders of the distribution that every program needs to pass, whatever its user is."""

MOUNT_POINTS = ("/dev", "/proc", "/run", "/sys", "/tmp")
"""Folders on which the system mounts something before anything else works."""

HOME_PARENTS = ("/", "/home")
"""Folders on the way to the home of a new account."""

SSH_UNITS = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")
"""The names that distributions give to the unit that starts sshd."""

OWN_UNITS = (
    *("systemd-networkd.service", "systemd-networkd.socket"),
    *("systemd-resolved.service", "systemd-timesyncd.service"),
)
"""Units that a card relies on and that Bootwright enables."""

BOOT_UNITS = (
    *("sysinit.target", "basic.target", "multi-user.target", "sockets.target"),
    *("local-fs.target", "cryptsetup.target", "systemd-udevd.service"),
)
"""Units without which the boot does not get as far as sshd or the volume."""

LOGIN_BLOCKERS = ("/etc/nologin", "/etc/ssh/sshd_not_to_be_run")
"""Files whose existence closes logins: pam_nologin(8), and the unit of Debian's sshd."""

DBUS_MACHINE_ID = "/var/lib/dbus/machine-id"

IDENTITY_FILES = (
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/boot/loader/random-seed",
    DBUS_MACHINE_ID,
    "/etc/hostid",
    "/etc/docker/key.json",
    "/var/lib/NetworkManager/secret_key",
    "/etc/dhcpcd.duid",
    "/var/lib/dhcpcd/duid",
    "/var/lib/dhcpcd/secret",
)
"""Files that identify one machine, or are a secret of it. Each is made again when it is missing."""


_PAM_MODULE = re.compile(r"-?account\s+(?:\[[^\]]*\]|\S+)\s+(\S+)")


def account_modules(text: str) -> set[str]:
    """Return the modules of type ``account`` that a file of PAM names itself (pam.d(5))."""
    found = map(_PAM_MODULE.match, map(str.strip, text.splitlines()))
    modules = {posixpath.basename(match[1]) for match in found if match}
    return {name for name in modules if name.endswith(".so")}


@dataclass(frozen=True)
class Attributes:
    """Permission bits and owner of a file or folder."""

    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class Home:
    """The home of an account.

    Attributes:
        path: with symbolic links followed.
        parents: the folders before it, from ``/``, as far as they exist.
        attributes: of the home itself; ``None`` if there is no such folder.
    """

    path: str
    parents: tuple[tuple[str, Attributes], ...]
    attributes: Attributes | None


@dataclass(frozen=True)
class LoginFacts:
    """What decides about logins over SSH, as it is in the root file system.

    Attributes:
        folders: of :data:`SYSTEM_FOLDERS`, :data:`MOUNT_POINTS` and :data:`HOME_PARENTS`, those
            that exist.
        homes: the homes in ``/etc/passwd``, by their names there.
        key_files: the existing ``authorized_keys`` and ``authorized_keys2`` below these homes.
        ssh_links: which ``.ssh`` below these homes are symbolic links.
        shells: the shells in ``/etc/passwd`` (and ``/bin/bash``, ``/bin/sh``) that can be run.
        sshd_files: the text of ``/etc/ssh/sshd_config`` and of each file that it includes.
        enabled_units: of :data:`SSH_UNITS`, those that the boot starts.
        masked_units: of :data:`SSH_UNITS`, :data:`OWN_UNITS` and :data:`BOOT_UNITS`, those that
            are masked in ``/etc/systemd/system``.
        unit_files: of :data:`SSH_UNITS`, the paths of those that are installed.
        unit_texts: the texts of :data:`SSH_UNITS`, of their drop-ins, and of the files with further
            options for sshd, by path.
        sockets_follow_config: the sockets listen where ``sshd_config`` says: a generator of
            Ubuntu sees to that.
        default_target: the target of the boot that ``/etc/systemd/system`` sets; else ``None``.
        pam_modules: the modules that PAM asks about sshd's accounts.
        access_conf: text of ``/etc/security/access.conf``.
        hosts_allow: text of ``/etc/hosts.allow``.
        hosts_deny: text of ``/etc/hosts.deny``.
        has_tcp_wrappers: sshd asks these two files: it uses libwrap.
        blockers: of :data:`LOGIN_BLOCKERS`, those that exist.
        identity_files: of :data:`IDENTITY_FILES`, those that exist and are no symbolic links.
        has_mkfs_ext4: whether the program that makes the volume's file system can be run.
    """

    folders: Mapping[str, Attributes]
    homes: Mapping[str, Home]
    key_files: tuple[str, ...]
    ssh_links: tuple[str, ...]
    shells: frozenset[str]
    sshd_files: Mapping[str, str]
    enabled_units: frozenset[str]
    masked_units: frozenset[str]
    unit_files: Mapping[str, str]
    unit_texts: Mapping[str, str]
    sockets_follow_config: bool
    default_target: str | None
    pam_modules: frozenset[str]
    access_conf: str
    hosts_allow: str
    hosts_deny: str
    has_tcp_wrappers: bool
    blockers: tuple[str, ...]
    identity_files: tuple[str, ...]
    has_mkfs_ext4: bool
