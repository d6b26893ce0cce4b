"""OpenSSH alone connects: its configuration, jump hosts, revoked keys, agents, second factors."""

import os
import socket
import subprocess
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.remote.io import connection, openssh
from bootwright.remote.io.connection import Remote, UnreachableError
from bootwright.remote.io.openssh import write_known_hosts
from bootwright.remote.io.wait import answers
from tests.support.sshserver import SshServer, keygen, need_sshd, own_client

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's configuration; and there is no agent."""
    return own_client(tmp_path, monkeypatch)


def desk(server: SshServer) -> Endpoint:
    """Return the server under a name that only the client's configuration knows."""
    keys = tuple(server.host_keys.values())
    return Endpoint("board", ssh=SshEndpoint("desk", server.port, known_host_keys=keys))


def hostname(endpoint: Endpoint, tmp_path: Path, **options: object) -> str:
    with Remote(endpoint, directory=tmp_path / "known", **options) as board:  # type: ignore[arg-type]
        return board.run("uname -n", title="asking for the name", timeout=20).text.strip()


def test_what_a_configuration_can_say(server: SshServer, tmp_path: Path, config: Path) -> None:
    included = tmp_path / "included"
    included.write_text(f"Host desk*\n  HostName 127.0.0.1\n  IdentityFile {tmp_path}/key_%n\n")
    (tmp_path / "key_desk").write_bytes(server.identity.read_bytes())
    (tmp_path / "key_desk").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        config.write_bytes(
            b"# B\xfcro\n"
            + f"""
Include {included}
Host desk
  User root
  ConnectTimeout 30s
  ProxyJump none
  # For a person's shell; none of it is for a script.
  RemoteCommand top
  LocalForward {busy.getsockname()[1]} 127.0.0.1:9
  ExitOnForwardFailure yes
  RequestTTY force
  LocalCommand touch {tmp_path}/ran
  PermitLocalCommand yes
  ControlMaster auto
  ControlPath {tmp_path}/shared
  ControlPersist 60
  SendEnv *
  LogLevel QUIET
  Tunnel yes
Match host=127.0.0.1 exec "true"
  IdentitiesOnly yes
Match final all
  ServerAliveInterval 10
""".encode()
        )
        assert hostname(desk(server), tmp_path) == os.uname().nodename
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "shared").exists()


def test_the_port_of_the_configuration_counts_unless_the_target_has_one(
    server: SshServer, tmp_path: Path, config: Path
) -> None:
    config.write_text(f"HostName 127.0.0.1\nIdentityFile {server.identity}\nPort {server.port}\n")
    keys = tuple(server.host_keys.values())
    ssh = SshEndpoint("desk", user="root", known_host_keys=keys)
    assert hostname(Endpoint("board", ssh=ssh), tmp_path) == os.uname().nodename
    assert answers(ssh)
    assert Remote(Endpoint("board", ssh=ssh)).where == f"board (root@desk port {server.port})"
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(UnreachableError, match=rf"root@desk port {port}\): Connection refused"):
        hostname(Endpoint("board", ssh=replace(ssh, port=port)), tmp_path)


def test_a_proxy_command_gets_the_port(server: SshServer, tmp_path: Path, config: Path) -> None:
    relay = 'bash -c "exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3"'
    base = f"HostName 127.0.0.1\nUser root\nIdentityFile {server.identity}\n"
    config.write_text(f"{base}ProxyCommand {relay}\n")
    assert hostname(desk(server), tmp_path) == os.uname().nodename
    config.write_text(f"{base}ProxyCommand sh -c 'echo no such tunnel >&2; exit 1'\n")
    with pytest.raises(UnreachableError, match=r"proxy of your SSH .* failed: no such tunnel\."):
        hostname(desk(server), tmp_path)


def test_a_jump_host(server: SshServer, tmp_path: Path, config: Path) -> None:
    jump_keys = tmp_path / "jump_keys"

    def by_jump(key: str, port: int = server.port) -> str:
        jump_keys.write_text(f"[127.0.0.1]:{port} {key}\n" if key else "")
        config.write_text(
            f"IdentityFile {server.identity}\nUser root\nHostName 127.0.0.1\n"
            f"Host desk\n  ProxyJump jump\n"
            f"Host jump\n  Port {port}\n  UserKnownHostsFile {jump_keys}\n"
        )
        return hostname(desk(server), tmp_path)

    right = server.host_keys["ed25519"]
    assert by_jump(right) == os.uname().nodename
    with pytest.raises(RefusedError, match=r"host key of the jump host .* has changed"):
        by_jump(keygen(tmp_path / "other"))
    with pytest.raises(RefusedError, match=r"accept it once: inv ssh board"):
        by_jump("")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(UnreachableError, match=rf"the jump host .*port {port}: Connection refused"):
        by_jump(right, port)


def test_revoked_keys_by_every_way_of_openssh(
    server: SshServer, tmp_path: Path, config: Path
) -> None:
    endpoint = server.endpoint(known=False)
    file = write_known_hosts(endpoint, tmp_path / "known")
    key = server.host_keys["ed25519"]
    file.write_text(f"board {key}\n@revoked * {key}\n")
    with pytest.raises(RefusedError, match="is revoked; not connected"):
        hostname(endpoint, tmp_path)
    file.write_text(f"board {key}\n")
    revoked = tmp_path / "revoked"
    public = str(server.folder / "host_ed25519.pub")
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, public], check=True)
    config.write_text(f"RevokedHostKeys {revoked}\n")
    with pytest.raises(RefusedError, match="is revoked; not connected"):
        hostname(endpoint, tmp_path)
    config.write_text("")
    assert hostname(endpoint, tmp_path) == os.uname().nodename


