"""What the units of systemd that start sshd add to its configuration."""

import pytest

from bootwright.rootfs.ssh_units import SshdOptions, has_socket, socket_ports, sshd_options

VENDOR = "/usr/lib/systemd/system/ssh.socket"
UNIT = "[Unit]\nConflicts=ssh.service\n[Socket]\nListenStream=22\nAccept=yes\n"


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        (UNIT, (22,)),
        ("[Socket]\nListenStream=0.0.0.0:22\nListenStream=[::]:22\n", (22,)),
        ("[Socket]\n ListenStream = 192.0.2.1:2222\n", (2222,)),
        ("[Socket]\nListenStream=127.0.0.1:22\nListenStream=[::1]:23\n", ()),
        ("[Socket]\nListenStream=/run/ssh\nListenStream=@x\nListenStream=vsock::22\n", ()),
        ("[Install]\nListenStream=22\n", ()),
        ("[Socket]\n#ListenStream=22\n", ()),
    ],
)
def test_the_ports_of_one_unit(text: str, ports: tuple[int, ...]) -> None:
    assert socket_ports({VENDOR: text}, "ssh.socket") == ports


def test_drop_ins_follow_by_name_and_the_first_folder_counts() -> None:
    files = {
        VENDOR: UNIT,
        "/etc/systemd/system/ssh.socket.d/20-b.conf": "[Socket]\nListenStream=3\n",
        f"{VENDOR}.d/20-b.conf": "[Socket]\nListenStream=9\n",
        f"{VENDOR}.d/10-a.conf": "[Socket]\nListenStream=\nListenStream=2\n",
        "/etc/systemd/system/ssh.socket.d/30-c.txt": "[Socket]\nListenStream=8\n",
    }
    assert socket_ports(files, "ssh.socket") == (2, 3)
    files["/etc/systemd/system/ssh.socket"] = "[Socket]\nListenStream=7\n"
    del files[f"{VENDOR}.d/10-a.conf"]
    assert socket_ports(files, "ssh.socket") == (7, 3)


def test_a_drop_in_alone_is_no_socket() -> None:
    files = {f"{VENDOR}.d/a.conf": UNIT, "/usr/lib/systemd/system/ssh.service": "[Service]\n"}
    assert not has_socket(files, "ssh.socket")
    assert not has_socket(files, "ssh.service")
    assert has_socket({VENDOR: UNIT}, "ssh.socket")


SERVICE = """[Service]
EnvironmentFile=-/etc/default/ssh
ExecStartPre=/usr/sbin/sshd -t -f /x
ExecStart=/usr/sbin/sshd -D $SSHD_OPTS
"""


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ("", SshdOptions()),
        ("# SSHD_OPTS=-p 1\n", SshdOptions()),
        ("SSHD_OPTS=\n", SshdOptions()),
        ("SSHD_OPTS='-p 2222'\n", SshdOptions(ports=(2222,))),
        ('SSHD_OPTS="-4 -ep2222 -p 22"\n', SshdOptions(ports=(2222, 22))),
        (
            "SSHD_OPTS=-o AllowUsers=x -oMaxSessions=0\n",
            SshdOptions("AllowUsers=x\nMaxSessions=0\n"),
        ),
        ("SSHD_OPTS=-E /var/log/p -u0\n", SshdOptions()),
        ("SSHD_OPTS=-f /etc/ssh/other\n", SshdOptions(other_config="/etc/ssh/other")),
        ("SSHD_OPTS=-f /etc/ssh/sshd_config\n", SshdOptions()),
        ("SSHD_OPTS='-p 7\n", SshdOptions()),
    ],
)
def test_the_options_of_the_service(environment: str, options: SshdOptions) -> None:
    files = {"/usr/lib/systemd/system/ssh.service": SERVICE, "/etc/default/ssh": environment}
    assert sshd_options(files, "ssh.service") == options


def test_a_drop_in_replaces_the_command() -> None:
    files = {
        "/usr/lib/systemd/system/ssh.service": SERVICE,
        "/etc/systemd/system/ssh.service.d/x.conf": (
            "[Service]\nEnvironment=P=2200\nExecStart=\nExecStart=/usr/sbin/sshd -D \\\n -p ${P}\n"
        ),
    }
    assert sshd_options(files, "ssh.service") == SshdOptions(ports=(2200,))
    assert sshd_options({}, "ssh.service") == SshdOptions()
