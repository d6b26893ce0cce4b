"""A stand-in for the SSH connection to a board: it can be cut, and the board can be out of reach.

What a script does is decided by the function that runs it: on a board of
:mod:`tests.support.fakeboard` for real, or with answers that a test gives.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bootwright.core.errors import FailedError
from bootwright.core.secret import Secret
from bootwright.remote.io.connection import Remote, RemoteFinished, UnreachableError
from bootwright.remote.job import Reconnector

WHERE = "board (root@192.0.2.1 port 22)"

Run = Callable[[str, bytes], RemoteFinished]
"""Runs a script with its standard input."""


@dataclass
class Network:
    """What is between the operator and one board.

    Attributes:
        run: runs a script on the board.
        titles: of the scripts that were run, in order.
        waits: seconds that each connection was willing to wait for the board.
        stays: a connection that is waited for does not end.
        unreachable: how many of the next connections cannot be made.
    """

    run: Run
    titles: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    unreachable: float = 0
    stays: bool = False
    _events: list[tuple[str, int, Callable[[], object]]] = field(default_factory=list)

    def before(self, title: str, event: Callable[[], object], nth: int = 1) -> None:
        """Have something happen right before the ``nth`` script with a title is run."""
        self._events.append((title, nth, event))

    def happen(self, title: str) -> None:
        """Note a script, and have happen what is to happen before it."""
        self.titles.append(title)
        count = self.titles.count(title)
        for event in [event for event in self._events if event[:2] == (title, count)]:
            event[2]()

    def connect(self, wait: float | None) -> Remote:
        """Return a connection that is not made yet."""
        return FakeConnection(self, wait)

    def reconnector(self) -> Reconnector:
        """Return a connection that is made."""
        reconnector = Reconnector(self.connect, 0.0)
        reconnector.board.connect()
        return reconnector


def cut() -> None:
    """Lose the connection: an event for :meth:`Network.before`."""
    raise FailedError(f"{WHERE}: the connection was lost")


class FakeConnection(Remote):
    """One connection; after it was cut, no script can be run over it any more."""

    def __init__(self, network: Network, wait: float | None) -> None:
        self._network, self._wait_s = network, wait or 0.0
        self._open = False

    @property
    def where(self) -> str:
        return WHERE

    @property
    def may_ask(self) -> bool:
        return False

    def connect(self) -> None:
        self._network.waits.append(self._wait_s)
        if self._network.unreachable > 0:
            self._network.unreachable -= 1
            raise UnreachableError(f"{WHERE}: no answer")
        self._open = True

    def close(self) -> None:
        self._open = False

    def wait_until_lost(self, timeout: float | None = None) -> bool:
        self._open = self._network.stays
        return not self._open

    def run(
        self,
        script: str,
        *,
        title: str,
        stdin: bytes | Secret | None = None,
        sudo: bool = False,
        timeout: float,
    ) -> RemoteFinished:
        assert self._open, f"{title}: a script over a connection that is not there"
        assert sudo, f"{title}: not as root"
        try:
            self._network.happen(title)
        except FailedError:
            self._open = False
            raise
        data = stdin.reveal() if isinstance(stdin, Secret) else stdin or b""
        return self._network.run(script, data)


class AnsweringBoard:
    """A board that answers the scripts of a title one after the other, the last answer again.

    Args:
        answers: by title, what each script writes, or how it ends.

    Attributes:
        network: by which it is reached.
        inputs: what each script was given on standard input, with its title.
    """

    def __init__(self, answers: Mapping[str, Sequence[str | RemoteFinished]]) -> None:
        self._answers = answers
        self.network = Network(self._run)
        self.inputs: list[tuple[str, bytes]] = []

    def _run(self, script: str, stdin: bytes) -> RemoteFinished:
        title = self.network.titles[-1]
        self.inputs.append((title, stdin))
        answers, number = self._answers[title], self.network.titles.count(title)
        answer = answers[min(number, len(answers)) - 1]
        if isinstance(answer, RemoteFinished):
            return answer
        return RemoteFinished(0, answer.encode(), b"")
