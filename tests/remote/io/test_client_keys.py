"""Which keys are offered to a server, in which order, and what an error says of them."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from paramiko import PKey, Transport
from paramiko.auth_strategy import AuthFailure
from paramiko.ssh_exception import AuthenticationException, SSHException

from bootwright.core.errors import InputError
from bootwright.remote.io import client_keys
from bootwright.remote.io.client_keys import OfferedKeys, refusal
from bootwright.remote.known_hosts import fingerprint
from tests.support.sshserver import keygen


class FakeAgent:
    """An SSH agent with the keys of a test."""

    keys: tuple[PKey, ...] = ()
    fails = False
    closed = 0

    def get_keys(self) -> tuple[PKey, ...]:
        if self.fails:
            raise SSHException("lost it")
        return self.keys

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture(autouse=True)
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeAgent]]:
    class Agent(FakeAgent):
        pass

    monkeypatch.setattr(client_keys, "Agent", Agent)
    yield Agent


def offered(keys: OfferedKeys) -> list[str]:
    """Return the fingerprints of what is offered, in order."""
    return [
        fingerprint(f"{source.pkey.get_name()} {source.pkey.get_base64()}")
        for source in keys.get_sources()
    ]


def test_an_identity_of_the_target_is_the_only_key(tmp_path: Path, agent: type[FakeAgent]) -> None:
    own, other = keygen(tmp_path / "own"), keygen(tmp_path / "other")
    agent.keys = (PKey.from_path(tmp_path / "other"),)
    keys = OfferedKeys("root", tmp_path / "own", [tmp_path / "other"], usual=True)
    assert offered(keys) == [fingerprint(own)]
    assert keys.offered == [f"{tmp_path / 'own'} ({fingerprint(own)})"]
    assert fingerprint(other) not in str(refusal(keys, "board"))


def test_the_agent_comes_first_then_the_files_and_no_key_twice(
    tmp_path: Path, agent: type[FakeAgent]
) -> None:
    held, rsa, ed = (keygen(tmp_path / name) for name in ("held", "id_ecdsa", "id_ed25519"))
    agent.keys = (PKey.from_path(tmp_path / "held"), PKey.from_path(tmp_path / "id_ed25519"))
    files = [tmp_path / name for name in ("id_rsa", "id_ecdsa", "id_ed25519")]
    keys = OfferedKeys("mia", None, files, usual=True)
    assert offered(keys) == [fingerprint(held), fingerprint(ed), fingerprint(rsa)]
    assert keys.offered[0].endswith(f"in the agent ({fingerprint(held)})")
    # That a usual file is not there is no news.
    assert keys.left_out == []


def test_a_key_with_a_passphrase_is_left_to_the_agent(
    tmp_path: Path, agent: type[FakeAgent]
) -> None:
    keygen(tmp_path / "locked", passphrase="secret")
    files = [tmp_path / "locked"]
    keys = OfferedKeys("mia", None, files, usual=False)
    assert offered(keys) == []
    assert keys.left_out == [f"{tmp_path / 'locked'}: has a passphrase; run ssh-add first"]
    text = str(refusal(keys, "board (mia@192.0.2.1 port 22)"))
    assert text.splitlines() == [
        "board (mia@192.0.2.1 port 22): the server refuses to log us in",
        f"  left out: {tmp_path / 'locked'}: has a passphrase; run ssh-add first",
        "  there was no key to offer",
        "  Set identity_file (and user) in bootwright.toml to the key that the card was made for.",
    ]
    # The agent has it: then it was not left out.
    agent.keys = (unlocked(tmp_path / "locked"),)
    keys = OfferedKeys("mia", None, files, usual=False)
    assert len(offered(keys)) == 1
    assert keys.left_out == []


def unlocked(path: Path) -> PKey:
    """Return a key as an agent has it, which knows the passphrase."""
    open_copy = path.with_name("open")
    open_copy.write_bytes(path.read_bytes())
    open_copy.chmod(0o600)
    argv = ["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", str(open_copy)]
    subprocess.run(argv, check=True, capture_output=True)
    return PKey.from_path(open_copy)


def test_an_identity_with_a_passphrase_is_taken_from_the_agent(
    tmp_path: Path, agent: type[FakeAgent]
) -> None:
    own = keygen(tmp_path / "locked", passphrase="secret")
    keygen(tmp_path / "other")
    with pytest.raises(InputError, match="locked: has a passphrase; run ssh-add first"):
        offered(OfferedKeys("root", tmp_path / "locked", [], usual=True))
    agent.keys = (PKey.from_path(tmp_path / "other"), unlocked(tmp_path / "locked"))
    keys = OfferedKeys("root", tmp_path / "locked", [], usual=True)
    assert offered(keys) == [fingerprint(own)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"nothing of the kind\n", "no private key that can be used"),
        (b"", "no private key that can be used"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "no private key that can be used"),
    ],
)
def test_a_file_that_is_no_key_is_named_with_the_reason(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"SSH key .*key: {why}"):
        offered(OfferedKeys("root", path, [], usual=True))
    keys = OfferedKeys("root", None, [path], usual=False)
    assert offered(keys) == []
    assert keys.left_out == [f"{path}: {why}"]


def test_an_agent_that_does_not_answer_is_none(tmp_path: Path, agent: type[FakeAgent]) -> None:
    own = keygen(tmp_path / "id_ed25519")
    agent.fails = True
    keys = OfferedKeys("mia", None, [tmp_path / "id_ed25519"], usual=True)
    assert offered(keys) == [fingerprint(own)]


def test_each_key_is_loaded_only_when_it_is_offered(tmp_path: Path) -> None:
    keygen(tmp_path / "first")
    keys = OfferedKeys("mia", None, [tmp_path / "first", tmp_path / "gone"], usual=False)
    sources = keys.get_sources()
    next(sources)
    # A server that takes the first key gets no other, and nothing is said of them.
    assert len(keys.offered) == 1
    assert keys.left_out == []
    assert list(sources) == []
    assert keys.left_out == [f"{tmp_path / 'gone'}: cannot be read: No such file or directory"]


def test_a_public_half_that_is_damaged_helps_nobody(tmp_path: Path, agent: type[FakeAgent]) -> None:
    keygen(tmp_path / "locked", passphrase="secret")
    agent.keys = (unlocked(tmp_path / "locked"),)
    for text in ("", "ssh-ed25519", "ssh-ed25519 ???", base64.b64encode(b"x").decode()):
        (tmp_path / "locked.pub").write_text(text)
        with pytest.raises(InputError, match="has a passphrase"):
            offered(OfferedKeys("root", tmp_path / "locked", [], usual=True))


class RefusingTransport:
    """A server that takes no key."""

    def auth_publickey(self, username: str, key: PKey) -> list[str]:
        raise AuthenticationException(f"not {username}")


def test_the_agent_is_let_go_also_if_no_key_is_taken(
    tmp_path: Path, agent: type[FakeAgent]
) -> None:
    keygen(tmp_path / "held")
    agent.keys = (PKey.from_path(tmp_path / "held"),)
    keys = OfferedKeys("mia", None, [], usual=True)
    with pytest.raises(AuthFailure):
        keys.authenticate(cast(Transport, RefusingTransport()))
    assert len(keys.offered) == 1
    assert agent.closed == 1
