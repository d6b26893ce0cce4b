"""Fabric and paramiko over a connection that OpenSSH has made.

OpenSSH's client has connected, checked the host key and logged in, as ``~/.ssh/config`` says. Over
its control socket ("proxy mode") others send the messages of the SSH connection protocol
(RFC 4254) in plain packets: so paramiko opens sessions there, without a key exchange and a login of
its own. Source: OpenSSH, ``PROTOCOL.mux``, section "Requesting passthrough via proxy".
"""

import socket
import struct
import threading
from pathlib import Path

import fabric
from paramiko import Transport
from paramiko.config import SSHConfig
from paramiko.message import Message
from paramiko.packet import Packetizer

from bootwright.core.endpoints import SshEndpoint

_HELLO, _VERSION = 0x00000001, 4
_PROXY, _PROXY_CONFIRMED = 0x1000000F, 0x8000000F
_ANSWER_S = 10.0
"""Seconds for the client to answer on its socket; it is a process of this machine."""


class MultiplexedConnection(fabric.Connection):  # type: ignore[misc]
    """Fabric's connection to a target, over the control socket of OpenSSH's client.

    Args:
        ssh: the target's server.
        user: the login name.
        control_path: the control socket.
    """

    control_path = Path()

    def __init__(self, ssh: SshEndpoint, user: str, control_path: Path) -> None:
        # Neither Fabric nor paramiko reads ~/.ssh/config.
        config = fabric.Config(ssh_config=SSHConfig())
        super().__init__(ssh.host, user=user, port=ssh.port, config=config, forward_agent=False)
        self.control_path = control_path

    def open(self) -> None:
        """Connect to the control socket.

        Raises:
            OSError: nobody answers there.
        """
        self.transport = _MultiplexedTransport(_proxied(self.control_path))

    def close(self) -> None:
        """End the sessions; the connection is OpenSSH's, and goes on."""
        if self.transport is not None:
            self.transport.close()


def _proxied(path: Path) -> socket.socket:
    """Return a socket that sends and receives plain packets of the connection protocol."""
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(_ANSWER_S)
        made.connect(str(path))
        _send(made, _HELLO, _VERSION)
        _receive(made)
        _send(made, _PROXY, 0)
        answer = _receive(made)
        if answer[:4] != struct.pack(">I", _PROXY_CONFIRMED):
            raise OSError("the client does not support multiplexing in proxy mode")
    except BaseException:
        made.close()
        raise
    return made


def _send(made: socket.socket, *values: int) -> None:
    made.sendall(struct.pack(f">{len(values) + 1}I", 4 * len(values), *values))


def _receive(made: socket.socket) -> bytes:
    (length,) = struct.unpack(">I", _exactly(made, 4))
    return _exactly(made, length)


def _exactly(made: socket.socket, length: int) -> bytes:
    data = made.recv(length, socket.MSG_WAITALL)
    if len(data) != length:
        raise ConnectionError("the client has ended")
    return data


class _PlainPackets(Packetizer):
    """Packets without encryption and padding: length, a zero, the message."""

    def __init__(self, made: socket.socket) -> None:
        super().__init__(made)
        self._lock = threading.Lock()

    def start_handshake(self, timeout: float) -> None:
        """Set no time limit: there is no key exchange, and a connection may be silent for days."""

    def write_all(self, out: bytes) -> None:  # type: ignore[override]
        """Send nothing: paramiko's greeting, which is the only thing that is no packet."""

    def send_message(self, data: Message) -> None:
        """Send a message."""
        message = data.asbytes()
        with self._lock:
            super().write_all(struct.pack(">IB", len(message) + 1, 0) + message)

    def read_message(self) -> tuple[int, Message]:
        """Receive a message; return its type and the rest of it."""
        (length,) = struct.unpack(">I", self.read_all(4))
        packet = self.read_all(length)
        message = Message(packet[2:])
        message.seqno = 0
        return packet[1], message


class _MultiplexedTransport(Transport):
    """paramiko's transport, which begins with a connection that is logged in."""

    def __init__(self, made: socket.socket) -> None:
        super().__init__(made)
        self.packetizer = _PlainPackets(made)
        self.initial_kex_done = True
        self.active = True
        self.clear_to_send.set()
        self.start()

    def _check_banner(self) -> None:
        """Expect no greeting."""

    def _send_kex_init(self) -> None:
        """Exchange no keys."""

    def _expect_packet(self, *types: int) -> None:
        """Expect no message of a key exchange."""
