"""Whether the operator can log in to the finished card, and what has to be repaired for it. Pure.

What personalisation owns is repaired: the account that logs in, the way to its keys, the units that
bring the network and sshd up, sshd's first lines, what another machine left. The rest belongs to
who made the root file system: it is refused, with the reason.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bootwright.card.accounts import Account, Accounts, groups_of
from bootwright.core.board_names import SSHD_DROP_IN, SSHD_INCLUDE, UNITS
from bootwright.core.config import Target
from bootwright.core.file_changes import Change, DirectoryChange, Removal, SymlinkChange
from bootwright.rootfs.login_facts import (
    BOOT_UNITS,
    DBUS_MACHINE_ID,
    HOME_PARENTS,
    MOUNT_POINTS,
    OWN_UNITS,
    SSH_UNITS,
    SYSTEM_FOLDERS,
    Attributes,
    LoginFacts,
)
from bootwright.rootfs.ssh_units import has_socket, socket_ports, sshd_options
from bootwright.rootfs.sshd_config import (
    DEFAULT_PORT,
    SSHD_CONFIG,
    SshdSettings,
    listen_ports,
    read_sshd_config,
    unusable_for,
)

VENDOR_UNITS = "/usr/lib/systemd/system"

_TARGETS_WITHOUT_SSHD = frozenset(
    (
        *("rescue.target", "emergency.target", "basic.target", "sysinit.target", "initrd.target"),
        *("halt.target", "poweroff.target", "reboot.target", "kexec.target", "exit.target"),
        *("runlevel0.target", "runlevel1.target", "runlevel6.target", "null"),
    )
)
"""Targets of a boot that starts no sshd: those of systemd.special(7); ``null``: it is masked."""
_OUR_KEY_FILES = frozenset(
    (".ssh/authorized_keys", "%h/.ssh/authorized_keys", ".ssh/authorized_keys2")
)
"""Values of AuthorizedKeysFile that name no file but the ones that the card has or removes."""


def usability_reasons(login: LoginFacts, account: Account, accounts: Accounts) -> list[str]:
    """Return why the card would not be usable, without what sshd's own configuration says."""
    reasons = []
    foreign = [path for path in SYSTEM_FOLDERS if path in login.folders and login.folders[path].uid]
    if foreign:
        owner = login.folders[foreign[0]]
        reasons.append(
            f"{', '.join(foreign[:3])}{' and others' if foreign[3:] else ''} belong to"
            f" {owner.uid}:{owner.gid}, not to root (pack the archive with its owners)"
        )
    reasons += [
        f"{path} has mode {found.mode:04o}: {why}"
        for path, found in login.folders.items()
        if path in SYSTEM_FOLDERS and (why := _mode_trouble(path, found))
    ]
    if (account.name == "root") != (account.uid == 0):
        reasons.append(f"/etc/passwd gives the account {account.name} the number {account.uid}")
    if not account.home.startswith("/"):
        reasons.append(f"/etc/passwd gives {account.name} no home: {account.home!r}")
    if account.shell_path not in login.shells:
        reasons.append(
            f"the shell of {account.name}, {account.shell_path}, is not there or is no program"
        )
    if not login.has_mkfs_ext4:
        reasons.append("there is no mkfs.ext4, which makes the file system of the volume")
    reasons += [f"{unit} is masked in {UNITS}" for unit in BOOT_UNITS if unit in login.masked_units]
    if login.default_target in _TARGETS_WITHOUT_SSHD:
        reasons.append(
            f"{UNITS}/default.target is a link to {login.default_target}, which starts no sshd"
        )
    if not ssh_unit(login):
        reasons.append("no unit starts sshd (ssh.service, sshd.service, or their sockets)")
    groups = groups_of(accounts, account)
    if "pam_access.so" in login.pam_modules and (
        line := _access_denied(login.access_conf, account.name, groups)
    ):
        reasons.append(f"/etc/security/access.conf denies logins: {line}")
    if login.has_tcp_wrappers and (line := _host_denied(login)):
        reasons.append(f"/etc/hosts.deny denies SSH: {line}")
    return reasons


def _mode_trouble(path: str, found: Attributes) -> str | None:
    if path != "/etc/ssh" and found.mode & 0o005 != 0o005:  # sshd reads it as root
        return "other users than root cannot use it"
    if found.mode & 0o002 or (found.mode & 0o020 and found.gid != 0):
        return "other users than root can change it"
    return None


def ssh_unit(login: LoginFacts) -> str | None:
    """Return the unit that starts sshd: one that is enabled, else one that can be."""
    usable = login.enabled_units - login.masked_units or login.enabled_units or login.unit_files
    return next((unit for unit in SSH_UNITS if unit in usable), None)


