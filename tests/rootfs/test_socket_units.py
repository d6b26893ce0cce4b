"""Where a socket unit of systemd listens for sshd."""

import pytest

from bootwright.rootfs.socket_units import has_socket, socket_ports

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
