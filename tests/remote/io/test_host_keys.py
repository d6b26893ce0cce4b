"""Whether a server's host key is the target's: known, changed, unknown, refused, revoked."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import FailedError, RefusedError
from bootwright.remote.io.host_keys import HostKeys
from bootwright.remote.known_hosts import fingerprint

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICAfHh0cGxoZGBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIB"
ECDSA = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA=="


class Operator:
    """Answers every question the same, and keeps them."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def ask(self, text: str) -> str:
        self.asked.append(text)
        return self.answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ssh"


def keys(
    folder: Path, *known: str, ask: Callable[[str], str] | None = None, name: str = "board"
) -> HostKeys:
    """Return the keys of a target; ``known``: from flashing its card."""
    ssh = SshEndpoint("192.0.2.1", 2222, "root", None, known)
    return HostKeys(Endpoint(name, ssh=ssh), ask, folder)


def test_the_key_that_was_flashed_is_the_only_one(folder: Path) -> None:
    operator = Operator("yes\n")
    known = keys(folder, ED25519, ECDSA, ask=operator.ask)
    known.check(ED25519)
    known.check(ECDSA)
    assert known.types == ("ssh-ed25519", "ecdsa-sha2-nistp256")
    assert not known.may_ask
    with pytest.raises(RefusedError) as error:
        known.check(OTHER)
    assert str(error.value).splitlines() == [
        "board (192.0.2.1 port 2222): this is not the host key of board; not connected.",
        f"  shown:    {fingerprint(OTHER)} (ssh-ed25519)",
        f"  expected: {fingerprint(ED25519)} (ssh-ed25519), {fingerprint(ECDSA)}"
        " (ecdsa-sha2-nistp256)",
        "  If the card was flashed on another machine or checkout, use that one, or copy its"
        " build/host-keys/board. If not, somebody may intercept the connection.",
    ]
    # Nobody is asked about a key that should be another one.
    assert operator.asked == []


def test_an_unknown_key_is_asked_about_once_and_known_from_then_on(folder: Path) -> None:
    operator = Operator(" Yes \n")
    first = keys(folder, ask=operator.ask)
    assert first.may_ask
    assert first.types == ()
    first.check(ED25519)
    first.check(ED25519)
    (question,) = operator.asked
    assert "board (192.0.2.1 port 2222) shows a host key that is not known yet:" in question
    assert f"{fingerprint(ED25519)} (ssh-ed25519)" in question
    assert (folder / "known_hosts").read_text() == f"board {ED25519}\n"
    again = keys(folder)
    assert not again.may_ask
    assert again.types == ("ssh-ed25519",)
    again.check(ED25519)


@pytest.mark.parametrize("answer", ["no\n", "\n", "", "y\n", "yes please\n"])
def test_any_other_answer_than_yes_refuses(folder: Path, answer: str) -> None:
    operator = Operator(answer)
    known = keys(folder, ask=operator.ask)
    with pytest.raises(RefusedError, match="its host key was not accepted; not connected"):
        known.check(ED25519)
    assert not (folder / "known_hosts").exists()
    # It stays unknown: it is asked about again.
    with pytest.raises(RefusedError):
        known.check(ED25519)
    assert len(operator.asked) == 2


def test_without_a_terminal_an_unknown_key_is_refused(folder: Path) -> None:
    known = keys(folder)
    assert not known.may_ask
    with pytest.raises(RefusedError, match="no terminal to ask") as error:
        known.check(ED25519)
    assert fingerprint(ED25519) in str(error.value)
    assert "inv ssh board" in str(error.value)
    assert not (folder / "known_hosts").exists()


def test_a_key_that_changed_since_it_was_accepted_is_refused(folder: Path) -> None:
    keys(folder, ask=Operator("yes").ask, name="Board").check(ED25519)
    operator = Operator("yes")
    known = keys(folder, ask=operator.ask, name="Board")
    with pytest.raises(RefusedError) as error:
        known.check(OTHER)
    text = str(error.value)
    assert f"expected: {fingerprint(ED25519)}" in text
    assert "If the board has a new card, forget the old key: ssh-keygen -R board -f" in text
    assert str(folder / "known_hosts") in text
    assert operator.asked == []
    # The next one asks nobody, either: one key was accepted, not any.
    with pytest.raises(RefusedError):
        known.check(ECDSA)


def test_the_key_of_another_target_is_not_this_ones(folder: Path) -> None:
    keys(folder, ask=Operator("yes").ask, name="other").check(ED25519)
    with pytest.raises(RefusedError, match="its host key is not known yet"):
        keys(folder).check(ED25519)


def test_a_revoked_key_is_never_taken(folder: Path) -> None:
    folder.mkdir()
    (folder / "known_hosts").write_text(f"@revoked board {ED25519}\nboard {ED25519}\n")
    operator = Operator("yes")
    with pytest.raises(RefusedError, match=r"is revoked in .*known_hosts; not connected"):
        keys(folder, ask=operator.ask).check(ED25519)
    assert operator.asked == []


def test_a_line_without_an_end_is_not_written_into(folder: Path) -> None:
    folder.mkdir()
    (folder / "known_hosts").write_text(f"other {OTHER}")
    keys(folder, ask=Operator("yes").ask).check(ED25519)
    assert (folder / "known_hosts").read_text() == f"other {OTHER}\nboard {ED25519}\n"


def test_a_key_that_cannot_be_remembered_is_an_error_and_not_taken(folder: Path) -> None:
    # A folder in its place: so not even root can write it.
    (folder / "known_hosts").mkdir(parents=True)
    known = keys(folder, ask=Operator("yes").ask)
    with pytest.raises(FailedError, match="the host key cannot be recorded: Is a directory"):
        known.check(ED25519)
    assert known.types == ()


def test_a_file_that_is_not_text_knows_nobody(folder: Path) -> None:
    folder.mkdir()
    (folder / "known_hosts").write_bytes(b"\xff\xfe\n" + f"board {ED25519}\n".encode())
    keys(folder).check(ED25519)
