"""An overlay is copied last: what it brings counts, and nothing of it is repaired."""

import pytest

from bootwright.card.overlays import OverlayEntry
from bootwright.core.errors import InputError, RefusedError
from bootwright.rootfs.sshd_config import SSHD_CONFIG
from tests.card.test_personalise import planned, with_login

UNITS = "/etc/systemd/system"


def file(path: str, content: str = "") -> OverlayEntry:
    return OverlayEntry(path, content.encode(), None, 0o644, "mine")


def link(path: str, to: str) -> OverlayEntry:
    return OverlayEntry(path, None, to, 0o777, "mine")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ((file("/etc/nologin"),), "the overlay mine brings /etc/nologin"),
        ((link("/etc/ssh/sshd_not_to_be_run", "x"),), "brings /etc/ssh/sshd_not_to_be_run"),
        ((link(f"{UNITS}/ssh.service", "/dev/null"),), "the overlay mine masks ssh.service"),
        ((file(f"{UNITS}/ssh.service"),), "the overlay mine masks ssh.service"),
        ((link(f"{UNITS}/multi-user.target", "/dev/null"),), "multi-user.target is masked"),
        ((link(f"{UNITS}/default.target", "x/rescue.target"),), "is a link to rescue.target"),
        ((file("/etc/hosts.deny", "sshd: ALL\n"),), "hosts.deny denies SSH: sshd: ALL"),
        (
            (
                file("/etc/security/access.conf", "-:ALL:ALL\n"),
                file("/etc/pam.d/sshd", "account required pam_access.so\n"),
            ),
            "access.conf denies logins",
        ),
        ((file("/etc/ssh/sshd_config.d/9.conf", "AllowUsers x\n"),), "AllowUsers x"),
        ((file("/etc/more.conf", "AllowUsers x\n"),), "AllowUsers x (/etc/more.conf, line 1)"),
    ],
)
def test_what_closes_out_the_operator_is_refused(
    entries: tuple[OverlayEntry, ...], reason: str
) -> None:
    config = "Include /etc/ssh/sshd_config.d/*.conf /etc/more.conf\n"
    with pytest.raises(RefusedError) as caught:
        planned(rootfs=with_login(sshd_files={SSHD_CONFIG: config}), overlays=entries)
    assert reason in str(caught.value)


def test_a_socket_of_an_overlay_moves_the_port() -> None:
    only = with_login(
        enabled_units=frozenset({"ssh.socket"}),
        unit_files={"ssh.socket": "/usr/lib/systemd/system/ssh.socket"},
        unit_texts={"/usr/lib/systemd/system/ssh.socket": "[Socket]\nListenStream=22\n"},
    )
    drop_in = "[Socket]\nListenStream=\nListenStream=2200\n"
    entry = file(f"{UNITS}/ssh.socket.d/port.conf", drop_in)
    with pytest.raises(RefusedError, match=r"ssh\.socket listens on port 2200"):
        planned(rootfs=only, overlays=(entry,))
    planned(rootfs=only, overlays=(entry,), port=2200)


def test_an_overlay_can_bring_what_starts_sshd() -> None:
    bare = with_login(enabled_units=frozenset(), unit_files={})
    unit = file(f"{UNITS}/sshd.service", "[Service]\n")
    enabled = f"{UNITS}/multi-user.target.wants/sshd.service"
    assert enabled in planned(rootfs=bare, overlays=(unit,))
    own = link(enabled, unit.path)
    assert enabled in planned(rootfs=bare, overlays=(unit, own))
    # In place of a mask of the root file system's.
    masked = with_login(masked_units=frozenset({"ssh.service"}))
    planned(rootfs=masked, overlays=(file(f"{UNITS}/ssh.service", "[Service]\n"),))


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow", "/etc/group"])
def test_the_accounts_are_those_of_the_card(path: str) -> None:
    with pytest.raises(InputError, match=f"overlay mine: {path} is written by bootwright itself"):
        planned(overlays=(file(path, "root:x:0:0::/:/bin/false\n"),))


def test_an_overlay_of_other_things_changes_nothing() -> None:
    entries = (file("/etc/motd", "hello\n"), link(f"{UNITS}/getty@tty1.service", "/dev/null"))
    assert set(planned(overlays=entries)) == set(planned()) | {entry.path for entry in entries}
