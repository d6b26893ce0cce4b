"""Provisioning over a connection that is lost, with the real Docker."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError
from bootwright.provision.one_board import ProvisionOptions
from tests.support.hostboard import GUEST_S, Board, changed_steps, wait_until
from tests.support.interruptions import FILES_LEFT, Listener

pytestmark = pytest.mark.emulator


class Cable:
    """A TCP connection to the board that can be cut."""

    def __init__(self, port: int) -> None:
        self._to = port
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
            far = socket.create_connection(("127.0.0.1", self._to))
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


@contextlib.contextmanager
def cable(board: Board) -> Iterator[tuple[Cable, Endpoint]]:
    endpoint = board.endpoint
    assert endpoint.ssh is not None
    made = Cable(endpoint.ssh.port)
    try:
        yield made, replace(endpoint, ssh=replace(endpoint.ssh, port=made.port))
    finally:
        made.close()


def test_provisioning_continues_after_a_lost_connection(board: Board) -> None:
    with cable(board) as (line, endpoint):
        done = board.provision(
            {"daemon": {"max-concurrent-uploads": 2}},
            endpoint=endpoint,
            reporter=Listener("daemon", line.sever),
        )
    assert done.error is None, done.error
    assert changed_steps(done) == {"daemon"}
    assert board.daemon_json()["max-concurrent-uploads"] == 2
    # Nothing is left to do but what another run that does not want it would take away.
    look = ProvisionOptions(dry_run=True, directory=board.known, wait=GUEST_S)
    assert changed_steps(board.provision(options=look)) == {"daemon"}


def test_the_board_undoes_the_change_if_the_connection_stays_lost(board: Board) -> None:
    before, pid = board.daemon_json(), board.pid_of_old()
    with cable(board) as (line, endpoint):
        options = ProvisionOptions(directory=board.known, confirm_s=60)
        with pytest.raises(FailedError, match="puts an unconfirmed change back"):
            board.provision(
                {"daemon": {"icc": True}},
                endpoint=endpoint,
                options=options,
                reporter=Listener("daemon", lambda: line.sever(for_good=True)),
            )
    wait_until(lambda: "armed" not in board.sh("ls /var/lib/bootwright/transaction || true"))
    wait_until(lambda: board.sh("ls /var/lib/bootwright").split() == FILES_LEFT)
    assert board.daemon_json() == before
    assert board.pid_of_old() == pid
    bridge = json.loads(board.sh("docker network inspect bridge"))[0]
    assert bridge["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    assert changed_steps(board.provision()) == set()
