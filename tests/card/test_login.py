"""The operator can log in to a finished card: what is repaired, and what is refused and why."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from bootwright.card.overlays import OverlayEntry
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.file_changes import DirectoryChange, FileChange, Removal, SymlinkChange
from bootwright.rootfs.facts import RootfsFacts
from bootwright.rootfs.login_facts import IDENTITY_FILES, Attributes, Home
from bootwright.rootfs.sshd_config import SSHD_CONFIG
from tests.card.test_personalise import KEY, planned, text, with_login
from tests.support.rootfs_facts import FACTS, LOGIN

UNITS = "/etc/systemd/system"


ROOTS = Attributes(0o755, 0, 0)


def root_home(mode: int, uid: int, root: Attributes = ROOTS) -> dict[str, Home]:
    return {**LOGIN.homes, "/root": Home("/root", (("/", root),), Attributes(mode, uid, uid))}


def test_a_usual_root_file_system_needs_no_repair() -> None:
    changes = planned()
    assert not [path for path, change in changes.items() if path in ("/", "/root", "/home")]
    assert [p for p, change in changes.items() if isinstance(change, Removal)] == list(
        FACTS.host_keys
    )
    assert text(changes, SSHD_CONFIG).count("\n") == LOGIN.sshd_files[SSHD_CONFIG].count("\n") + 1


@pytest.mark.parametrize(
    "root",
    [Attributes(0o700, 0, 0), Attributes(0o755, 1000, 1000), Attributes(0o777, 0, 0)],
)
def test_the_root_folder_is_opened_to_all_and_given_to_root(root: Attributes) -> None:
    changes = planned(rootfs=with_login(homes=root_home(0o700, 0, root)))
    assert changes["/"] == DirectoryChange("/", 0o755)


@pytest.mark.parametrize(("mode", "uid"), [(0o777, 1000), (0o770, 0), (0o700, 1000), (0o050, 0)])
def test_a_home_that_sshd_would_not_trust_is_closed(mode: int, uid: int) -> None:
    changes = planned(rootfs=with_login(homes=root_home(mode, uid)))
    assert changes["/root"] == DirectoryChange("/root", 0o700)


def test_a_missing_home_and_the_way_to_it_are_made() -> None:
    way = (("/", Attributes(0o755, 0, 0)), ("/home", Attributes(0o700, 1000, 1000)))
    homes = {"/home/alarm": Home("/home/alarm", way, None)}
    changes = planned(rootfs=with_login(homes=homes), user="alarm")
    assert changes["/home"] == DirectoryChange("/home")
    assert changes["/home/alarm"] == DirectoryChange("/home/alarm", 0o700, 1000, 1000)


def test_a_new_account_gets_a_home_on_a_way_that_it_can_pass() -> None:
    folders = {**LOGIN.folders, "/home": Attributes(0o700, 0, 0)}
    changes = planned(rootfs=with_login(folders=folders), user="pilot")
    assert changes["/home"] == DirectoryChange("/home")


def test_missing_mount_points_are_made() -> None:
    folders = {p: a for p, a in LOGIN.folders.items() if p not in ("/proc", "/tmp")}
    changes = planned(rootfs=with_login(folders=folders))
    assert changes["/proc"] == DirectoryChange("/proc")
    assert changes["/tmp"] == DirectoryChange("/tmp", 0o1777)


def test_sshd_is_enabled_where_it_is_only_installed() -> None:
    link = f"{UNITS}/multi-user.target.wants/sshd.service"
    # The second folder is that of Debian's packages where /usr is not merged.
    for folder in ("/usr/lib/systemd/system", "/lib/systemd/system"):
        unit = f"{folder}/sshd.service"
        arch = with_login(enabled_units=frozenset(), unit_files={"sshd.service": unit})
        assert planned(rootfs=arch)[link] == SymlinkChange(link, unit)
    assert not [path for path in planned() if path.endswith("/ssh.service")]


def test_units_that_the_card_relies_on_are_unmasked() -> None:
    masked = frozenset({"systemd-networkd.service", "systemd-resolved.service", "ssh.service"})
    changes = planned(rootfs=with_login(masked_units=masked))
    for unit in masked:
        assert changes[f"{UNITS}/{unit}"] == Removal(f"{UNITS}/{unit}")
    # Another unit starts sshd: the operator's mask stays.
    other = with_login(
        masked_units=frozenset({"ssh.service"}), enabled_units=frozenset({"ssh.socket"})
    )
    assert f"{UNITS}/ssh.service" not in planned(rootfs=other)


def test_what_closes_all_logins_is_removed() -> None:
    blockers = ("/etc/nologin", "/etc/ssh/sshd_not_to_be_run")
    changes = planned(rootfs=with_login(blockers=blockers))
    assert all(changes[path] == Removal(path) for path in blockers)


def test_nobody_else_can_log_in_and_no_identity_stays() -> None:
    keys = ("/root/.ssh/authorized_keys2", "/home/alarm/.ssh/authorized_keys")
    changes = planned(rootfs=with_login(key_files=keys, identity_files=IDENTITY_FILES))
    for path in (*keys, *IDENTITY_FILES):
        if path == "/var/lib/dbus/machine-id":
            assert changes[path] == SymlinkChange(path, "/etc/machine-id")
        else:
            assert changes[path] == Removal(path)
    assert text(changes, "/root/.ssh/authorized_keys") == f"{KEY}\n"


def test_a_link_in_place_of_the_key_folder_is_replaced() -> None:
    facts = with_login(
        ssh_links=("/root/.ssh",), key_files=("/root/.ssh/authorized_keys2",), homes=LOGIN.homes
    )
    changes = planned(rootfs=facts)
    assert "/root/.ssh/authorized_keys2" not in changes  # it is where the link leads to
    assert changes["/root/.ssh"] == DirectoryChange("/root/.ssh", 0o700)


def test_an_overlay_may_bring_what_was_removed() -> None:
    facts = with_login(key_files=("/home/alarm/.ssh/authorized_keys",))
    own = OverlayEntry("/home/alarm/.ssh/authorized_keys", b"k\n", None, 0o644, "mine")
    changes = planned(rootfs=facts, overlays=(own,))
    assert isinstance(changes[own.path], FileChange)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"shells": frozenset({"/bin/sh"})}, "the shell of root, /bin/bash, is not there"),
        ({"has_mkfs_ext4": False}, "mkfs.ext4"),
        ({"enabled_units": frozenset(), "unit_files": {}}, "no unit starts sshd"),
        ({"masked_units": frozenset({"multi-user.target"})}, "multi-user.target is masked"),
        ({"default_target": "rescue.target"}, "default.target is a link to rescue.target"),
        (
            {"folders": {**LOGIN.folders, "/etc": Attributes(0o755, 1000, 1000)}},
            "/etc belong to 1000:1000",
        ),
        ({"folders": {**LOGIN.folders, "/usr": Attributes(0o700, 0, 0)}}, "/usr has mode 0700"),
        ({"folders": {**LOGIN.folders, "/var": Attributes(0o777, 0, 0)}}, "/var has mode 0777"),
        ({"hosts_deny": "# x\nALL: ALL\n"}, "hosts.deny"),
        ({"hosts_deny": "ftpd, sshd : ALL EXCEPT localhost 127.0.0.1\n"}, "hosts.deny"),
    ],
)
def test_what_is_not_ours_to_repair_is_refused_with_the_reason(
    changed: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RefusedError, match="root could not use a card") as caught:
        planned(rootfs=with_login(**changed))
    assert reason in str(caught.value)


def test_tcp_wrappers_do_not_count_where_sshd_does_not_use_them() -> None:
    planned(rootfs=with_login(hosts_deny="ALL: ALL\n", has_tcp_wrappers=False))


def test_tcp_wrappers_that_let_ssh_in_are_no_reason() -> None:
    planned(rootfs=with_login(hosts_deny="ALL: ALL\n", hosts_allow="sshd: 192.0.2.\n"))
    planned(rootfs=with_login(hosts_deny="ftpd: ALL\nALL: PARANOID\n"))
    planned(rootfs=with_login(hosts_deny="ALL EXCEPT sshd: ALL\n"))
    planned(rootfs=with_login(hosts_deny="sshd: ALL EXCEPT 192.0.2.0/255.255.255.0\n"))


@pytest.mark.parametrize(
    "changed",
    [
        {"default_target": "runlevel5.target"},
        {"default_target": "kiosk.target"},
        {"folders": {**LOGIN.folders, "/etc/ssh": Attributes(0o700, 0, 0)}},
    ],
)
def test_what_hinders_no_login_is_no_reason(changed: dict[str, Any]) -> None:
    planned(rootfs=with_login(**changed))


@pytest.mark.parametrize(
    ("conf", "user", "is_refused"),
    [
        ("- : ALL : ALL\n", "root", True),
        ("-:ALL EXCEPT root:ALL\n", "root", False),
        ("-:ALL EXCEPT root:ALL\n", "alarm", True),
        ("+:(alarm):ALL\n-:ALL:ALL\n", "alarm", False),
        ("+:alarm:ALL\n-:ALL:ALL\n", "root", True),
        ("-:root:LOCAL\n", "root", False),
        ("+:root:192.0.2.0/24\n-:ALL:ALL\n", "root", False),
        ("+:root:192.0.2.0/24\n-:ALL:ALL\n", "alarm", True),
        ("+ : root : cron crond :0 tty1\n- : ALL : ALL\n", "root", True),
        ("-:ALL:ALL EXCEPT 192.0.2.\n", "root", False),
        ("-:ALL EXCEPT (wheel):ALL EXCEPT LOCAL\n", "root", True),
        ("# -:ALL:ALL\n", "root", False),
    ],
)
def test_access_conf_counts_where_pam_asks_for_it(conf: str, user: str, is_refused: bool) -> None:
    planned(rootfs=with_login(access_conf=conf), user=user)
    facts = with_login(access_conf=conf, pam_modules=frozenset({"pam_access.so"}))
    if is_refused:
        with pytest.raises(RefusedError, match=r"access\.conf denies"):
            planned(rootfs=facts, user=user)
    else:
        planned(rootfs=facts, user=user)


def test_root_has_the_number_0() -> None:
    passwd = FACTS.passwd.replace("root:x:0:", "root:x:1000:")
    with pytest.raises(RefusedError, match="gives the account root the number 1000"):
        planned(rootfs=replace(FACTS, passwd=passwd))


# --- sshd_config


def sshd(own: str, files: dict[str, str] | None = None, **settings: Any) -> str:
    """Return the card's sshd_config, made of ``own`` and further files of the root file system."""
    facts = with_login(sshd_files={SSHD_CONFIG: own, **(files or {})})
    return text(planned(rootfs=facts, **settings), SSHD_CONFIG)


