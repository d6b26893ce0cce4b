"""Deciding whether a server's host key is the right one, and recording new ones.

The same known-hosts file and the same rules as for ``inv ssh``: the keys of a card that was
flashed here are known; the operator is asked once about the key of any other target.
"""

from collections.abc import Sequence
from pathlib import Path

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError, RefusedError
from bootwright.core.io.ask import Ask
from bootwright.core.paths import display_path
from bootwright.remote.io.openssh import write_known_hosts
from bootwright.remote.known_hosts import fingerprint, known_hosts_line, known_keys


class HostKeys:
    """The host keys of one target.

    Args:
        endpoint: the target; its known host keys are the only ones if there are any.
        ask: how to ask about a key that is not known; ``None`` without a terminal.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.
    """

    def __init__(self, endpoint: Endpoint, ask: Ask | None, directory: Path | None = None) -> None:
        assert endpoint.ssh is not None
        self._name = endpoint.name
        self._where = f"{endpoint.name} ({endpoint.ssh.host} port {endpoint.ssh.port})"
        self._ask = ask
        self._file = write_known_hosts(endpoint, directory)
        self._from_flash = bool(endpoint.ssh.known_host_keys)
        text = self._file.read_text(errors="replace") if self._file.is_file() else ""
        known = known_keys(text, endpoint.name)
        self._known, self._revoked = known.accepted, known.revoked

    @property
    def types(self) -> tuple[str, ...]:
        """The types of the known keys: a server with several must show one of these."""
        return tuple(dict.fromkeys(key.split()[0] for key in self._known))

    @property
    def may_ask(self) -> bool:
        """Whether the operator would be asked about the server's key."""
        return self._ask is not None and not self._known

    def check(self, key: str) -> None:
        """Return if ``key``, in the form ``type base64``, is the target's.

        Raises:
            RefusedError: another key is known, or the operator has not accepted this one.
            FailedError: the accepted key cannot be recorded.
        """
        if key in self._revoked:
            raise RefusedError(
                f"{self._where}: its host key {fingerprint(key)} is revoked in"
                f" {display_path(self._file)}; not connected"
            )
        if key in self._known:
            return
        if self._known:
            raise RefusedError(self._changed(key))
        self._confirm(key)
        self._record(key)
        self._known = (key,)

    def _changed(self, key: str) -> str:
        if self._from_flash:
            advice = (
                "If the card was flashed on another machine or checkout, use that one, or copy"
                f" its build/host-keys/{self._name}. If not, somebody may intercept the connection."
            )
        else:
            advice = (
                "If the board has a new card, forget the old key: "
                f"ssh-keygen -R {self._name.lower()} -f {display_path(self._file)}. "
                "If not, somebody may intercept the connection."
            )
        return "\n".join(
            [
                f"{self._where}: this is not the host key of {self._name}; not connected.",
                f"  shown:    {_described([key])}",
                f"  expected: {_described(self._known)}",
                f"  {advice}",
            ]
        )

    def _confirm(self, key: str) -> None:
        described = _described([key])
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

    def _record(self, key: str) -> None:
        try:
            old = self._file.read_text(errors="replace") if self._file.is_file() else ""
            separator = "\n" if old and not old.endswith("\n") else ""
            with self._file.open("a", encoding="utf-8") as file:
                file.write(separator + known_hosts_line(self._name, key))
        except OSError as error:
            raise FailedError(
                f"{display_path(self._file)}: the host key cannot be recorded: {error.strerror}"
            ) from error


def _described(keys: Sequence[str]) -> str:
    return ", ".join(f"{fingerprint(key)} ({key.split()[0]})" for key in keys)
