"""The changes for a card: login only with a key, Docker only on the volume, a new identity."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bootwright.card.boot_script import uinitrd
from bootwright.card.io.identity import new_identity
from bootwright.card.overlays import OverlayEntry
from bootwright.card.personalise import boot_files, needs_uinitrd, plan_personalisation
from bootwright.core import paths
from bootwright.core.board import load_board
from bootwright.core.config import load_config
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.file_changes import Change, DirectoryChange, FileChange, Removal, SymlinkChange
from bootwright.core.templates import Renderer
from bootwright.rootfs.facts import RootfsFacts
from bootwright.rootfs.source import load_source
from bootwright.rootfs.sshd_config import SSHD_CONFIG
from bootwright.volume.luks_plan import plan_luks
from tests.support.accounts import logins_with_password
from tests.support.rootfs_facts import FACTS
from tests.support.schemas import check_document

ROOT = paths.checkout()
KEY = "ssh-ed25519 AAAAC3Nza operator@bench"
IDENTITY = new_identity("auto", "bench")


def planned(
    rootfs: RootfsFacts = FACTS,
    keys: tuple[str, ...] = (KEY,),
    overlays: tuple[OverlayEntry, ...] = (),
    script: str = "boot.scr",
    missing_boot_files: tuple[str, ...] = (),
    initrd: bytes = b"",
    **settings: Any,
) -> dict[str, Change]:
    board = load_board(ROOT / "board", "odroid-xu3")
    target = load_config(ROOT, "odroid", {"rootfs": "debian", **settings}).target
    changes = plan_personalisation(
        board,
        target,
        load_source(ROOT, "debian"),
        rootfs,
        IDENTITY,
        plan_luks(board, target, rootfs, IDENTITY.luks_uuid),
        keys,
        overlays,
        Renderer(ROOT / "templates"),
        script,
        missing_boot_files,
        initrd,
    )
    return {change.path: change for change in changes}


def with_login(**changed: Any) -> RootfsFacts:
    """Return the usual facts with others about logins."""
    return replace(FACTS, login=replace(FACTS.login, **changed))


def text(changes: dict[str, Change], path: str) -> str:
    change = changes[path]
    assert isinstance(change, FileChange)
    return change.data.decode()


def lines(changes: dict[str, Change], path: str) -> list[list[str]]:
    return [line.split() for line in text(changes, path).splitlines() if line and line[0] != "#"]


def test_fstab_and_crypttab_use_uuids_and_docker_is_bound_to_the_volume() -> None:
    changes = planned()
    fstab = {row[1]: row for row in lines(changes, "/etc/fstab")}
    assert fstab["/"][0] == f"UUID={IDENTITY.root_uuid}"
    assert fstab["/mnt/docker-data"][0] == "/dev/mapper/docker-data"
    assert "x-systemd.growfs" in fstab["/mnt/docker-data"][3]
    for bound in ("/var/lib/docker", "/var/lib/containerd"):
        assert fstab[bound][0] == f"/mnt/docker-data{bound}"
        assert fstab[bound][3].split(",")[0] == "bind"
    assert lines(changes, "/etc/crypttab") == [
        ["docker-data", f"UUID={IDENTITY.luks_uuid}", "none", "luks,tries=3"]
    ]
    assert not any("noauto" in row[3] for row in fstab.values())


def test_an_ssh_target_boots_without_the_volume() -> None:
    changes = planned(unlock="ssh")
    fstab = {row[1]: row[3] for row in lines(changes, "/etc/fstab")}
    assert "noauto" not in fstab["/"]
    assert all("noauto" in fstab[path] for path in fstab if path != "/")
    assert lines(changes, "/etc/crypttab")[0][3].endswith(",noauto")
    gate = text(changes, "/etc/systemd/system/docker.service.d/50-docker-data.conf")
    assert "ConditionPathIsMountPoint=/var/lib/docker" in gate
    assert "RequiresMountsFor" not in gate


@pytest.mark.parametrize(
    ("unit", "path"),
    [
        ("docker.service", "/var/lib/docker"),
        ("docker.socket", "/var/lib/docker"),
        ("containerd.service", "/var/lib/containerd"),
    ],
)
def test_nothing_of_docker_starts_without_its_mount(unit: str, path: str) -> None:
    gate = text(planned(), f"/etc/systemd/system/{unit}.d/50-docker-data.conf")
    assert f"RequiresMountsFor={path}" in gate
    assert f"AssertPathIsMountPoint={path}" in gate


def test_no_password_works_and_the_key_is_written() -> None:
    changes = planned()
    assert logins_with_password(text(changes, "/etc/shadow")) == []
    shadow = changes["/etc/shadow"]
    assert isinstance(shadow, FileChange)
    assert (shadow.mode, shadow.gid) == (0o640, 42)
    assert text(changes, "/root/.ssh/authorized_keys") == f"{KEY}\n"
    assert changes["/root/.ssh"] == DirectoryChange("/root/.ssh", 0o700)
    sshd = text(changes, "/etc/ssh/sshd_config.d/10-bootwright.conf")
    assert "PasswordAuthentication no" in sshd
    assert "PermitRootLogin prohibit-password" in sshd


def test_without_a_key_the_card_is_refused() -> None:
    with pytest.raises(RefusedError, match="ssh-keygen"):
        planned(keys=())


def test_a_new_user_gets_a_home_a_key_and_sudo() -> None:
    changes = planned(user="pilot")
    assert "pilot:x:1001:1001::/home/pilot:/bin/bash" in text(changes, "/etc/passwd")
    assert changes["/home/pilot"] == DirectoryChange("/home/pilot", 0o700, 1001, 1001)
    key = changes["/home/pilot/.ssh/authorized_keys"]
    assert isinstance(key, FileChange)
    assert (key.uid, key.mode) == (1001, 0o600)
    assert "PermitRootLogin no" in text(changes, "/etc/ssh/sshd_config.d/10-bootwright.conf")
    sudoers = changes["/etc/sudoers.d/10-bootwright"]
    assert isinstance(sudoers, FileChange)
    assert sudoers.mode == 0o440


@pytest.mark.parametrize("user", ["pilot", "alarm"])
def test_a_user_without_sudo_is_refused(user: str) -> None:
    with pytest.raises(RefusedError, match="could not become root"):
        planned(rootfs=replace(FACTS, has_sudo=False), user=user)


@pytest.mark.parametrize("lack", ["has_sshd", "has_systemd_makefs", "has_networkd", "has_timezone"])
def test_a_root_file_system_that_lacks_something_is_refused(lack: str) -> None:
    changed: dict[str, Any] = {lack: False}
    with pytest.raises(RefusedError, match="lacks"):
        planned(rootfs=replace(FACTS, **changed))


def test_the_identity_is_written_and_shared_host_keys_are_removed() -> None:
    changes = planned()
    assert text(changes, "/etc/machine-id") == f"{IDENTITY.machine_id}\n"
    assert all(isinstance(changes[path], Removal) for path in FACTS.host_keys)
    for key in IDENTITY.host_keys:
        private = changes[f"/etc/ssh/ssh_host_{key.kind}_key"]
        assert isinstance(private, FileChange)
        assert private.mode == 0o600
    assert f"MACAddress={IDENTITY.mac}" in text(changes, "/etc/systemd/network/10-bootwright.link")
    assert IDENTITY.mac in text(changes, "/boot/boot.txt")


@pytest.mark.parametrize(
    "own",
    [
        "PermitRootLogin yes\nPasswordAuthentication yes\n",
        "PermitRootLogin no\nInclude /etc/ssh/sshd_config.d/*.conf\n",
        "Match User nobody\nInclude /etc/ssh/sshd_config.d/*.conf\n",
    ],
)
def test_our_include_is_first_in_sshd_config(own: str) -> None:
    changes = planned(rootfs=with_login(sshd_files={SSHD_CONFIG: own}))
    assert text(changes, "/etc/ssh/sshd_config") == (
        f"Include /etc/ssh/sshd_config.d/10-bootwright.conf\n{own}"
    )


def test_an_account_that_cannot_log_in_is_refused() -> None:
    passwd = FACTS.passwd.replace("/home/alarm:/bin/bash", "/home/alarm:/usr/sbin/nologin")
    with pytest.raises(RefusedError, match="nologin"):
        planned(rootfs=replace(FACTS, passwd=passwd), user="alarm")


def test_in_an_existing_boot_script_only_the_mac_is_changed() -> None:
    own = '# After modifying, run ./mkscr\n# setenv macaddr "00:1e:ee:61:7a:39"\nbootz\n'
    script = text(planned(rootfs=replace(FACTS, boot_txt=own)), "/boot/boot.txt")
    assert script == own.replace(
        '# setenv macaddr "00:1e:ee:61:7a:39"', f'setenv macaddr "{IDENTITY.mac}"'
    )


def test_the_vendors_u_boot_gets_boot_ini() -> None:
    changes = planned(script="boot.ini", initrd=b"a RAM disk")
    script = text(changes, "/boot/boot.ini")
    assert script.startswith("ODROIDXU-UBOOT-CONFIG\n")
    assert "console=ttySAC2,115200n8" in script
    # U-Boot 2012.07 passes an empty RAM disk if it is given as ADDRESS:LENGTH.
    assert script.splitlines()[-1] == "bootz 0x40008000 0x42000000 0x44000000"
    assert changes["/boot/uInitrd"] == FileChange("/boot/uInitrd", uinitrd(b"a RAM disk"))
    hook = changes["/etc/initramfs/post-update.d/bootwright-uinitrd"]
    assert isinstance(hook, FileChange)
    assert hook.mode == 0o755
    assert "\ninitrd=/initrd.img\nimage=/boot/uInitrd\n" in hook.data.decode()
    for path in (
        "/etc/kernel/postrm.d/zz-bootwright-uinitrd",
        "/etc/initcpio/post/bootwright-uinitrd",
    ):
        assert changes[path] == SymlinkChange(path, hook.path)


@pytest.mark.parametrize(
    ("script", "rootfs"),
    [("boot.scr", FACTS), ("boot.ini", replace(FACTS, boot_ini="ODROIDXU-UBOOT-CONFIG\n"))],
)
def test_other_boot_scripts_get_no_uinitrd(script: str, rootfs: RootfsFacts) -> None:
    assert not needs_uinitrd(rootfs, script)
    assert not any("uinitrd" in path.lower() for path in planned(rootfs=rootfs, script=script))


def test_the_boot_script_sets_a_mac_address_that_u_boot_has_set_already() -> None:
    script = text(planned(), "/boot/boot.txt")
    assert 'setenv -f ethaddr "${macaddr}"' in script
    assert 'setenv -f usbethaddr "${macaddr}"' in script


@pytest.mark.parametrize("script", ["boot.txt", "boot.ini"])
def test_the_kernel_gets_no_argument_that_its_ethernet_driver_does_not_have(script: str) -> None:
    # No driver of Debian's kernel has `macaddr`; the .link file sets the address.
    kind = script.replace(".txt", ".scr")
    made = text(planned(script=kind), f"/boot/{script}")
    assert ".macaddr=" not in made
    assert "root=UUID=" in made


def test_a_board_that_the_card_was_not_made_for_gets_the_first_device_tree() -> None:
    (line,) = [one for one in text(planned(), "/boot/boot.txt").splitlines() if "dtbs" in one]
    own, _, other = line.partition(" || ")
    assert own.endswith(" ${fdt_addr_r} /boot/dtbs/${fdtfile}")
    assert other == own.replace("${fdtfile}", "exynos5422-odroidxu3.dtb")


def test_a_card_without_what_its_boot_script_loads_is_refused() -> None:
    board = load_board(ROOT / "board", "odroid-xu3")
    source = load_source(ROOT, "debian")
    needed = boot_files(board, source, FACTS, "boot.scr")
    assert needed == ("/vmlinuz", "/initrd.img", "/boot/dtbs/exynos5422-odroidxu3.dtb")
    own = replace(FACTS, boot_txt="bootz\n")
    assert boot_files(board, source, own, "boot.scr") == ("/vmlinuz",)
    with pytest.raises(RefusedError, match=r"lacks /initrd\.img"):
        planned(missing_boot_files=("/initrd.img",))


def test_the_time_zone_and_the_host_name_are_written() -> None:
    changes = planned(timezone="Europe/Zurich", hostname="probe-7")
    assert changes["/etc/localtime"] == SymlinkChange(
        "/etc/localtime", "/usr/share/zoneinfo/Europe/Zurich"
    )
    assert text(changes, "/etc/hostname") == "probe-7\n"
    record = check_document("card", json.loads(text(changes, "/etc/bootwright/card.json")))
    assert record["hostname"] == "probe-7"


def test_an_overlay_adds_files_and_may_not_replace_ours() -> None:
    script = OverlayEntry("/usr/local/bin/x", b"#!/bin/sh\n", None, 0o750, "mine")
    added = planned(overlays=(script,))["/usr/local/bin/x"]
    assert added == FileChange("/usr/local/bin/x", b"#!/bin/sh\n", 0o750)
    with pytest.raises(InputError, match=r"overlay mine: /etc/crypttab"):
        planned(overlays=(replace(script, path="/etc/crypttab"),))


def test_no_two_cards_share_anything_that_identifies_them() -> None:
    other = new_identity("auto", "bench")
    for field in ("root_uuid", "luks_uuid", "disk_id", "machine_id", "mac", "hash_seed"):
        assert getattr(other, field) != getattr(IDENTITY, field)
    assert {key.public for key in other.host_keys}.isdisjoint(
        {key.public for key in IDENTITY.host_keys}
    )
    # Unicast and locally administered.
    assert int(other.mac[:2], 16) & 0b11 == 0b10
