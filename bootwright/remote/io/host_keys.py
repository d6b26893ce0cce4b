"""What is known about a target's host key, and recording a new one.

OpenSSH alone decides whether a server's key is the right one. Here the operator is asked about a
key that nobody knows, and an error says what was expected. The same known-hosts file and rules as
for ``inv ssh``: the keys of a card that was flashed here are the only ones; the operator is asked
once about the key of any other target.
"""

from functools import cached_property
from pathlib import Path

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError, RefusedError
from bootwright.core.io.ask import Ask
from bootwright.core.io.process import run
from bootwright.core.paths import display_path
from bootwright.core.text import sanitize_line
from bootwright.remote.io.openssh import write_known_hosts
from bootwright.remote.openssh_log import ClientLog


class HostKeys:
    """The host keys of one target.

    Args:
        endpoint: the target; its known host keys are the only ones if there are any.
        ask: how to ask about a key that is not known; ``None`` without a terminal.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.

    Attributes:
        file: the known-hosts file.
    """

    def __init__(self, endpoint: Endpoint, ask: Ask | None, directory: Path | None = None) -> None:
        assert endpoint.ssh is not None
        self._name = endpoint.name
        self._where = f"{endpoint.name} ({endpoint.ssh.address})"
        self._ask = ask
        self.file = write_known_hosts(endpoint, directory)
        self._from_flash = bool(endpoint.ssh.known_host_keys)

    @property
    def may_ask(self) -> bool:
        """Whether the operator would be asked about the server's key."""
        return self._ask is not None and not self._known

    @cached_property
    def _known(self) -> tuple[str, ...]:
        """The known keys as text: type and fingerprint."""
        if not self.file.is_file():
            return ()
        # The client writes the name in small letters.
        argv = ["ssh-keygen", "-l", "-F", self._name.lower(), "-f", str(self.file)]
        lines = run(argv, check=False).text.splitlines()
        keys = [line.split() for line in lines if not line.startswith("#")]
        return tuple(f"{key[2]} ({key[1]})" for key in keys if len(key) >= 3)

    def check_may_be_new(self, shown: tuple[str, str]) -> None:
        """Return if a key that OpenSSH does not know may be the target's: the operator says so.

        Args:
            shown: the type and the fingerprint of the server's key.

        Raises:
            RefusedError: another key is known, or the operator has not accepted this one.
        """
        described = _described(shown)
        if self._known:
            raise RefusedError(self._changed(described))
        if self._ask is None:
            raise RefusedError(
                f"{self._where}: its host key is not known yet, and there is no terminal to ask"
                f" at.\n  shown: {described}\n"
                f"  Compare it with the board's, then accept it once: inv ssh {self._name}"
            )
        answer = self._ask(
            f"{self._where} shows a host key that is not known yet:\n  {described}\n"
            "Is it the board's? Type yes to accept it from now on: "
        )
        if answer.strip().lower() != "yes":
            raise RefusedError(f"{self._where}: its host key was not accepted; not connected")

    def record(self, accepted: tuple[str, str], new: Path) -> None:
        """Make the key known that the client has written to a file of its own.

        Args:
            accepted: the type and the fingerprint of the key that the operator has accepted.
            new: that file.

        Raises:
            RefusedError: it is another key: between two connections the server has changed.
            FailedError: it cannot be recorded.
        """
        found = run(["ssh-keygen", "-l", "-f", str(new)], check=False).text.split()
        if accepted[1] not in found:
            raise RefusedError(
                f"{self._where}: this is not the host key that you accepted; not connected.\n"
                f"  accepted: {_described(accepted)}\n"
                f"  shown:    {sanitize_line(' '.join(found)) or 'none'}"
            )
        try:
            old = self.file.read_text(errors="replace") if self.file.is_file() else ""
            separator = "\n" if old and not old.endswith("\n") else ""
            with self.file.open("a", encoding="utf-8") as file:
                file.write(separator + new.read_text(encoding="utf-8"))
        except OSError as error:
            raise FailedError(
                f"{display_path(self.file)}: the host key cannot be recorded: {error.strerror}"
            ) from error
        self.__dict__.pop("_known", None)

    def refused(self, log: ClientLog) -> RefusedError:
        """Return the error for a key that OpenSSH refuses.

        Args:
            log: what the client wrote.
        """
        text = log.key_message
        if log.proxy_failed:
            advice = "Somebody may intercept the connection: compare the key with the jump host's"
            if "has changed" not in text and "revoked" not in text:
                advice = f"If it is not known yet, accept it once: inv ssh {self._name}"
            return RefusedError(
                f"{self._where}: the host key of the jump host of your SSH configuration is not"
                f" accepted; not connected. ssh: {text} {advice}"
            )
        shown = log.host_key
        if shown is None or "revoked" in text.lower():
            key = _described(shown) if shown else ""
            return RefusedError(
                f"{self._where}: its host key {key} is revoked; not connected. ssh: {text}"
            )
        return RefusedError(self._changed(_described(shown)))

    def _changed(self, shown: str) -> str:
        if self._from_flash:
            advice = (
                "If the card was flashed on another machine or checkout, use that one, or copy"
                f" its build/host-keys/{self._name}. If not, somebody may intercept the connection."
            )
        else:
            advice = (
                "If the board has a new card, forget the old key: "
                f"ssh-keygen -R {self._name.lower()} -f {display_path(self.file)}. "
                "If not, somebody may intercept the connection."
            )
        return "\n".join(
            [
                f"{self._where}: this is not the host key of {self._name}; not connected.",
                f"  shown:    {shown}",
                f"  expected: {', '.join(self._known)}",
                f"  {advice}",
            ]
        )


def _described(key: tuple[str, str]) -> str:
    kind, fingerprint = key
    return f"{sanitize_line(fingerprint)} ({sanitize_line(kind)})"
