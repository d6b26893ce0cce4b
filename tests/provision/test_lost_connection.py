"""Provisioning over a connection that is lost, with the real Docker."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError
from bootwright.provision.one_board import ProvisionOptions
from tests.support.hostboard import changed_steps, wait_until
from tests.support.interruptions import FILES_LEFT, Listener
from tests.support.nativeboard import NativeBoard

pytestmark = pytest.mark.integration


class Cable:
    """A TCP connection to the board that can be cut."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self.cut = False
        self._server = threading.Thread(target=self._serve)
        self._server.start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.cut:
                near.close()
                continue
            far = socket.create_connection(self._to)
            with self._lock:
                self._ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def sever(self, for_good: bool = False) -> None:
        self.cut = for_good
        with self._lock:
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._ends.clear()

    def close(self) -> None:
        self.sever(for_good=True)
        # Wakes the thread that waits for a connection; closing alone would leave it listening.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._server.join()
        self._listener.close()


# The daemon of the board starts only when the test lets it: by then the connection is lost.
GATE = """
mkfifo /run/gate
mkdir -p /etc/systemd/system/docker.service.d
cat >/etc/systemd/system/docker.service.d/10-gate.conf <<'END'
[Service]
ExecStartPre=/bin/sh -c '[ ! -p /run/gate ] || read line </run/gate'
END
systemctl daemon-reload
"""


def at_the_restart(board: NativeBoard, interrupt: Callable[[], None]) -> Listener:
    """Return a reporter that interrupts the run while the daemon is restarted."""
    board.sh(GATE)

    def act() -> None:
        interrupt()
        board.sh("echo >/run/gate; rm /run/gate")

    return Listener("daemon", act)


@contextlib.contextmanager
def cable(native_board: NativeBoard) -> Iterator[tuple[Cable, Endpoint]]:
    endpoint = native_board.endpoint
    assert endpoint.ssh is not None
    assert endpoint.ssh.port is not None
    made = Cable(endpoint.ssh.host, endpoint.ssh.port)
    try:
        here = replace(endpoint.ssh, host="127.0.0.1", port=made.port)
        yield made, replace(endpoint, ssh=here)
    finally:
        made.close()


def test_provisioning_continues_after_a_lost_connection(native_board: NativeBoard) -> None:
    with cable(native_board) as (line, endpoint):
        listener = at_the_restart(native_board, line.sever)
        done = native_board.provision(
            # The daemon has to be restarted for this one.
            {"daemon": {"mtu": 1400}},
            endpoint=endpoint,
            reporter=listener,
        )
    assert listener.happened
    assert done.error is None, done.error
    assert changed_steps(done) == {"daemon"}
    assert native_board.daemon_json()["mtu"] == 1400
    # What is not wanted any more is removed; nothing else has to be done.
    assert changed_steps(native_board.provision()) == {"daemon"}
    assert "mtu" not in native_board.daemon_json()


def test_the_board_undoes_the_change_if_the_connection_stays_lost(
    native_board: NativeBoard,
) -> None:
    before, pid = native_board.daemon_json(), native_board.pid_of_old()
    with cable(native_board) as (line, endpoint):
        options = ProvisionOptions(directory=native_board.known, confirm_s=20)
        with pytest.raises(FailedError, match="puts an unconfirmed change back"):
            native_board.provision(
                {"daemon": {"icc": True}},
                endpoint=endpoint,
                options=options,
                reporter=at_the_restart(native_board, lambda: line.sever(for_good=True)),
            )
    wait_until(lambda: "armed" not in native_board.sh("ls /var/lib/bootwright/transaction || true"))
    wait_until(lambda: native_board.sh("ls /var/lib/bootwright").split() == FILES_LEFT)
    assert native_board.daemon_json() == before
    assert native_board.pid_of_old() == pid
    bridge = json.loads(native_board.sh("docker network inspect bridge"))[0]
    assert bridge["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    assert changed_steps(native_board.provision()) == set()
