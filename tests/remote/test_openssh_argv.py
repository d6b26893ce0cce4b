"""The command line of the SSH client."""

from pathlib import Path

from bootwright.core.endpoints import SshEndpoint
from bootwright.remote.openssh_argv import connection_argv, known_hosts_text, ssh_argv

KEYS = ("ssh-ed25519 AAAAC3Nz", "ssh-rsa AAAAB3Nz")


def options(argv: tuple[str, ...]) -> list[str]:
    return [argv[i + 1] for i, word in enumerate(argv) if word == "-o"]


def test_a_target_whose_keys_are_known() -> None:
    ssh = SshEndpoint("127.0.0.1", 5002, "root", Path("/keys/id"), KEYS)
    argv = ssh_argv("emulator", ssh, Path("/build/ssh/known_hosts.emulator"), "uname -a; id")
    assert argv[:3] == ("ssh", "-p", "5002")
    assert argv[-3:] == ("--", "127.0.0.1", "uname -a; id")
    assert argv[argv.index("-l") + 1] == "root"
    assert argv[argv.index("-i") + 1] == "/keys/id"
    assert options(argv) == [
        'UserKnownHostsFile="/build/ssh/known_hosts.emulator"',
        "GlobalKnownHostsFile=none",
        "KnownHostsCommand=none",
        "HostKeyAlias=emulator",
        "StrictHostKeyChecking=yes",
        "CheckHostIP=no",
        "UpdateHostKeys=no",
        "RemoteCommand=none",
        "VerifyHostKeyDNS=no",
        "IdentitiesOnly=yes",
    ]
    assert known_hosts_text("emulator", ssh) == (
        "emulator ssh-ed25519 AAAAC3Nz\nemulator ssh-rsa AAAAB3Nz\n"
    )


def test_a_target_whose_keys_are_not_known() -> None:
    argv = ssh_argv("board", SshEndpoint("board.lan"), Path("/a %b/known_hosts"))
    assert argv[-2:] == ("--", "board.lan")
    assert "StrictHostKeyChecking=ask" in options(argv)
    assert 'UserKnownHostsFile="/a %%b/known_hosts"' in options(argv)
    assert "-i" not in argv
    assert "-l" not in argv
    assert "IdentitiesOnly=yes" not in options(argv)


def test_a_hung_board_is_noticed_within_a_minute() -> None:
    argv = connection_argv("board", SshEndpoint("b"), (Path("/k"),), Path("/c"), connect_s=20)
    given = dict(word.split("=", 1) for word in argv if word.startswith("ServerAlive"))
    # The client asks that many times, and ends when the next question would be due.
    asks = int(given["ServerAliveCountMax"]) + 1
    assert int(given["ServerAliveInterval"]) * asks == 60


def test_a_port_that_is_not_given_is_left_to_the_configuration() -> None:
    assert "-p" not in ssh_argv("board", SshEndpoint("board.lan"), Path("/k"))
    given = ssh_argv("board", SshEndpoint("board.lan", 22), Path("/k"))
    assert given[given.index("-p") + 1] == "22"
