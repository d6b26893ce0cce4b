"""What is known about a target's host key, what the operator is asked, what is recorded."""

from pathlib import Path

import pytest

from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import FailedError, RefusedError
from bootwright.core.io.ask import Ask
from bootwright.remote.io.host_keys import HostKeys
from bootwright.remote.openssh_log import ClientLog
from tests.support.sshserver import fingerprint

pytestmark = pytest.mark.integration

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYXGt1ajHadN8XR8BaqrQlqiAEEqhnEOe1HiFPj+NZq"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMi+0BVBKs4R1xuyNkJQcQYl1u9cC8ek7x2Yx1mWnJ5w"
SHOWN = ("ED25519", fingerprint(ED25519))


class Operator:
    """Answers each question the same way, and keeps the questions."""

    def __init__(self, answer: str) -> None:
        self._answer = answer
        self.asked: list[str] = []

    def ask(self, text: str) -> str:
        self.asked.append(text)
        return self._answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where known-hosts files are kept."""
    return tmp_path / "ssh"


def keys(folder: Path, *flashed: str, ask: Ask | None = None, name: str = "board") -> HostKeys:
    ssh = SshEndpoint("192.0.2.1", 2222, known_host_keys=flashed)
    return HostKeys(Endpoint(name, ssh=ssh), ask, folder)


def accept(folder: Path, known: HostKeys, name: str = "board") -> None:
    """Have a key recorded that the client has written after the operator's yes."""
    known.check_may_be_new(SHOWN)
    new = folder / "new"
    new.write_text(f"{name} {ED25519}\n")
    known.record(SHOWN, new)


def test_the_key_that_was_flashed_is_the_only_one(folder: Path) -> None:
    operator = Operator("yes\n")
    known = keys(folder, OTHER, ask=operator.ask)
    assert not known.may_ask
    with pytest.raises(RefusedError) as error:
        known.check_may_be_new(SHOWN)
    assert str(error.value).splitlines() == [
        "board (192.0.2.1 port 2222): this is not the host key of board; not connected.",
        f"  shown:    {SHOWN[1]} (ED25519)",
        f"  expected: {fingerprint(OTHER)} (ED25519)",
        "  If the card was flashed on another machine or checkout, use that one, or copy its"
        " build/host-keys/board. If not, somebody may intercept the connection.",
    ]
    # Nobody is asked about a key that should be another one.
    assert operator.asked == []


def test_an_unknown_key_is_asked_about_once_and_known_from_then_on(folder: Path) -> None:
    operator = Operator(" Yes \n")
    first = keys(folder, ask=operator.ask)
    assert first.may_ask
    accept(folder, first)
    (question,) = operator.asked
    assert "board (192.0.2.1 port 2222) shows a host key that is not known yet:" in question
    assert f"{SHOWN[1]} (ED25519)" in question
    assert (folder / "known_hosts").read_text() == f"board {ED25519}\n"
    assert not first.may_ask
    assert not keys(folder, ask=operator.ask).may_ask
    # The name is the same in capitals; another target's key is not this one's.
    assert not keys(folder, ask=operator.ask, name="BOARD").may_ask
    assert keys(folder, ask=operator.ask, name="other").may_ask


@pytest.mark.parametrize("answer", ["no\n", "\n", "", "y\n", "yes please\n"])
def test_any_other_answer_than_yes_refuses(folder: Path, answer: str) -> None:
    operator = Operator(answer)
    known = keys(folder, ask=operator.ask)
    with pytest.raises(RefusedError, match="its host key was not accepted; not connected"):
        known.check_may_be_new(SHOWN)
    assert not (folder / "known_hosts").exists()


def test_without_a_terminal_an_unknown_key_is_refused(folder: Path) -> None:
    known = keys(folder)
    assert not known.may_ask
    with pytest.raises(RefusedError, match="no terminal to ask") as error:
        known.check_may_be_new(SHOWN)
    assert SHOWN[1] in str(error.value)
    assert "inv ssh board" in str(error.value)


def test_another_key_than_the_accepted_one_is_not_recorded(folder: Path) -> None:
    known = keys(folder, ask=Operator("yes").ask)
    new = folder / "new"
    for text in (f"board {OTHER}\n", ""):
        new.write_text(text)
        with pytest.raises(RefusedError, match="not the host key that you accepted"):
            known.record(SHOWN, new)
    assert not (folder / "known_hosts").exists()


def test_what_openssh_refuses_names_the_key_and_what_to_do(folder: Path) -> None:
    accept(folder, keys(folder, ask=Operator("yes").ask))
    log = ClientLog(
        (
            f"debug1: Server host key: ssh-ed25519 {fingerprint(OTHER)}",
            "Host key verification failed.",
        )
    )
    text = str(keys(folder).refused(log))
    assert f"shown:    {fingerprint(OTHER)} (ED25519)" in text
    assert f"expected: {SHOWN[1]} (ED25519)" in text
    assert "If the board has a new card, forget the old key: ssh-keygen -R board -f" in text


def test_a_line_without_an_end_is_not_written_into(folder: Path) -> None:
    folder.mkdir()
    (folder / "known_hosts").write_text(f"other {OTHER}")
    accept(folder, keys(folder, ask=Operator("yes").ask))
    assert (folder / "known_hosts").read_text() == f"other {OTHER}\nboard {ED25519}\n"


def test_a_key_that_cannot_be_recorded_is_an_error(folder: Path) -> None:
    # A folder in its place: so not even root can write it.
    (folder / "known_hosts").mkdir(parents=True)
    with pytest.raises(FailedError, match="the host key cannot be recorded: Is a directory"):
        accept(folder, keys(folder, ask=Operator("yes").ask))


def test_a_file_that_is_not_text_knows_nobody_else(folder: Path) -> None:
    folder.mkdir()
    (folder / "known_hosts").write_bytes(b"\xff\xfe\n" + f"board {ED25519}\n".encode())
    assert not keys(folder, ask=Operator("yes").ask).may_ask
