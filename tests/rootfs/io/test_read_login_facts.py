"""What decides about logins is read from an ext4 image as it is there."""

import tarfile
from pathlib import Path

from bootwright.rootfs.io.ext4_read import Ext4Reader
from bootwright.rootfs.io.read_facts import read_rootfs_facts
from bootwright.rootfs.login_facts import Attributes
from tests.support.ext4images import archive, build, member
from tests.support.small_rootfs import small_rootfs

PASSWD = "root:x:0:0::/root:/bin/zsh\npilot:x:7:7::/srv/pilot:/bin/sh\nx:x:8:8::/none:\n"


def folder(name: str, mode: int = 0o755, uid: int = 0) -> tarfile.TarInfo:
    return member(name, tarfile.DIRTYPE, mode=mode, uid=uid, gid=uid)


def link(name: str, to: str) -> tarfile.TarInfo:
    return member(name, tarfile.SYMTYPE, linkname=to, mode=0o777)


def test_the_facts_about_logins(tmp_path: Path) -> None:
    units = "etc/systemd/system"
    tarball = archive(
        tmp_path / "a.tar",
        folder(".", 0o700, 5),
        folder("root", 0o777, 9),
        folder("data/pilot/.ssh"),
        link("srv", "data"),
        link("root/.ssh", "/etc/keys"),
        (member("data/pilot/.ssh/authorized_keys2"), b"k"),
        folder(f"{units}/multi-user.target.wants"),
        link(f"{units}/multi-user.target.wants/ssh.service", "/lib/ssh.service"),
        link(f"{units}/systemd-networkd.service", "/dev/null"),
        (member(f"{units}/sshd.socket"), b""),
        link(f"{units}/default.target", "/usr/lib/systemd/system/rescue.target"),
        (member("usr/lib/systemd/system/sshd.service"), b"[Service]\n"),
        # /lib and /sbin are folders of their own: /usr is not merged.
        (member("etc/default/ssh"), b"SSHD_OPTS=-4\n"),
        (member("lib/systemd/system/ssh.socket"), b"[Socket]\n"),
        (member(f"{units}/ssh.socket.d/a.conf"), b"[Socket]\nListenStream=9\n"),
        (member("lib/systemd/system-generators/sshd-socket-generator", mode=0o755), b"x"),
        (member("usr/lib/openssh/sshd-session", mode=0o755), b"\x7fELF libwrap.so.0\0"),
        (member("sbin/mkfs.ext4", mode=0o755), b"x"),
        (member("bin/sh", mode=0o755), b"x"),
        (member("bin/zsh"), b"x"),
        (member("etc/ssh/sshd_config"), b"Include sshd_config.d/*.conf /etc/more\n"),
        (member("etc/ssh/sshd_config.d/b.conf"), b"Include c.inc\n"),
        (member("etc/ssh/sshd_config.d/b.txt"), b"Port 1\n"),
        (member("etc/ssh/c.inc"), b"Port 2\n"),
        (member("etc/pam.d/sshd"), b"@include common\nsession required pam_x.so\n"),
        (member("etc/pam.d/common"), b"account [default=1] pam_unix.so\n-account required d.so\n"),
        (member("etc/nologin"), b""),
        (member("var/lib/systemd/random-seed"), b"s"),
        link("var/lib/dbus/machine-id", "/etc/machine-id"),
        (member("etc/passwd"), PASSWD.encode()),
        (member("etc/shadow"), b""),
        (member("etc/group"), b""),
        (member("usr/lib/systemd/systemd"), b""),
        (member("usr/bin/sudo", mode=0o755), b"x"),
    )
    image = tmp_path / "a.ext4"
    build(tarball, image)
    facts = read_rootfs_facts(image, "UTC")
    login = facts.login
    assert not facts.has_sudo  # it has no set-user-ID bit
    assert login.folders["/var"] == Attributes(0o755, 0, 0)
    assert "/proc" not in login.folders
    assert login.homes["/root"].parents == (("/", Attributes(0o700, 5, 5)),)
    assert login.homes["/root"].attributes == Attributes(0o777, 9, 9)
    assert login.homes["/srv/pilot"].path == "/data/pilot"
    assert [path for path, _ in login.homes["/srv/pilot"].parents] == ["/", "/data"]
    assert login.homes["/none"].attributes is None
    assert login.key_files == ("/srv/pilot/.ssh/authorized_keys2",)
    assert login.ssh_links == ("/root/.ssh",)
    assert login.shells == {"/bin/sh"}
    assert sorted(login.sshd_files) == [
        "/etc/ssh/c.inc",
        "/etc/ssh/sshd_config",
        "/etc/ssh/sshd_config.d/b.conf",
    ]
    assert login.enabled_units == {"ssh.service"}
    assert login.masked_units == {"systemd-networkd.service", "sshd.socket"}
    assert login.unit_files == {
        "sshd.service": "/usr/lib/systemd/system/sshd.service",
        "ssh.socket": "/lib/systemd/system/ssh.socket",
    }
    assert login.unit_texts == {
        "/lib/systemd/system/ssh.socket": "[Socket]\n",
        "/etc/systemd/system/ssh.socket.d/a.conf": "[Socket]\nListenStream=9\n",
        "/usr/lib/systemd/system/sshd.service": "[Service]\n",
        "/etc/default/ssh": "SSHD_OPTS=-4\n",
    }
    assert login.sockets_follow_config
    assert login.has_tcp_wrappers
    assert login.default_target == "rescue.target"
    assert login.pam_modules == {"pam_unix.so", "d.so"}
    assert login.blockers == ("/etc/nologin",)
    assert login.identity_files == ("/var/lib/systemd/random-seed",)
    assert login.has_mkfs_ext4
    assert Ext4Reader(image).lookup("/") is not None


def test_the_small_root_file_system_can_be_used(tmp_path: Path) -> None:
    image = tmp_path / "a.ext4"
    build(small_rootfs(tmp_path / "a.tar"), image)
    login = read_rootfs_facts(image, "UTC").login
    assert set(login.unit_files) == {"ssh.service"}
    assert not login.has_tcp_wrappers
    assert login.has_mkfs_ext4


def test_what_is_masked_is_read_although_the_root_file_system_has_dev_null(tmp_path: Path) -> None:
    """As after ``systemctl mask ssh.socket`` in a root file system of mmdebstrap."""
    null = member("dev/null", tarfile.CHRTYPE, mode=0o666)
    null.devmajor, null.devminor = 1, 3
    drop_in = "/etc/systemd/system/ssh.service.d/a.conf"
    tarball = archive(
        tmp_path / "a.tar",
        folder("."),
        null,
        link("etc/systemd/system/ssh.socket", "/dev/null"),
        link(drop_in[1:], "/dev/null"),
        link("etc/default/ssh", "/dev/null"),
        (member("usr/lib/systemd/system/ssh.service"), b"[Service]\n"),
        (member("etc/passwd"), PASSWD.encode()),
        (member("etc/shadow"), b""),
        (member("etc/group"), b""),
        (member("usr/lib/systemd/systemd"), b""),
    )
    image = tmp_path / "a.ext4"
    build(tarball, image)
    login = read_rootfs_facts(image, "UTC").login
    assert login.masked_units == {"ssh.socket"}
    assert login.unit_texts == {
        drop_in: "",
        "/usr/lib/systemd/system/ssh.service": "[Service]\n",
    }