FIRST = "Include /etc/ssh/sshd_config.d/10-bootwright.conf\n"


@pytest.mark.parametrize(
    ("own", "lines"),
    [
        ("PubkeyAuthentication no\n", "PubkeyAuthentication yes\n"),
        ("AuthorizedKeysFile /etc/ssh/keys/%u\n", "AuthorizedKeysFile .ssh/authorized_keys\n"),
        ("authorizedkeysfile=none\n", "AuthorizedKeysFile .ssh/authorized_keys\n"),
        ("AuthorizedKeysFile %h/.ssh/authorized_keys .ssh/authorized_keys2\n", ""),
        ("AuthorizedKeysCommand /usr/bin/ask\n", "AuthorizedKeysCommand none\n"),
        ("TrustedUserCAKeys /etc/ssh/ca.pub\n", "TrustedUserCAKeys none\n"),
        (
            "HostKey /etc/ssh/ssh_host_rsa_key\n",
            "HostKey /etc/ssh/ssh_host_ed25519_key\nHostKey /etc/ssh/ssh_host_ecdsa_key\n",
        ),
        ("HostKey /etc/ssh/ssh_host_ed25519_key\n", ""),
        ("# PubkeyAuthentication no\n", ""),
    ],
)
def test_the_first_lines_of_sshd_config_open_the_way_for_the_key(own: str, lines: str) -> None:
    assert sshd(own) == f"{FIRST}{lines}{own}"


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ("AllowUsers alarm\n", "AllowUsers alarm (/etc/ssh/sshd_config, line 2)"),
        ("DenyUsers  nobody ro*\n", "DenyUsers nobody ro*"),
        ("AllowGroups wheel\n", "AllowGroups wheel"),
        ("DenyGroups root\n", "DenyGroups root"),
        ("AuthenticationMethods publickey,password\n", "AuthenticationMethods"),
        ("ForceCommand /bin/false\n", "ForceCommand"),
        ("MaxSessions 0\n", "MaxSessions 0"),
        ("Match User root\nPubkeyAuthentication no\n", "PubkeyAuthentication no"),
        ("Match all\nPermitRootLogin no\n", "PermitRootLogin no"),
        ("Match Group root\nAuthorizedKeysFile /x\n", "AuthorizedKeysFile /x"),
        ("Match all\nAuthorizedKeysFile ~/.ssh/authorized_keys\n", "AuthorizedKeysFile ~"),
        ("Match all\nAuthorizedKeysFile %%h/.ssh/authorized_keys\n", "AuthorizedKeysFile %%h"),
        ("PubkeyAcceptedKeyTypes ssh-rsa,ecdsa-*\n", "PubkeyAcceptedAlgorithms"),
        ("RefuseConnection yes\n", "RefuseConnection yes"),
        ("Match User r*\nRefuseConnection yes\n", "RefuseConnection yes"),
        ("HostKeyAlgorithms ssh-rsa,rsa-sha2-*\n", "HostKeyAlgorithms ssh-rsa,rsa-sha2-*"),
        ("HostKeyAlgorithms -ssh-ed25519,ecdsa-*\n", "HostKeyAlgorithms"),
        ("Port 2222\n", "set port = 2222"),
        ("ListenAddress 0.0.0.0:2200\n", "set port = 2200"),
        ("ListenAddress 127.0.0.1\nListenAddress [::1]:22\n", "loopback"),
    ],
)
def test_an_sshd_that_would_not_let_the_operator_in_is_refused(own: str, reason: str) -> None:
    with pytest.raises(RefusedError) as caught:
        sshd(own)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "own",
    [
        "AllowUsers alarm\nAllowUsers ro?t\n",
        "AllowUsers root@192.0.2.*\n",
        "DenyUsers root@203.0.113.9\n",
        "AllowGroups wheel root\n",
        "AuthenticationMethods publickey,password publickey\n",
        "Match User alarm\nPubkeyAuthentication no\nAllowUsers nobody\n",
        "Match Address 192.0.2.0/24\nPermitRootLogin no\n",
        "Match User *,!root\nForceCommand internal-sftp\n",
        "PubkeyAcceptedAlgorithms -ssh-rsa\n",
        "HostKeyAlgorithms -ssh-ed25519\nRequiredRSASize 16384\n",
        "RefuseConnection no\nMatch User alarm\nRefuseConnection yes\n",
        "Port 2222\nPort 22\n",
        "ForceCommand none\nPermitRootLogin no\n",
    ],
)
def test_an_sshd_that_lets_the_operator_in_stays_as_it_is(own: str) -> None:
    assert sshd(own) == FIRST + own