def _access_denied(text: str, user: str, groups: Iterable[str]) -> str | None:
    """Return the line of access.conf(5) that denies logins of ``user`` from every other machine.

    The first line counts that fits. Which address the operator has is not known: a line that allows
    only some machines allows the login.
    """
    names = {"ALL", user, *groups, *(f"({group})" for group in groups)}
    for line in text.splitlines():
        permission, _, rest = line.partition("#")[0].partition(":")
        users, _, origins = rest.partition(":")
        if not _in_list(users, names):
            continue
        if permission.strip() == "+" and not all(map(_THIS_MACHINE.fullmatch, _words(origins))):
            return None
        if permission.strip() == "-" and _is_every_other_machine(origins):
            return line.strip()
    return None


_THIS_MACHINE = re.compile(r"LOCAL|NONE|crond?|localhost|127\..*|\[?::1\]?|:\d.*|tty.*")
"""Origins in access.conf and hosts.deny that are no other machine."""


def _is_every_other_machine(origins: str) -> bool:
    words = _words(origins)
    return words[:1] == ["ALL"] and (
        len(words) == 1 or (words[1] == "EXCEPT" and all(map(_THIS_MACHINE.fullmatch, words[2:])))
    )


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _in_list(text: str, names: set[str]) -> bool:
    """Return whether a list, ``A B EXCEPT C``, contains one of ``names``, of which one is ALL.

    Format: access.conf(5) and hosts_access(5).
    """
    included, _, excepted = " ".join(_words(text)).partition(" EXCEPT ")
    if not names & set(included.split()):
        return False
    return not (excepted and _in_list(excepted, names))


def _host_denied(login: LoginFacts) -> str | None:
    """Return the line of hosts.deny (hosts_access(5)) that denies SSH from everywhere."""
    if any(_names_sshd(line) for line in login.hosts_allow.splitlines()):
        return None
    for line in login.hosts_deny.splitlines():
        clients = line.partition("#")[0].partition(":")[2].partition(":")[0]
        if _names_sshd(line) and _is_every_other_machine(clients):
            return line.strip()
    return None


def _names_sshd(line: str) -> bool:
    return _in_list(line.partition("#")[0].partition(":")[0], {"ALL", "sshd"})


def login_repairs(login: LoginFacts, account: Account) -> list[Change]:
    """Return the changes that open the way to the account, and remove what another machine left."""
    return [
        *(Removal(path) for path in login.blockers),
        *_unmasked(login),
        *_enabled_ssh(login),
        *_folders(login, account),
        *(Removal(path) for path in login.ssh_links),
        *(
            Removal(path)
            for path in login.key_files
            if not any(path.startswith(f"{link}/") for link in login.ssh_links)
            and path != f"{account.ssh_folder}/authorized_keys"
        ),
        *_identity(login),
    ]


def _unmasked(login: LoginFacts) -> list[Change]:
    unit = ssh_unit(login)
    own = (*OWN_UNITS, *([unit] if unit else []))
    return [Removal(f"{UNITS}/{name}") for name in own if name in login.masked_units]


def _enabled_ssh(login: LoginFacts) -> list[Change]:
    unit = ssh_unit(login)
    if unit is None or unit in login.enabled_units:
        return []
    target = "sockets.target" if unit.endswith(".socket") else "multi-user.target"
    return [SymlinkChange(f"{UNITS}/{target}.wants/{unit}", login.unit_files[unit])]


def _folders(login: LoginFacts, account: Account) -> list[Change]:
    """Return the changes to the folders from ``/`` to the home, and to missing mount points.

    sshd takes no key if the home, or a folder on the way to it, can be changed by another user
    (``StrictModes``), and reads the keys as the account.
    """
    changes: list[Change] = [
        DirectoryChange(path, 0o1777 if path == "/tmp" else 0o755)
        for path in MOUNT_POINTS
        if path not in login.folders
    ]
    home = login.homes.get(account.home)
    new = tuple((path, login.folders[path]) for path in HOME_PARENTS if path in login.folders)
    parents = home.parents if home else new
    changes += [DirectoryChange(path) for path, found in parents if not _is_passable(path, found)]
    if home is None or home.path == "/":
        return changes
    found = home.attributes
    if found is None or found.uid != account.uid or found.mode & 0o722 != 0o700:
        changes.append(DirectoryChange(home.path, 0o700, account.uid, account.gid))
    return changes


def _is_passable(path: str, found: Attributes) -> bool:
    """Return whether every user can pass a folder before a home, and only root can change it."""
    needed = 0o005 if path == "/" else 0o001
    return found.uid == 0 and found.mode & (needed | 0o002) == needed