def test_an_agent_that_never_answers_is_named_in_time(
    server: SshServer, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LEAST_S", 1.0)
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        with pytest.raises(FailedError, match=r"the SSH agent does not answer \(SSH_AUTH_SOCK\)"):
            hostname(server.endpoint(), tmp_path, wait=0.1, login_in_wait=True)
        # The configuration may say that there is none.
        config.write_text("IdentityAgent none\n")
        assert hostname(server.endpoint(), tmp_path) == os.uname().nodename


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            "AuthenticationMethods publickey,password\nPasswordAuthentication yes",
            "the key is accepted, but the server wants password too",
        ),
        ("MaxSessions 0", "the server opens no session .*MaxSessions"),
    ],
)
def test_a_server_that_lets_nobody_work_with_a_key_alone(
    tmp_path: Path, settings: str, words: str
) -> None:
    need_sshd()
    server = SshServer(tmp_path / "sshd", settings=settings).start()
    try:
        with pytest.raises(FailedError, match=words):
            hostname(server.endpoint(), tmp_path)
    finally:
        server.stop()


def test_the_key_may_not_change_between_the_question_and_the_connection(
    server: SshServer, tmp_path: Path
) -> None:
    other = SshServer(tmp_path / "other")
    ports = iter([server.port, other.port])

    def relay(client: socket.socket, port: int) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as there:
            back = threading.Thread(target=copy, args=(there, client))
            back.start()
            copy(client, there)
            back.join()

    def copy(source: socket.socket, to: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    other.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def serve() -> None:
                for port in ports:
                    relay(listening.accept()[0], port)

            thread = threading.Thread(target=serve)
            thread.start()
            endpoint = server.endpoint(known=False)
            assert endpoint.ssh is not None
            ssh = replace(endpoint.ssh, port=listening.getsockname()[1])
            with pytest.raises(RefusedError, match="not the host key that you accepted"):
                hostname(replace(endpoint, ssh=ssh), tmp_path, ask=lambda _: "yes")
            thread.join()
        assert not (tmp_path / "known" / "known_hosts").exists()
    finally:
        other.stop()


def test_nothing_is_left_of_a_closed_connection(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Too long a name for a socket that is in it.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 25)))
    (tmp_path / ("long" * 25)).mkdir()
    with Remote(server.endpoint(), directory=tmp_path / "known") as board:
        client = board._client
        assert client is not None
        child = client._child
        assert child is not None
        # From then on nobody else can use it.
        assert not client.control_path.parent.exists()
    assert child.poll() is not None
    board.close()


def test_a_connection_ends_with_the_program_however_that_ends(
    server: SshServer, tmp_path: Path
) -> None:
    made = Remote(server.endpoint(), directory=tmp_path / "known")
    # As a thread of several boards that Ctrl-C leaves behind.
    thread = threading.Thread(target=made.connect)
    thread.start()
    thread.join()
    assert made.wait_until_lost(10)
    made.close()


def test_a_client_that_is_killed_ends_the_script(server: SshServer, tmp_path: Path) -> None:
    with (
        Remote(server.endpoint(), directory=tmp_path / "known") as board,
        pytest.raises(FailedError, match="napping: the connection was lost"),
    ):
        client = board._client
        assert client is not None
        assert client._child is not None
        killer = threading.Timer(0.3, client._child.kill)
        killer.start()
        board.run("sleep 20", title="napping", timeout=20)
    assert board.wait_until_lost(0)


def test_what_a_script_wrote_before_it_failed_is_shown(server: SshServer, tmp_path: Path) -> None:
    noise = "i=0; while [ $i -lt 50 ]; do echo warning $i >&2; i=$((i+1)); done; "
    script = noise + r"echo 'login: '; printf 'last \033[2J words\n' >&2; exit 3"
    secret = "printf '== passwords\\n|hidden\\n'; exit 1"
    with Remote(server.endpoint(), directory=tmp_path / "known") as board:
        with pytest.raises(FailedError) as caught:
            board.report(script, title="reading", timeout=20)
        with pytest.raises(FailedError) as other:
            board.report(secret, title="reading", timeout=20)
        with pytest.raises(FailedError, match=r"no end after 1 s.*\n  standard error: waits$"):
            board.run("echo waits >&2; sleep 20", title="reading", timeout=1)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        f"board (root@127.0.0.1 port {server.port}): reading: the board's answer was cut short"
        " (exit status 3)"
    )
    assert lines[-2:] == ["  standard error: last �[2J words", "  standard output: login:"]
    assert len(lines) == 12
    assert "in passwords (exit status 1)" in str(other.value)
    assert "hidden" not in str(other.value)


def test_without_a_client_and_with_a_wrong_configuration(
    server: SshServer, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('Match exec "sleep 30"\n  User mia\n')
    monkeypatch.setattr(openssh, "SETTINGS_S", 0.3)
    endpoint = replace(server.endpoint(), ssh=SshEndpoint("127.0.0.1", server.port))
    with pytest.raises(FailedError, match="Match exec"):
        hostname(endpoint, tmp_path)
    config.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FailedError, match="ssh"):
        hostname(endpoint, tmp_path)
    (tmp_path / "setpriv").symlink_to("/usr/bin/setpriv")
    with pytest.raises(FailedError, match="the tool 'ssh' is missing"):
        hostname(server.endpoint(), tmp_path)
    with pytest.raises(InputError, match="has no address"):
        hostname(Endpoint("board"), tmp_path)
