"""A connection over OpenSSH's control socket, whose other end the test is."""

import socket
import struct
import threading
from collections.abc import Callable

import pytest

from bootwright.remote.io.multiplexed import _MultiplexedTransport

_GLOBAL_REQUEST, _REQUEST_FAILURE = 80, 82
"""Types of messages of RFC 4254."""


class _Over:
    """A timer whose time is over as soon as it is started."""

    def __init__(self, _seconds: float, function: Callable[[], None]) -> None:
        self.start = function

    def cancel(self) -> None:
        """Do nothing."""


def test_a_connection_on_which_nothing_was_sent_yet_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # `inv unlock --watch` only waits: paramiko's time for a key exchange must not end it.
    monkeypatch.setattr(threading, "Timer", _Over)
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(30)
        transport = _MultiplexedTransport(ours)
        try:
            name = b"question"
            request = struct.pack(">BI", _GLOBAL_REQUEST, len(name)) + name + b"\1"
            theirs.sendall(struct.pack(">IB", len(request) + 1, 0) + request)
            answer = theirs.recv(6, socket.MSG_WAITALL)
            assert answer[5:] == bytes([_REQUEST_FAILURE])
        finally:
            transport.close()