def _identity(login: LoginFacts) -> list[Change]:
    return [
        SymlinkChange(path, "/etc/machine-id") if path == DBUS_MACHINE_ID else Removal(path)
        for path in login.identity_files
    ]


@dataclass(frozen=True)
class SshdPlan:
    """The text of ``/etc/ssh/sshd_config``, and why nobody could log in with it."""

    text: str
    reasons: list[str]


def plan_sshd(
    login: LoginFacts,
    target: Target,
    account: Account,
    accounts: Accounts,
    keys: Sequence[str],
    host_keys: Mapping[str, str],
    drop_in: str,
    overlay_files: Mapping[str, str],
) -> SshdPlan:
    """Return sshd's configuration with its first lines as the card needs them.

    Args:
        login: facts about the root file system.
        target: has the port that the board is reached at.
        account: the account that logs in.
        accounts: has its groups.
        keys: the public keys that may log in, one line each.
        host_keys: the card's own host keys: the public keys, by the paths of the private ones.
        drop_in: the content of :data:`~bootwright.core.board_names.SSHD_DROP_IN`.
        overlay_files: the texts of the files of overlays, by path.
    """
    groups = groups_of(accounts, account)
    unit = ssh_unit(login) or ""
    service = f"{unit.partition('.')[0]}.service"
    options = sshd_options(login.unit_texts, service)
    options_name = f"the command line in {service}"
    own = login.sshd_files.get(SSHD_CONFIG, "").removeprefix(SSHD_INCLUDE)

    def settings(text: str, more: Mapping[str, str], port: int) -> SshdSettings:
        files = {**login.sshd_files, **more, SSHD_DROP_IN: drop_in, SSHD_CONFIG: text}
        files[options_name] = options.config
        return read_sshd_config(files, account.name, groups, port, before=options_name)

    found = settings(SSHD_INCLUDE + own, overlay_files, DEFAULT_PORT)
    first_lines = _first_lines(found, tuple(host_keys), overlay_files)
    text = SSHD_INCLUDE + "".join(f"{line}\n" for line in first_lines) + own
    by_socket = has_socket(login.unit_texts, unit) and not login.sockets_follow_config
    ports = (
        socket_ports(login.unit_texts, unit)
        if by_socket
        else listen_ports(settings(text, overlay_files, DEFAULT_PORT), options.ports)
    )
    wanted = target.port or DEFAULT_PORT
    port = wanted if wanted in ports else next(iter(ports), DEFAULT_PORT)
    final = settings(text, overlay_files, port)
    reasons = unusable_for(
        final, account.name, account.home, groups, keys, tuple(host_keys.values())
    )
    if options.other_config is not None:
        reasons.append(f"{service} starts sshd with another configuration, {options.other_config}")
    if not ports and by_socket:
        reasons.append(f"{unit}, which starts sshd, listens on no port for other machines")
    elif not ports:
        reasons.append("ListenAddress leaves sshd on the board's loopback alone")
    elif not {DEFAULT_PORT, wanted} & set(ports):
        reasons.append(
            f"{unit if by_socket else 'sshd'} listens on port {ports[0]}, and port of the target"
            f" is {wanted}; set port = {ports[0]}"
        )
    return SshdPlan(text, reasons)


def _first_lines(
    found: SshdSettings, host_keys: Sequence[str], overlay_files: Collection[str]
) -> list[str]:
    """Return lines for the start of sshd_config: they replace what would close out the operator,
    or let in somebody else. What the operator's overlays set stays.
    """
    lines = []

    def replaceable(keyword: str) -> tuple[str, ...] | None:
        setting = found.outside_blocks(keyword)
        return None if setting is None or setting.path in overlay_files else setting.values

    pubkey = replaceable("pubkeyauthentication")
    if pubkey and pubkey[0].lower() != "yes":
        lines.append("PubkeyAuthentication yes")
    files = replaceable("authorizedkeysfile")
    if files and not set(files) <= _OUR_KEY_FILES:
        lines.append("AuthorizedKeysFile .ssh/authorized_keys")
    for name in ("AuthorizedKeysCommand", "TrustedUserCAKeys"):
        values = replaceable(name.lower())
        if values and values[0].lower() != "none":
            lines.append(f"{name} none")
    named = found.collected("hostkey")
    if (
        named
        and not any(setting.path in overlay_files for setting in named)
        and not any(set(setting.values) & set(host_keys) for setting in named)
    ):
        lines += [f"HostKey {path}" for path in host_keys]
    return lines
