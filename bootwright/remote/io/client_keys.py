"""Which of the operator's SSH keys are offered to a server, in OpenSSH's order.

If the target has an identity file, that key alone: a server ends the connection after a few
wrong ones. Otherwise the agent's keys, then the files that ``~/.ssh/config`` names or, if it
names none, the usual ones. A file with a passphrase is not read; its key comes from the agent.
"""

import base64
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from paramiko import Agent, PKey
from paramiko.auth_strategy import AuthStrategy, InMemoryPrivateKey
from paramiko.config import SSHConfig
from paramiko.pkey import UnknownKeyType
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

from bootwright.core.errors import FailedError, InputError
from bootwright.remote.known_hosts import fingerprint

USUAL = ("id_rsa", "id_ecdsa", "id_ed25519")
"""Key files below ``~/.ssh`` in OpenSSH's order; ssh_config(5), IdentityFile."""


class _UnusableKeyError(Exception):
    """Why a key file cannot be used."""


class OfferedKeys(AuthStrategy):
    """Offers keys one after the other, and records for an error what was offered or left out.

    Args:
        user: the login name.
        identity: the only key to offer.
        others: key files to offer instead, if there is no ``identity``.
        usual: ``others`` are the usual files, which may be missing.
    """

    def __init__(
        self, user: str, identity: Path | None, others: Sequence[Path], usual: bool
    ) -> None:
        super().__init__(ssh_config=SSHConfig())
        self._user = user
        self._identity = identity
        self._others = others
        self._usual = usual
        self._agent: Agent | None = None
        self.offered: list[str] = []
        self.left_out: list[str] = []

    def authenticate(self, transport: Transport) -> list[object]:  # type: ignore[override]
        """Log in, and close the connection to the agent."""
        try:
            return list(super().authenticate(transport))
        finally:
            if self._agent is not None:
                self._agent.close()

    def get_sources(self) -> Iterator[InMemoryPrivateKey]:
        """Yield the keys; each is offered before the next one is read."""
        if self._identity is not None:
            yield self._source(self._own_key(self._identity), str(self._identity))
            return
        held = set()
        for key in self._agent_keys():
            held.add(key.asbytes())
            yield self._source(key, getattr(key, "comment", "") or "no name", " in the agent")
        for path in self._others:
            if self._usual and not path.exists():
                continue
            try:
                key = _load(path)
            except _UnusableKeyError as error:
                if _public(path) not in held:
                    self.left_out.append(f"{path}: {error}")
                continue
            if key.asbytes() not in held:
                yield self._source(key, str(path))

    def _own_key(self, path: Path) -> PKey:
        try:
            return _load(path)
        except _UnusableKeyError as error:
            public = _public(path)
            for key in self._agent_keys():
                if key.asbytes() == public:
                    return key
            raise InputError(f"SSH key {path}: {error}") from None

    def _agent_keys(self) -> Sequence[PKey]:
        # An agent that does not answer, or answers nonsense, is treated as none.
        with contextlib.suppress(SSHException, OSError):
            self._agent = self._agent or Agent()
            return self._agent.get_keys()
        return ()

    def _source(self, key: PKey, name: str, where: str = "") -> InMemoryPrivateKey:
        text = f"{key.get_name()} {key.get_base64()}"
        self.offered.append(f"{name}{where} ({fingerprint(text)})")
        return InMemoryPrivateKey(self._user, key)


def refusal(keys: OfferedKeys, where: str) -> FailedError:
    """Return the error for a server that accepted none of the keys."""
    lines = [f"{where}: the server refuses to log us in"]
    lines += [f"  offered:  {text}" for text in keys.offered]
    lines += [f"  left out: {text}" for text in keys.left_out]
    if not keys.offered:
        lines.append("  there was no key to offer")
    lines.append(
        "  Set identity_file (and user) in bootwright.toml to the key that the card was made for."
    )
    return FailedError("\n".join(lines))


def _load(path: Path) -> PKey:
    try:
        return PKey.from_path(path)
    except OSError as error:
        raise _UnusableKeyError(f"cannot be read: {error.strerror}") from None
    except TypeError:  # cryptography raises it for a key that is encrypted.
        raise _UnusableKeyError("has a passphrase; run ssh-add first") from None
    except (ValueError, SSHException, UnsupportedAlgorithm, UnknownKeyType):
        raise _UnusableKeyError("no private key that can be used") from None


def _public(path: Path) -> bytes | None:
    """Return the public key from the file beside a private one, as a server receives it."""
    beside = path.with_name(f"{path.name}.pub")
    with contextlib.suppress(OSError, ValueError, IndexError):
        return base64.b64decode(beside.read_text(encoding="utf-8").split()[1])
    return None