def rsa(bits: int) -> str:
    """An RSA public key of this length that nobody has the private half of."""
    fields = (b"ssh-rsa", b"\1\0\1", (1 << (bits - 1)).to_bytes(bits // 8 + 1, "big"))
    blob = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return f"ssh-rsa {base64.b64encode(blob).decode()} operator"


def test_a_short_rsa_key_alone_is_refused() -> None:
    own = "RequiredRSASize 3072\n"
    with pytest.raises(RefusedError, match=r"RequiredRSASize 3072 .* less than 3072 bits"):
        sshd(own, keys=(rsa(2048),))
    with pytest.raises(RefusedError, match="sshd accepts no RSA key with less than 1024 bits"):
        sshd("", keys=(rsa(768),))
    for keys in ((rsa(3072),), (rsa(2048), KEY), ("ssh-rsa AAAA broken",)):
        assert sshd(own, keys=keys) == FIRST + own
    with pytest.raises(RefusedError, match="PubkeyAcceptedAlgorithms ssh-rsa"):
        sshd(f"{own}PubkeyAcceptedAlgorithms ssh-rsa,rsa-*\n", keys=(rsa(2048), KEY))


def socket(listen: str, **changed: Any) -> RootfsFacts:
    """Facts where a socket starts sshd: ``listen`` are its lines, which follow those of Debian."""
    unit, drop_in = "/usr/lib/systemd/system/ssh.socket", f"{UNITS}/ssh.socket.d/port.conf"
    files = {unit: "[Socket]\nListenStream=22\nAccept=yes\n", drop_in: f"[Socket]\n{listen}"}
    enabled = {"enabled_units": frozenset({"ssh.socket"}), "unit_files": {"ssh.socket": unit}}
    return with_login(**{**enabled, "unit_texts": files, **changed})


def test_a_socket_that_starts_sshd_decides_about_the_port() -> None:
    moved = socket("ListenStream=\nListenStream=0.0.0.0:2222\n")
    with pytest.raises(RefusedError, match=r"ssh\.socket listens on port 2222, .* port = 2222"):
        planned(rootfs=moved)
    planned(rootfs=moved, port=2222)
    with pytest.raises(RefusedError, match=r"ssh\.socket, which starts sshd, listens on no port"):
        planned(rootfs=socket("ListenStream=\nListenStream=127.0.0.1:22\n"))
    # sshd_config does not matter then, unless a generator makes the socket follow it.
    config = {SSHD_CONFIG: "Port 2200\n"}
    planned(rootfs=socket("", sshd_files=config))
    with pytest.raises(RefusedError, match="sshd listens on port 2200"):
        planned(rootfs=socket("", sshd_files=config, sockets_follow_config=True))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("-p 2222", "sshd listens on port 2222"),
        ("-oAllowUsers=x", "AllowUsers x (the command line in ssh.service, line 1)"),
        ("-o PubkeyAuthentication=no", "PubkeyAuthentication no (the command line"),
        ("-f /etc/other", "ssh.service starts sshd with another configuration, /etc/other"),
    ],
)
def test_the_options_of_sshd_count(options: str, reason: str) -> None:
    texts = {
        "/usr/lib/systemd/system/ssh.service": "[Service]\nExecStart=/usr/sbin/sshd -D $OPTIONS\n"
        "EnvironmentFile=/etc/default/ssh\n",
        "/etc/default/ssh": f"OPTIONS={options}\n",
    }
    with pytest.raises(RefusedError) as caught:
        planned(rootfs=with_login(unit_texts=texts))
    assert reason in str(caught.value)


