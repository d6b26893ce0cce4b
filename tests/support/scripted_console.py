"""A console that follows a script, with a clock that only reading moves; for unlocking."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bootwright.console.boot import BootWatcher
from bootwright.console.ports import ConnectionBack, ConnectionLost
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock_result import UnlockResult
from bootwright.volume.unlock_session import UnlockSession

CASES = Path(__file__).parent.parent / "cases" / "console"
RECORDED = (CASES / "debian12-systemd252-unlock.log").read_bytes()

SECRET = b"correct horse"
OLD_PROMPT = b"Please enter passphrase for disk docker-data! "
HINT = b"(press TAB for no echo) "
PROMPT = b"Please enter passphrase for disk docker-data on /mnt/docker-data: " + HINT
OTHER = b"Please enter passphrase for disk swap: " + HINT
ERASED = b"\b \b" * len(HINT)
HIDDEN = ERASED + b"(no echo) "
TYPED = b"\t\x15" + SECRET + b"\n"
OPENED = b"\r\n[  OK  ] Finished Cryptography Setup for docker-data.\r\n"
LOGIN = b"\r\nboard login: "
U_BOOT = b"\r\nU-Boot 2024.01 (Jan 08 2024)\r\n"

Script = Iterator[bytes]


class Board:
    """A console that follows a script; a read takes a tenth of a second of its clock.

    The script is a generator: it yields what is printed and may read ``typed``.
    """

    def __init__(self, script: Callable[["Board"], Script], history: bytes = b"") -> None:
        self.now = 0.0
        self.typed = b""
        self.typed_at: list[float] = []
        self._history = history
        self._script = script(self)

    def history(self) -> bytes:
        return self._history

    def read(self) -> bytes:
        self.now += 0.1
        return next(self._script, b"")

    def write(self, data: bytes) -> None:
        self.typed += data
        self.typed_at.append(self.now)

    def wait_for(self, typed: bytes) -> Iterator[bytes]:
        while not self.typed.endswith(typed):
            yield b""

    def answers(self, prompt: bytes, hidden: bytes = b"(no echo) ") -> Iterator[bytes]:
        """Ask as systemd does, up to the Enter."""
        yield prompt
        yield from self.wait_for(b"\t")
        yield hidden
        yield from self.wait_for(b"\n")

    def session(self, timeout: float = 60, **more: Any) -> UnlockSession:
        self.log = io.StringIO()
        return UnlockSession(
            target="board",
            watcher=BootWatcher("docker-data", "/mnt/docker-data"),
            console=self,
            passphrase=Secret(SECRET),
            timeout=timeout,
            reporter=TextReporter(self.log),
            clock=lambda: self.now,
            **more,
        )

    def unlock(self, timeout: float = 60, **more: Any) -> UnlockResult:
        return self.session(timeout, **more).run()


class UnreliableBoard(Board):
    """A board whose connection is lost where the script yields ``LOST``, or at what is typed."""

    LOST = b"\0lost"

    def __init__(self, script: Callable[[Board], Script], lost_at: bytes = b"") -> None:
        super().__init__(script)
        self._lost_at = lost_at

    def read(self) -> bytes:
        data = super().read()
        if data == self.LOST:
            raise ConnectionLost("lost")
        return data

    def write(self, data: bytes) -> None:
        super().write(data)
        if self._lost_at and self._lost_at in data:
            raise ConnectionLost("lost while typing")


class UnpluggedBoard(Board):
    """A board whose line is away between two times; what is printed then is lost."""

    def __init__(self, script: Callable[[Board], Script], begin: float, end: float) -> None:
        super().__init__(script)
        self._begin, self._end = begin, end
        self._noticed = False

    def read(self) -> bytes:
        if self._noticed and not self._is_away():
            self._noticed = False
            raise ConnectionBack
        data = super().read()
        if not self._is_away():
            return data
        if not self._noticed:
            self._noticed = True
            raise ConnectionLost("lost")
        return b""

    def write(self, data: bytes) -> None:
        if self._is_away():
            raise ConnectionLost("still lost")
        super().write(data)

    def _is_away(self) -> bool:
        return self._begin <= self.now < self._end
