"""Scripts over SSH, against a real server on this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.core.board import Kdf
from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.io.run_log import RunLog
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.remote.io.connection import MAX_OUTPUT, Remote, RemoteFinished, UnreachableError
from bootwright.remote.io.openssh import ssh, write_known_hosts
from bootwright.volume.keyslots import Passphrases, change_keyslots
from bootwright.volume.unlock_ssh import unlock_over_ssh
from tests.support.runlogs import assert_hidden, records
from tests.support.sshserver import (
    USER,
    SshServer,
    fingerprint,
    keygen,
    need_sshd,
    own_client,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    need_sshd()
    server = SshServer(tmp_path_factory.mktemp("sshd"), ("ed25519", "ecdsa", "rsa"))
    yield server.start()
    server.stop()


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's configuration; and there is no agent."""
    return own_client(tmp_path, monkeypatch)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Where known-hosts files are kept."""
    return tmp_path / "known"


def only(*keys: str) -> Callable[[Endpoint], Endpoint]:
    def make(endpoint: Endpoint) -> Endpoint:
        assert endpoint.ssh is not None
        return replace(endpoint, ssh=replace(endpoint.ssh, known_host_keys=keys))

    return make


def hostname(endpoint: Endpoint, known: Path, **options: object) -> str:
    with Remote(endpoint, directory=known, **options) as board:  # type: ignore[arg-type]
        return board.run("uname -n", title="asking for the name", timeout=20).text.strip()


def no(_: str) -> str:
    return "no\n"


def test_a_script_gets_its_input_and_its_two_outputs_and_status_come_back(
    server: SshServer, known: Path
) -> None:
    data = os.urandom(300_000)
    with Remote(server.endpoint(), directory=known) as board:
        # Much is written before anything is read: neither side may wait for the other.
        done = board.run(
            "head -c 600000 /dev/zero; cat; echo oops >&2; exit 7",
            title="t",
            stdin=Secret(data),
            timeout=30,
        )
        again = board.run("echo \"it's $0\" '$HOME' é; cat", title="t", timeout=20)
        unread = board.run("exit 3", title="t", stdin=data * 20, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (7, bytes(600_000) + data, b"oops\n")
    assert (again.returncode, again.text) == (0, "it's sh $HOME é\n")
    assert unread.returncode == 3


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_server_with_several_keys_is_asked_for_the_one_that_is_known(
    server: SshServer, known: Path, kind: str
) -> None:
    assert hostname(only(server.host_keys[kind])(server.endpoint()), known) == os.uname().nodename


def test_another_host_key_than_the_known_is_refused_and_both_are_shown(
    server: SshServer, known: Path, tmp_path: Path
) -> None:
    other = keygen(tmp_path / "other")
    asked: list[str] = []
    with pytest.raises(RefusedError) as caught:
        hostname(only(other)(server.endpoint()), known, ask=asked.append)
    shown = subprocess.run(
        ["ssh-keygen", "-lf", f"{server.folder}/host_ed25519.pub"], capture_output=True, text=True
    ).stdout.split()[1]
    text = str(caught.value)
    assert f"shown:    {shown} (ED25519)" in text
    assert f"expected: {fingerprint(other)} (ED25519)" in text
    assert "flashed on another machine" in text
    assert "somebody may intercept the connection" in text
    assert not asked


def test_an_unknown_host_key_is_asked_about_once_and_openssh_knows_it_then(
    server: SshServer, known: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint = server.endpoint(known=False)
    asked: list[str] = []

    def yes(text: str) -> str:
        asked.append(text)
        return "yes\n"

    with pytest.raises(RefusedError, match="accept it once: inv ssh board"):
        hostname(endpoint, known)
    with pytest.raises(RefusedError, match="was not accepted"):
        hostname(endpoint, known, ask=no)
    assert not (known / "known_hosts").exists()
    hostname(endpoint, known, ask=yes)
    hostname(endpoint, known, ask=yes)
    assert len(asked) == 1
    assert fingerprint(server.host_keys["ed25519"]) in asked[0]
    # `inv ssh` asks no more: without a terminal it could not.
    assert ssh(endpoint, "exit 5", known) == 5
    assert "Are you sure" not in capfd.readouterr().err


def test_a_host_key_that_openssh_remembered_is_known_even_hashed(
    server: SshServer, known: Path
) -> None:
    endpoint = replace(server.endpoint(known=False), name="Board-1")
    file = write_known_hosts(endpoint, known)
    # OpenSSH remembers a name in small letters, with a salt of its own when it hashes.
    file.write_text(f"board-1 {server.host_keys['ecdsa']}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    assert "board" not in file.read_text()
    assert hostname(endpoint, known, ask=no) == os.uname().nodename
    file.write_text(f"board-1 {keygen(known / 'other')}\n")
    with pytest.raises(RefusedError, match="ssh-keygen -R board-1"):
        hostname(endpoint, known, ask=no)
    file.write_text(f"@revoked * {keygen(known / 'more')}\nnonsense\n@revoked board-1 ")
    with file.open("a") as out:
        out.write(server.host_keys["ed25519"])
    with pytest.raises(RefusedError, match="is revoked"):
        hostname(endpoint, known, ask=no)


def test_refused_keys_are_named(
    server: SshServer, known: Path, config: Path, tmp_path: Path
) -> None:
    wrong = keygen(tmp_path / "wrong")
    with pytest.raises(FailedError) as caught:
        hostname(server.endpoint(identity=tmp_path / "wrong"), known)
    assert f"offered:  {tmp_path}/wrong ({fingerprint(wrong)})" in str(caught.value)
    assert "root@127.0.0.1" in str(caught.value)
    # Without an identity of its own: those of the configuration, and why one cannot be used.
    locked = tmp_path / "locked"
    locked.write_bytes(server.identity.read_bytes())
    locked.chmod(0o600)
    argv = ["ssh-keygen", "-q", "-p", "-N", "locked", "-f", str(locked)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    config.write_text(f"IdentityFile {tmp_path}/wrong\nIdentityFile {locked}\n")
    endpoint = server.endpoint()
    assert endpoint.ssh is not None
    with pytest.raises(FailedError) as caught:
        hostname(replace(endpoint, ssh=replace(endpoint.ssh, identity=None)), known)
    assert "wrong (SHA256:" in str(caught.value)
    assert f"{locked}: has a passphrase; run ssh-add first" in str(caught.value)
    with pytest.raises(InputError, match=r"SSH key .*missing: cannot be read: No such file"):
        hostname(server.endpoint(identity=tmp_path / "missing"), known)


def test_a_key_with_a_passphrase_comes_from_the_agent(
    server: SshServer, known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path
    for beside in ("", ".pub"):
        (home / f"mine{beside}").write_bytes(Path(f"{server.identity}{beside}").read_bytes())
    (home / "mine").chmod(0o600)
    agent = home / "agent"
    running = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        running.stdout.readline()  # It listens as soon as it says where.
        env = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
        keygen(home / "noise")
        for key in ("noise", "mine"):
            subprocess.run(["ssh-add", "-q", home / key], env=env, check=True)
        lock = ["ssh-keygen", "-q", "-p", "-N", "locked", "-f", str(home / "mine")]
        subprocess.run(lock, check=True, stdout=subprocess.DEVNULL)
        endpoint = server.endpoint(identity=home / "mine")
        with pytest.raises(FailedError, match="mine: has a passphrase"):
            hostname(endpoint, known)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        hostname(endpoint, known)
        assert endpoint.ssh is not None
        hostname(replace(endpoint, ssh=replace(endpoint.ssh, identity=None)), known)
    finally:
        running.terminate()
        running.wait()


def test_the_users_ssh_config_counts(server: SshServer, known: Path, config: Path) -> None:
    config.write_text(
        f"Host desk\n  HostName 127.0.0.1\n  User root\n  IdentityFile {server.identity}\n"
    )
    keys = tuple(server.host_keys.values())
    endpoint = Endpoint("board", ssh=SshEndpoint("desk", server.port, known_host_keys=keys))
    assert hostname(endpoint, known) == os.uname().nodename
    config.write_text("Host desk\n  nonsense\n")
    with pytest.raises(InputError, match=r"your SSH configuration: .*ssh_config.* line 2"):
        hostname(endpoint, known)


def test_no_server_no_greeting_no_name(known: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def to(host: str, port: int) -> Endpoint:
        return Endpoint("board", ssh=SshEndpoint(host, port, "root"))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def hang_up() -> None:
            listening.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(UnreachableError, match=f"127.0.0.1 port {port}.*no SSH server answers"):
            hostname(to("127.0.0.1", port), known)
        thread.join()
    with pytest.raises(UnreachableError, match=r"Connection refused\. Is the board on"):
        hostname(to("127.0.0.1", port), known)
    with pytest.raises(UnreachableError, match="cannot be resolved"):
        hostname(to("no-such-board.invalid", 22), known)
    with pytest.raises(InputError, match="has no address"):
        hostname(Endpoint("board"), known)
    assert capfd.readouterr() == ("", "")


def error_of(known: Path, greeting: bytes, **options: object) -> str:
    """Return the error for a server that sends ``greeting`` and waits."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = Endpoint("board", ssh=SshEndpoint("127.0.0.1", listening.getsockname()[1], "u"))
        done = threading.Event()

        def greet() -> None:
            with contextlib.suppress(OSError), listening.accept()[0] as client:
                client.sendall(greeting)
                done.wait(30)

        thread = threading.Thread(target=greet)
        thread.start()
        try:
            with pytest.raises(FailedError) as caught:
                hostname(endpoint, known, **options)
        finally:
            done.set()
            thread.join()
    return str(caught.value)


