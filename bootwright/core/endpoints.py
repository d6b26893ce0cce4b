"""How a board is reached: its serial console and its SSH server.

This is the same for an emulator and for a real board; only the values differ.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bootwright.core.board_names import MOUNT, TRIES, VOLUME
from bootwright.core.errors import InputError
from bootwright.core.target_names import CONFIG_NAME

UnlockMode = Literal["serial", "ssh"]
"""How the encrypted volume is unlocked: at the serial console during boot, or later over SSH."""


@dataclass(frozen=True)
class SshEndpoint:
    """An SSH server.

    Attributes:
        host: name or address.
        port: TCP port; ``None``: as in the SSH client's configuration, which means 22 without one.
        user: the login name; ``None``: as in the SSH client's configuration.
        identity: the private key file to use; ``None``: as in the SSH client's configuration.
        known_host_keys: the server's public keys, each as ``type base64``; if empty, the
            operator is asked at the first connection.
    """

    host: str
    port: int | None = None
    user: str | None = None
    identity: Path | None = None
    known_host_keys: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The host, and the port if it is given; for messages."""
        return self.host if self.port is None else f"{self.host} port {self.port}"


@dataclass(frozen=True)
class Endpoint:
    """A board or an emulator.

    Attributes:
        name: the target's name, for messages and files.
        serial_url: a device path or a pyserial URL (``socket://host:port``,
            ``rfc2217://host:port``); ``None`` without a serial line.
        baud: bits per second of the serial line.
        console_history: a file with all output of the console since the start; output is
            added also while a client is connected.
        ssh: the SSH server, if there is one.
        unlock: how the volume is unlocked.
        tries: how many passphrases may be tried in one boot; 0 means any number.
        volume: the encrypted volume's name in crypttab.
        mount: where the volume is mounted.
    """

    name: str
    serial_url: str | None = None
    baud: int = 115200
    console_history: Path | None = None
    ssh: SshEndpoint | None = None
    unlock: UnlockMode = "serial"
    tries: int = TRIES
    volume: str = VOLUME
    mount: str = MOUNT

    def ssh_server(self) -> SshEndpoint:
        """Return the SSH server.

        Raises:
            InputError: the target has no address.
        """
        if self.ssh is None:
            raise InputError(
                f"target {self.name!r} has no address: set host (and port, user) in {CONFIG_NAME}"
            )
        return self.ssh
