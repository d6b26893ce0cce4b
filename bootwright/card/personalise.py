"""The changes to a root file system that make it the root file system of one particular card."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bootwright.card.accounts import (
    Account,
    Accounts,
    find_account,
    with_account,
    without_passwords,
)
from bootwright.card.boot_script import INITRD_MAX, UINITRD, check_boot_ini, uinitrd, with_mac
from bootwright.card.login import (
    VENDOR_UNITS,
    login_repairs,
    plan_sshd,
    ssh_unit,
    usability_reasons,
)
from bootwright.card.login_overlays import configuration_files, overlay_reasons, with_overlays
from bootwright.card.network import Render, network_changes
from bootwright.card.overlays import OverlayEntry
from bootwright.card.record import RECORD_PATH, CardRecord
from bootwright.core.board import Board
from bootwright.core.board_names import (
    BINDS,
    MOUNT,
    SSHD_DROP_IN,
    TRIES,
    UNITS,
    VOLUME,
)
from bootwright.core.config import Target
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.file_changes import (
    Change,
    DirectoryChange,
    FileChange,
    Removal,
    SymlinkChange,
    text_file,
)
from bootwright.core.secret import Secret
from bootwright.core.shell import render_program
from bootwright.core.templates import Renderer
from bootwright.rootfs.facts import RootfsFacts
from bootwright.rootfs.source import Mmdebstrap, Tarball
from bootwright.rootfs.sshd_config import SSHD_CONFIG
from bootwright.volume.luks_plan import LuksSpec


@dataclass(frozen=True)
class HostKey:
    """An SSH host key.

    Attributes:
        kind: as in the file name ``ssh_host_KIND_key``.
        private: the private key in OpenSSH's format.
        public: the public key as one line.
    """

    kind: str
    private: Secret
    public: str


@dataclass(frozen=True)
class CardIdentity:
    """What identifies one card; each card gets new values.

    Attributes:
        root_uuid: of the root file system.
        luks_uuid: of the encrypted volume.
        disk_id: of the DOS partition table, 8 hexadecimal digits.
        hash_seed: of the root file system's directories, a UUID.
        machine_id: content of ``/etc/machine-id``, 32 hexadecimal digits.
        mac: the Ethernet address.
        host_keys: keys of the SSH server.
    """

    root_uuid: str
    luks_uuid: str
    disk_id: str
    hash_seed: str
    machine_id: str
    mac: str
    host_keys: tuple[HostKey, ...]


def plan_personalisation(
    board: Board,
    target: Target,
    source: Mmdebstrap | Tarball,
    rootfs: RootfsFacts,
    identity: CardIdentity,
    luks: LuksSpec,
    keys: Sequence[str],
    overlays: Iterable[OverlayEntry],
    renderer: Renderer,
    boot_script_kind: str,
    missing_boot_files: Sequence[str] = (),
    initrd: bytes = b"",
) -> tuple[Change, ...]:
    """Return all changes, in order, that turn ``rootfs`` into the root file system of this card.

    Args:
        board: the board that the card is for.
        target: the target that the card is for.
        source: the root file system's ``rootfs.toml``.
        rootfs: facts about the root file system.
        identity: what identifies this card.
        luks: the encrypted volume.
        keys: the operator's public SSH keys, one line each, at least one.
        overlays: the entries of the target's overlays, in their order.
        renderer: renders the templates.
        boot_script_kind: the file that the board's boot layout runs: ``boot.ini`` or ``boot.scr``.
        missing_boot_files: the files of :func:`boot_files` that the root file system lacks.
        initrd: the content of the initial RAM disk, if :func:`needs_uinitrd`; else not used.

    Raises:
        RefusedError: the operator could not log in to the board, it could not boot, or the root
            file system lacks what a setting of the network is for.
        InputError: an overlay replaces a file that Bootwright itself writes.
    """
    overlays = tuple(overlays)
    _check_reachable(target, rootfs, keys, missing_boot_files)
    accounts, account = _accounts(target, rootfs)
    values = {
        "board": board,
        "target": target,
        "volume": VOLUME,
        "tries": TRIES,
        "mount": MOUNT,
        "binds": tuple(BINDS),
        "noauto": ",noauto" if target.unlock == "ssh" else "",
        "root_uuid": identity.root_uuid,
        "luks_uuid": luks.uuid,
        "cipher": luks.cipher,
        "modules": luks.modules,
        "mac": identity.mac,
        "kernel": source.kernel,
        "initrd": source.initrd,
        "uinitrd": UINITRD,
    }

    def rendered(path: str, template: str, mode: int = 0o644, **more: object) -> FileChange:
        return text_file(path, renderer.render(template, {**values, **more}), mode)

    drop_in = rendered(SSHD_DROP_IN, "sshd.conf.j2")
    login = with_overlays(rootfs.login, overlays)
    sshd = plan_sshd(
        login,
        target,
        account,
        accounts,
        keys,
        {_host_key_path(key): key.public for key in identity.host_keys},
        drop_in.data.decode(),
        configuration_files(overlays),
    )
    _check_login(
        [
            *usability_reasons(login, account, accounts),
            *overlay_reasons(overlays, ssh_unit(login)),
            *sshd.reasons,
        ],
        account,
    )
    changes: list[Change] = [
        *login_repairs(login, account),
        rendered("/etc/fstab", "fstab.j2"),
        rendered("/etc/crypttab", "crypttab.j2", 0o600),
        rendered(
            rf"{UNITS}/systemd-cryptsetup@docker\x2ddata.service.d/50-makefs.conf",
            "makefs.conf.j2",
        ),
        rendered(f"/etc/modules-load.d/{VOLUME}.conf", "modules.conf.j2"),
        *(
            rendered(f"{UNITS}/{unit}.d/50-{VOLUME}.conf", "mounted-only.conf.j2", bind=bind)
            for bind, units in BINDS.items()
            for unit in units
        ),
        *(DirectoryChange(path, 0o711) for path in BINDS),
        DirectoryChange(MOUNT),
        text_file("/etc/hostname", f"{target.hostname}\n"),
        rendered("/etc/hosts", "hosts.j2"),
        text_file("/etc/machine-id", f"{identity.machine_id}\n", 0o444),
        *network_changes(target, source, rootfs, rendered),
        *_enabled_units(rootfs),
        SymlinkChange("/etc/localtime", f"/usr/share/zoneinfo/{target.timezone}"),
        text_file("/etc/timezone", f"{target.timezone}\n"),
        text_file("/etc/locale.conf", f"LANG={target.locale}\n"),
        text_file("/etc/default/locale", f"LANG={target.locale}\n"),
        *_ssh(rootfs, identity),
        drop_in,
        text_file(SSHD_CONFIG, sshd.text),
        text_file("/etc/passwd", accounts.passwd),
        text_file("/etc/group", accounts.group),
        FileChange("/etc/shadow", Secret(accounts.shadow.encode()), 0o640, 0, rootfs.shadow_gid),
        *_new_home(rootfs, account),
        *_authorized_keys(account, keys),
        *_boot_script(rootfs, identity, boot_script_kind, rendered),
        *(_uinitrd(source, initrd) if needs_uinitrd(rootfs, boot_script_kind) else ()),
        _card_record(board, target, source, identity),
    ]
    if target.user != "root" and rootfs.has_sudo:
        changes.append(rendered("/etc/sudoers.d/10-bootwright", "sudoers.j2", 0o440))
    return (*changes, *_overlay_changes(changes, overlays))


def boot_files(
    board: Board, source: Mmdebstrap | Tarball, rootfs: RootfsFacts, boot_script_kind: str
) -> tuple[str, ...]:
    """Return the files that the card's boot script loads.

    If the root file system has its own boot script, only the kernel is returned: what else that
    script loads is not known.
    """
    own = rootfs.boot_ini if boot_script_kind == "boot.ini" else rootfs.boot_txt
    if own:
        return (source.kernel,)
    device_tree = f"/boot/dtbs/{board.device_trees[0]}"
    return tuple(path for path in (source.kernel, source.initrd, device_tree) if path)


def needs_uinitrd(rootfs: RootfsFacts, boot_script_kind: str) -> bool:
    """Return whether the card's boot script loads :data:`~bootwright.card.boot_script.UINITRD`.

    It does if it is a ``boot.ini``, unless the root file system has its own.
    """
    return boot_script_kind == "boot.ini" and not rootfs.boot_ini


def _check_reachable(
    target: Target, rootfs: RootfsFacts, keys: Sequence[str], missing: Sequence[str]
) -> None:
    if not keys:
        raise RefusedError(
            "no SSH key for the board, where no password works: nobody could log in."
            " Give authorized_keys in bootwright.toml or --authorized-key FILE, or make a key"
            " with ssh-keygen"
        )
    lacking = [
        what
        for what, present in (
            ("a kernel", bool(rootfs.kernels)),
            ("sshd", rootfs.has_sshd),
            ("systemd-makefs", rootfs.has_systemd_makefs),
            ("systemd-networkd", rootfs.has_networkd),
            (f"the time zone {target.timezone}", rootfs.has_timezone),
        )
        if not present
    ]
    lacking += missing
    if lacking:
        raise RefusedError(
            f"the root file system lacks {', '.join(lacking)}: the card would not be usable"
        )


def _check_login(reasons: Sequence[str], account: Account) -> None:
    if reasons:
        raise RefusedError(
            f"{account.name} could not use a card of this root file system: {'; '.join(reasons)}."
            " Change the root file system, or user and port of the target"
        )


def _accounts(target: Target, rootfs: RootfsFacts) -> tuple[Accounts, Account]:
    """Return the accounts of the card, and the one that logs in; it is made if it is missing."""
    accounts = Accounts(rootfs.passwd, rootfs.shadow, rootfs.group)
    if target.user != "root" and not rootfs.has_sudo:
        # No password opens an account of the card, so su is no way either.
        raise RefusedError(
            f"the root file system has no sudo, so {target.user!r} could not become root;"
            ' use user = "root"'
        )
    account = find_account(accounts, target.user)
    if account is None:
        accounts = with_account(accounts, target.user)
        account = find_account(accounts, target.user)
        assert account is not None
    if not account.can_log_in:
        raise RefusedError(
            f"the account {target.user!r} of the root file system has the shell {account.shell}:"
            " nobody could log in; use another user"
        )
    return without_passwords(accounts, account.name), account


def _new_home(rootfs: RootfsFacts, account: Account) -> list[Change]:
    """Return the home of an account that the root file system does not have."""
    if account.home in rootfs.login.homes:
        return []
    return [DirectoryChange(account.home, 0o700, account.uid, account.gid)]


def _authorized_keys(account: Account, keys: Sequence[str]) -> list[Change]:
    folder = account.ssh_folder
    text = "".join(f"{key.strip()}\n" for key in keys).encode()
    return [
        DirectoryChange(folder, 0o700, account.uid, account.gid),
        FileChange(f"{folder}/authorized_keys", text, 0o600, account.uid, account.gid),
    ]


def _enabled_units(rootfs: RootfsFacts) -> list[Change]:
    wanted = [("multi-user.target.wants", "systemd-networkd.service")]
    changes: list[Change] = []
    if rootfs.has_resolved:
        wanted.append(("multi-user.target.wants", "systemd-resolved.service"))
        changes.append(SymlinkChange("/etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf"))
    if rootfs.has_timesyncd:
        wanted.append(("sysinit.target.wants", "systemd-timesyncd.service"))
    for folder, unit in wanted:
        changes.append(SymlinkChange(f"{UNITS}/{folder}/{unit}", f"{VENDOR_UNITS}/{unit}"))
    return changes


def _ssh(rootfs: RootfsFacts, identity: CardIdentity) -> list[Change]:
    changes: list[Change] = [Removal(path) for path in rootfs.host_keys]
    for key in identity.host_keys:
        path = _host_key_path(key)
        changes.append(FileChange(path, key.private, 0o600))
        changes.append(text_file(f"{path}.pub", f"{key.public}\n"))
    return changes


def _host_key_path(key: HostKey) -> str:
    return f"/etc/ssh/ssh_host_{key.kind}_key"


def _boot_script(
    rootfs: RootfsFacts, identity: CardIdentity, kind: str, rendered: Render
) -> list[Change]:
    if kind == "boot.ini":
        own = rootfs.boot_ini
        text = with_mac(own, identity.mac) if own else None
        script = text or rendered("/boot/boot.ini", "boot/boot.ini.j2").data.decode()
        return [text_file("/boot/boot.ini", check_boot_ini(script))]
    if rootfs.boot_txt:
        return [text_file(BOOT_TXT, with_mac(rootfs.boot_txt, identity.mac))]
    return [rendered(BOOT_TXT, "boot/boot.txt.j2")]


def _uinitrd(source: Mmdebstrap | Tarball, initrd: bytes) -> list[Change]:
    """Return the initial RAM disk with U-Boot's header, and the hook that makes it again."""
    hook = render_program(
        "card/shell/uinitrd.sh",
        initrd=source.initrd or "",
        image=UINITRD,
        maximum=str(INITRD_MAX),
    )
    return [
        FileChange(UINITRD, uinitrd(initrd)),
        text_file(UINITRD_HOOK, hook, 0o755),
        *(SymlinkChange(path, UINITRD_HOOK) for path in _UINITRD_LINKS),
    ]


