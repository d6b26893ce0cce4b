"""Becoming root by the real sudo, on a server of the test's own accounts and rules."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError
from bootwright.core.secret import Secret
from bootwright.remote.io.connection import Remote, RemoteFinished
from bootwright.remote.sudo import SudoPasswordError, check_sudo
from tests.support.sshserver import PASSWORD, USER, SshServer, need_sshd

pytestmark = pytest.mark.integration

RIGHT = Secret(PASSWORD.encode())
WRONG = Secret(b"wrong-word")
ASKS = f"{USER} ALL=(ALL) ALL"
FREE = f"{USER} ALL=(ALL) NOPASSWD: ALL"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    need_sshd()
    if not Path("/usr/bin/sudo").exists():
        pytest.fail("sudo is not installed: run scripts/setup test")
    server = SshServer(tmp_path_factory.mktemp("sshd"))
    yield server.start()
    server.stop()


@pytest.fixture
def server(started: SshServer) -> Iterator[SshServer]:
    pam = started.etc / "pam.d" / "sudo"
    usual = pam.read_text()
    yield started
    pam.write_text(usual)
    for tool in started.tools.iterdir():
        tool.unlink()


@pytest.fixture
def known(tmp_path: Path) -> Path:
    return tmp_path / "known"


def run(
    server: SshServer,
    known: Path,
    password: Secret | None,
    script: str = "id -u",
    stdin: bytes | Secret | None = None,
    user: str = USER,
) -> RemoteFinished:
    with Remote(server.endpoint(user), directory=known, sudo_password=password) as board:
        return board.run(script, title="t", stdin=stdin, sudo=True, timeout=60)


def refused(server: SshServer, known: Path, password: Secret | None) -> FailedError:
    with pytest.raises(FailedError) as caught:
        run(server, known, password, "echo never >&2; exit 7")
    return caught.value


@pytest.mark.parametrize("rules", [ASKS, FREE], ids=["asks", "free"])
@pytest.mark.parametrize("data", [b"", b"one\n\ntwo", os.urandom(300_000)], ids=len)
def test_the_script_is_root_and_its_input_is_its_own(
    server: SshServer, known: Path, rules: str, data: bytes
) -> None:
    server.sudoers(rules)
    script = "id -u; cat; echo 'it'\\''s' >&2; exit 6"
    done = run(server, known, RIGHT, script, stdin=Secret(data))
    assert (done.returncode, done.stdout, done.stderr) == (6, b"0\n" + data, b"it's\n")
    if rules == FREE:
        assert run(server, known, WRONG, script, stdin=data) == done
        assert run(server, known, None, script, stdin=data) == done


def test_root_needs_no_sudo(server: SshServer, known: Path) -> None:
    server.sudoers("")
    server.tool("sudo", "echo called >&2; exit 1")
    assert run(server, known, WRONG, "cat", stdin=b"in\n", user="root").text == "in\n"


@pytest.mark.parametrize("shell", ["bash --posix", "busybox sh"])
def test_other_shells(server: SshServer, known: Path, shell: str) -> None:
    if shutil.which(shell.split()[0]) is None:
        pytest.fail(f"{shell} is not installed: run scripts/setup test")
    server.sudoers(ASKS)
    server.tool("sh", f'exec {shell} "$@"')
    done = run(server, known, RIGHT, "readlink /proc/$$/exe >&2; cat", stdin=b"one\ntwo")
    assert done.text == "one\ntwo"
    assert Path(done.stderr.decode().strip()).name == shell.split()[0]
    assert "refused the password" in str(refused(server, known, WRONG))


def test_a_script_need_not_read_its_input(server: SshServer, known: Path) -> None:
    server.sudoers(ASKS)
    assert run(server, known, RIGHT, "exit 3", stdin=bytes(6_000_000)).returncode == 3


def test_a_password_that_is_not_known(server: SshServer, known: Path) -> None:
    server.sudoers(ASKS)
    error = refused(server, known, None)
    assert isinstance(error, SudoPasswordError)
    assert f"board ({USER}@127.0.0.1" in str(error)
    assert "sudo asks for a password" in str(error)
    # What sudo remembers of one connection does not help in the next: it is never relied upon.
    run(server, known, RIGHT)
    assert isinstance(refused(server, known, None), SudoPasswordError)


def test_a_wrong_password(server: SshServer, known: Path) -> None:
    server.sudoers(ASKS)
    error = refused(server, known, WRONG)
    assert not isinstance(error, SudoPasswordError)
    assert f"board ({USER}@127.0.0.1" in str(error)
    assert f"sudo refused the password of {USER}" in str(error)
    assert "--sudo-password-file" in str(error)
    assert "wrong-word" not in f"{error!r}{error.__cause__}{error.__context__}"


def test_a_wrong_password_does_not_lock_the_account(server: SshServer, known: Path) -> None:
    if not list(Path("/").glob("lib/*/security/pam_faillock.so")):
        pytest.fail("pam_faillock is not installed: run scripts/setup test")
    # As on Arch Linux: three failures lock. sudo asks again after a wrong password and hears
    # nothing, which counts as well; three passwords tried would have locked it.
    faillock = "pam_faillock.so dir=/etc/faillock deny=3"
    (server.etc / "pam.d" / "sudo").write_text(
        f"auth required {faillock} preauth\n"
        "auth [success=1 default=bad] pam_unix.so try_first_pass\n"
        f"auth [default=die] {faillock} authfail\n"
        f"auth required pam_permit.so\nauth required {faillock} authsucc\n"
        "account required pam_unix.so\nsession required pam_permit.so\n"
    )
    server.sudoers(ASKS)
    refused(server, known, WRONG)
    assert run(server, known, RIGHT).text == "0\n"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("", "may not use sudo; allow it to operator in /etc/sudoers"),
        (f"{USER} ALL=(ALL) /usr/bin/true, /bin/true", "may not use sudo; allow it to operator"),
        (f"{ASKS}\nDefaults requiretty", "requiretty"),
    ],
    ids=["unknown", "something-else", "requiretty"],
)
def test_sudo_that_does_not_let_us(
    server: SshServer, known: Path, rules: str, expected: str
) -> None:
    server.sudoers(rules)
    error = refused(server, known, RIGHT)
    assert expected in str(error)
    assert "refused the password" not in str(error)
    assert PASSWORD.strip() not in str(error)


@pytest.mark.parametrize(
    "defaults", ["lecture=always", "timestamp_timeout=-1", "!use_pty", "targetpw"]
)
def test_what_sudoers_may_set(server: SshServer, known: Path, defaults: str) -> None:
    server.sudoers(f"Defaults {defaults}\n{ASKS}")
    if defaults == "targetpw":
        assert "sudo refused the password" in str(refused(server, known, RIGHT))
        return
    with Remote(server.endpoint(USER), directory=known, sudo_password=RIGHT) as board:
        for _ in range(2):
            done = board.run("cat", title="t", stdin=b"in\n", sudo=True, timeout=60)
            assert (done.returncode, done.text) == (0, "in\n")


def test_a_password_that_sudo_does_not_read_is_not_the_scripts_input(
    server: SshServer, known: Path
) -> None:
    # The trial asks for the password, the script itself does not: as with a PAM module that
    # remembers the trial.
    shells = ("/bin/sh", "/usr/bin/sh")
    free = ", ".join(shells)
    asks = ", ".join(rf"{shell} -c \:" for shell in shells)
    server.sudoers(f"{USER} ALL=(ALL) NOPASSWD: {free}, PASSWD: {asks}")
    assert run(server, known, RIGHT, "cat", stdin=b"in\n").text == "in\n"


@pytest.mark.parametrize("rules", [ASKS, FREE], ids=["asks", "free"])
def test_no_process_has_the_password_in_its_arguments_or_environment(
    server: SshServer, known: Path, tmp_path: Path, rules: str
) -> None:
    server.sudoers(rules)
    calls = server.etc / "calls"
    calls.write_bytes(b"")
    calls.chmod(0o666)
    server.tool(
        "sudo", 'cat /proc/$$/cmdline /proc/$$/environ >>/etc/calls; exec /usr/bin/sudo "$@"'
    )
    running, go = tmp_path / "running", tmp_path / "go"
    os.mkfifo(running)
    os.mkfifo(go)
    seen: list[bytes] = []

    def look() -> None:
        running.read_bytes()
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    seen.append((process / name).read_bytes())
                except OSError:
                    continue
        go.write_bytes(b"")

    thread = threading.Thread(target=look)
    thread.start()
    # With a variable of that name exported before, as a server's SetEnv may do.
    script = f": >{running}; : <{go}; cat /proc/self/environ; cat"
    done = run(server, known, RIGHT, script, stdin=b"in\n")
    thread.join()
    assert done.text.endswith("in\n")
    assert any(b"sudo" in text for text in seen)
    assert calls.read_bytes().count(b"sh\0-c") >= 2
    for text in (*seen, calls.read_bytes(), done.stdout, done.stderr):
        assert PASSWORD.strip().encode() not in text


def test_what_a_board_says_of_a_refusal_is_shown_without_the_password() -> None:
    text = b"bootwright: sudo refuses\nsudo: \x1b[2Jyour account: hunter22, expired\n"
    with pytest.raises(FailedError) as caught:
        check_sudo(125, text, "board", "operator", Secret(b"hunter22"))
    assert "expired" in str(caught.value)
    assert "hunter22" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_warning_before_it_does_not_hide_why_sudo_refuses() -> None:
    warning = b"sh: warning: setlocale: LC_ALL: cannot change locale (en_GB.UTF-8)\n"
    asks = warning + b"bootwright: sudo asks\n"
    with pytest.raises(SudoPasswordError, match="sudo asks for a password"):
        check_sudo(125, asks, "board", "operator")
    refuses = warning + b"bootwright: sudo refuses\noperator is not in the sudoers file.\n"
    with pytest.raises(FailedError, match="operator may not use sudo"):
        check_sudo(125, refuses, "board", "operator", Secret(b"x"))
    # A script of root's own that writes such a line was run by root.
    check_sudo(0, asks, "board", "operator")
    check_sudo(1, asks, "board", "operator")