def test_what_a_server_says_is_harmless(known: Path) -> None:
    text = error_of(known, b"SSH-9\x1b]0;title\x07\xe2\x80\xae-x\r\n")
    assert "no SSH server answers" in text
    assert text.isprintable()
    finished = RemoteFinished(1, b"", "a\x1b[2J\u202e\nb\n".encode())
    assert finished.failure("x").splitlines()[1:] == [
        "  standard error: a�[2J�",
        "  standard error: b",
    ]


def test_a_server_that_never_greets_takes_no_longer_than_the_wait(
    known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootwright.remote.io.connection.LEAST_S", 1.0)
    begin = time.monotonic()
    error_of(known, b"", wait=0.5)
    assert time.monotonic() - begin < 10


def test_whether_a_question_may_come_is_known_before(server: SshServer, known: Path) -> None:
    unknown = server.endpoint(known=False)
    assert Remote(unknown, directory=known, ask=no).may_ask
    assert not Remote(unknown, directory=known).may_ask
    assert not Remote(server.endpoint(), directory=known, ask=no).may_ask


class Steps(TextReporter):
    """Knows whether a step is under way, which on a terminal is drawn again and again."""

    under_way = False

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.under_way = True
        yield
        self.under_way = False


def test_a_question_does_not_come_within_a_step(server: SshServer, known: Path) -> None:
    reporter, within = Steps(), list[bool]()

    def ask(_: str) -> str:
        within.append(reporter.under_way)
        return "no\n"

    endpoint, word = server.endpoint(known=False), Secret(b"word")
    options = {"reporter": reporter, "ask": ask, "directory": known}
    with pytest.raises(RefusedError, match="was not accepted"):
        unlock_over_ssh(endpoint, word, timeout=20, **options)  # type: ignore[arg-type]
    both, kdf = Passphrases(word, Secret(b"other")), Kdf(memory_kib=64, iterations=5, threads=1)
    with pytest.raises(RefusedError, match="was not accepted"):
        change_keyslots(endpoint, "add", both, kdf, **options)  # type: ignore[arg-type]
    assert within == [False, False]


def test_a_server_that_comes_up_later_is_waited_for(tmp_path: Path, known: Path) -> None:
    need_sshd()
    late = SshServer(tmp_path / "late")
    starting = threading.Timer(1.0, late.start)
    starting.start()
    try:
        assert hostname(late.endpoint(), known, wait=30.0) == os.uname().nodename
    finally:
        starting.join()
        late.stop()


def test_a_connection_cut_in_the_middle(
    server: SshServer, known: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)

    def cut() -> None:
        with started.open() as pipe:
            session = int(pipe.readline())
        # The server's own process for this connection is the shell's parent.
        status = Path(f"/proc/{session}/status").read_text()
        parent = int(next(ln.split()[1] for ln in status.splitlines() if ln.startswith("PPid")))
        os.kill(parent, signal.SIGKILL)

    thread = threading.Thread(target=cut)
    thread.start()
    script = f"echo $$ > {started}; sleep 20"
    with (
        pytest.raises(FailedError, match=r"a slow thing: the connection was lost .* may go on"),
        Remote(server.endpoint(), directory=known) as board,
    ):
        board.run(script, title="a slow thing", timeout=30)
    thread.join()
    assert capfd.readouterr() == ("", "")


def test_a_script_that_takes_too_long_or_says_too_much(server: SshServer, known: Path) -> None:
    begin = time.monotonic()
    with (
        pytest.raises(FailedError, match="napping: no end after 1 s"),
        Remote(server.endpoint(), directory=known) as board,
    ):
        board.run("sleep 20", title="napping", timeout=1)
    assert time.monotonic() - begin < 10
    with Remote(server.endpoint(), directory=known) as board:
        exact = board.run(f"head -c {MAX_OUTPUT} /dev/zero", title="t", timeout=20)
        assert len(exact.stdout) == MAX_OUTPUT
        with pytest.raises(FailedError, match="more than 1024 KiB of output"):
            board.run("while :; do echo flood; done >&2", title="t", timeout=20)


def test_a_script_that_is_killed(server: SshServer, known: Path) -> None:
    with (
        pytest.raises(FailedError, match="ended by a signal"),
        Remote(server.endpoint(), directory=known) as board,
    ):
        board.run("kill -9 $$", title="t", timeout=20)


def test_root_by_sudo(server: SshServer, known: Path) -> None:
    endpoint = server.endpoint(user=USER)
    with Remote(endpoint, directory=known) as board:
        assert board.run("id -u", title="t", timeout=20).text == "54321\n"
        if not Path("/usr/bin/sudo").exists():
            with pytest.raises(FailedError, match=rf"{USER}@.*: there is no sudo"):
                board.run("id -u", title="t", sudo=True, timeout=20)
        # As sudo does when its rules want a password (sudo(8), -n).
        server.tool("sudo", "echo 'sudo: a password is required' >&2; exit 1")
        with pytest.raises(FailedError, match=r"sudo asks for a password.*NOPASSWD"):
            board.run("id -u", title="t", sudo=True, timeout=20)
        # One that lets everybody: what it is called with, and the input, are what matters.
        server.tool("sudo", '[ "$1" = -n ] && shift && exec "$@"')
        done = board.run("cat; exit 6", title="t", stdin=b"in\n", sudo=True, timeout=20)
        assert (done.returncode, done.text) == (6, "in\n")
    (server.tools / "sudo").unlink()
    with Remote(server.endpoint(), directory=known) as board:
        assert board.run("id -u", title="t", sudo=True, timeout=20).text == "0\n"


def test_the_log_has_what_was_run_and_no_password(
    server: SshServer, known: Path, tmp_path: Path
) -> None:
    password = Secret(b"pass-w0rd of mine")
    log = RunLog(tmp_path / "log", "task", debug=False)
    # One that reads a password, repeats it in two notations, and runs the command.
    server.tool(
        "sudo",
        'case " $* " in *" -n "*) exit 1 ;; esac\n'
        'IFS= read -r word; echo "sudo: $word" >&2; echo "$word" | base64 >&2\n'
        'while [ "$1" != sh ]; do shift; done; exec "$@"',
    )
    try:
        with (
            log.recording(),
            Remote(server.endpoint(user=USER), directory=known, sudo_password=password) as board,
        ):
            script = "cat; echo x >&2; exit 6"
            done = board.run(script, title="t", stdin=b"in", sudo=True, timeout=20)
            with pytest.raises(FailedError):
                board.run("sleep 60", title="slow", timeout=0.2)
    finally:
        (server.tools / "sudo").unlink()
    assert done.returncode == 6
    found = [one for one in records(tmp_path) if one["gateway"] == "ssh"]
    assert [(one["event"], one["what"]) for one in found] == [
        *(("start", "connect"), ("end", "connect")),
        *(("start", "t"), ("end", "t")),
        *(("start", "slow"), ("end", "slow")),
    ]
    assert f"{USER}@127.0.0.1" in found[2]["board"]
    assert (found[2]["script"], found[2]["stdin"], found[2]["sudo"]) == (script, "in", True)
    assert (found[3]["status"], found[3]["stdout"]) == (6, "in")
    assert found[3]["stderr"].startswith("sudo: ***\n")
    assert "no end after" in found[5]["error"]
    assert_hidden(tmp_path, "pass-w0rd of mine")