UINITRD_HOOK = "/etc/initramfs/post-update.d/bootwright-uinitrd"
"""Runs on the board after Debian's ``update-initramfs`` has made an initial RAM disk."""

_UINITRD_LINKS = (
    # After a kernel was removed, when another one is booted.
    "/etc/kernel/postrm.d/zz-bootwright-uinitrd",
    # After Arch Linux's mkinitcpio.
    "/etc/initcpio/post/bootwright-uinitrd",
)
"""Further places from which the same hook runs."""

BOOT_TXT = "/boot/boot.txt"
"""The source of a boot script; if it is written, :data:`BOOT_SCR` is compiled from it."""

BOOT_SCR = "/boot/boot.scr"


def _card_record(
    board: Board, target: Target, source: Mmdebstrap | Tarball, identity: CardIdentity
) -> FileChange:
    record = CardRecord(
        target=target.name,
        board=board.name,
        rootfs=source.name,
        unlock=target.unlock,
        user=target.user,
        hostname=target.hostname,
        root_uuid=identity.root_uuid,
        luks_uuid=identity.luks_uuid,
    )
    return text_file(RECORD_PATH, record.text())


def _overlay_changes(own: Sequence[Change], overlays: Iterable[OverlayEntry]) -> list[Change]:
    taken = {change.path for change in own if not isinstance(change, Removal)} | {BOOT_SCR}
    changes: list[Change] = []
    for entry in overlays:
        if entry.path in taken:
            raise InputError(
                f"overlay {entry.overlay}: {entry.path} is written by bootwright itself; take it"
                " out of the overlay"
            )
        if entry.link_target is not None:
            changes.append(SymlinkChange(entry.path, entry.link_target))
        else:
            changes.append(FileChange(entry.path, entry.content or b"", entry.mode))
    return changes
