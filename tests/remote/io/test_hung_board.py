"""A board that hangs, with its connections open: OpenSSH's keep-alive ends them.

The keep-alive is made quicker here by the client's command line; that it takes 60 s as it is, is
in `tests/remote/test_openssh_argv.py`. The board is a real sshd, whose processes are all stopped:
the kernel still answers for them, as that of a board that is out of memory does.
"""

import os
import queue
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.core.shell import render
from bootwright.remote.io import connection
from bootwright.remote.io.connection import Remote
from bootwright.remote.job import Reconnector, run_job
from bootwright.remote.job_script import JOB_FUNCTIONS
from bootwright.volume import unlock_watch
from bootwright.volume.unlock import UnlockOptions
from bootwright.volume.unlock_result import Result, UnlockResult
from tests.support.sshserver import SshServer, need_sshd, own_client

pytestmark = pytest.mark.integration

NOTICED = r"the connection was lost \(Timeout, server \S+ not responding\.?\)"

KEEPALIVE_S = 3
"""Seconds in place of 15; the client gives up after four times that."""


class Notes(TextReporter):
    """A reporter whose notes can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: queue.Queue[str] = queue.Queue()

    def note(self, text: str) -> None:
        super().note(text)
        self._notes.put(text)

    def until(self, word: str) -> None:
        """Wait for a note with this word."""
        while word not in self._notes.get(timeout=60):
            pass


def unlocked(result: Result) -> UnlockResult:
    """Return how an attempt to unlock has ended."""
    return UnlockResult("board", "ssh", result, "as the test wants", 0, 0, None, None)


class Board:
    """A server whose processes can be stopped, all at once."""

    def __init__(self, server: SshServer) -> None:
        self.server = server
        self._stopped: list[int] = []

    def hang(self) -> None:
        """Stop the server, its sessions, and what runs in them; not a job, which left them."""
        self._stopped = [self.server.pid]
        for pid in self._stopped:
            os.kill(pid, signal.SIGSTOP)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            self._stopped += map(int, children.split())

    def go_on(self) -> None:
        """Let everything go on that was stopped."""
        for pid in self._stopped:
            os.kill(pid, signal.SIGCONT)
        self._stopped = []


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    need_sshd()
    if Path("/run/systemd/system").exists():
        pytest.skip("systemd runs here: a job would become a unit of this machine")
    config = own_client(tmp_path, monkeypatch)
    program = tmp_path / "bin" / "ssh"
    # The first value of an option counts.
    wrapper = program.read_text().replace(
        f"-F {config}", f"-F {config} -o ServerAliveInterval={KEEPALIVE_S}"
    )
    assert "ServerAlive" in wrapper
    program.write_text(wrapper)
    monkeypatch.setenv("BOOTWRIGHT_BUILD", str(tmp_path / "build"))
    board = Board(SshServer(tmp_path / "sshd", own_run=True).start())
    yield board
    board.go_on()
    board.server.stop()


def test_a_command_a_watch_and_a_job_notice_that_the_board_hangs(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, known = board.server.endpoint(), tmp_path / "known"
    watches = threading.Event()
    wait_until_lost = Remote.wait_until_lost

    def lost(remote: Remote, timeout: float | None = None) -> bool:
        watches.set()
        return wait_until_lost(remote, timeout)

    results = iter([Result.ALREADY_UNLOCKED, Result.WRONG_PASSPHRASE])
    monkeypatch.setattr(Remote, "wait_until_lost", lost)
    monkeypatch.setattr(unlock_watch, "unlock_over_ssh", lambda *_, **__: unlocked(next(results)))

    def command() -> None:
        with Remote(endpoint, directory=known) as remote:
            started = tmp_path / "started"
            remote.run(f"echo begun >{started}; sleep 60", title="a long thing", timeout=600)

    def watch() -> UnlockResult:
        return unlock_watch.watch(
            endpoint, Secret(b"passphrase"), TextReporter(), UnlockOptions(via="ssh", watch=True)
        )

    notes = Notes()
    link = Reconnector(lambda wait: Remote(endpoint, directory=known, wait=wait), 0.0)
    link.board.connect()
    os.mkfifo(tmp_path / "started")
    job = f"{render(*JOB_FUNCTIONS)}mkfifo go\nprogress waits\nread word <go\nsection went\n"
    threads = ThreadPoolExecutor(3)
    idle = Remote(endpoint, directory=known)
    idle.connect()
    try:
        working = threads.submit(command)
        watching = threads.submit(watch)
        following = threads.submit(
            run_job, link, "work", job, {}, timeout=600, patience=600, reporter=notes
        )
        assert (tmp_path / "started").read_text() == "begun\n"
        notes.until("waits")
        assert watches.wait(60)
        board.hang()
        with monkeypatch.context() as patched:
            patched.setattr(connection, "CONNECT_S", 1.0)
            with pytest.raises(FailedError, match=r"not start it .*Does the board hang"):
                idle.run("true", title="the next thing", timeout=600)
        error = working.exception(60)
        assert isinstance(error, FailedError)
        assert re.search(f"a long thing: {NOTICED}. What was under way on the board", str(error))
        assert watching.result(60).result is Result.WRONG_PASSPHRASE
        notes.until("connecting again")
        board.go_on()
        assert board.server.run is not None
        # The job has gone on meanwhile.
        (board.server.run / "bootwright" / "work" / "go").write_text("on\n")
        ended = following.result(120)
    finally:
        idle.close()
        link.close()
        board.go_on()
        threads.shutdown()
    assert (ended.status, [section.name for section in ended.sections]) == (0, ["went"])