def test_an_sshd_config_that_includes_itself_is_refused_at_once() -> None:
    more = {f"/etc/ssh/{name}": "Include /etc/ssh/*\n" for name in "abc"}
    with pytest.raises(RefusedError, match="include one another"):
        sshd("Include /etc/ssh/*\n", more)


def test_the_port_of_the_target_may_be_the_one_of_sshd() -> None:
    assert sshd("Port 2222\n", port=2222) == f"{FIRST}Port 2222\n"
    # A forwarded port: what the operator reaches is not what sshd listens on.
    assert sshd("", port=2222) == FIRST


def test_included_files_and_overlays_count() -> None:
    include = "Include /etc/ssh/sshd_config.d/*.conf\n"
    drop_in = {"/etc/ssh/sshd_config.d/50-x.conf": "AllowUsers alarm\n"}
    with pytest.raises(RefusedError, match=r"50-x\.conf, line 1"):
        sshd(include, drop_in)
    entry = OverlayEntry(
        "/etc/ssh/sshd_config.d/60-y.conf", b"DenyUsers root\n", None, 0o644, "mine"
    )
    with pytest.raises(RefusedError, match=r"60-y\.conf, line 1"):
        sshd(include, overlays=(entry,))
    with pytest.raises(InputError, match="written by bootwright itself"):
        sshd(include, overlays=(replace(entry, path=SSHD_CONFIG),))


@pytest.mark.parametrize(
    "line",
    [
        "TrustedUserCAKeys /etc/ssh/ours.pub",
        "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/%u",
        "AuthorizedKeysFile /%u/.ssh/authorized_keys",  # the home of root is /root
        "AuthorizedKeysFile /%h/.ssh//authorized_keys",
    ],
)
def test_what_an_overlay_sets_is_not_replaced(line: str) -> None:
    name = "/etc/ssh/sshd_config.d/10-site.conf"
    own = f"Include /etc/ssh/sshd_config.d/*.conf\n{line.split()[0]} /old\n"
    overlay = OverlayEntry(name, f"{line}\n".encode(), None, 0o644, "mine")
    assert sshd(own, overlays=(overlay,)) == FIRST + own
    # Also where the root file system has a file of the same name.
    assert sshd(own, {name: f"{line.split()[0]} /older\n"}, overlays=(overlay,)) == FIRST + own
