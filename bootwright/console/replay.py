"""Replaying a recorded console: where somebody typed, the player waits for the client.

Pure: a player has no clock, its caller passes the time, as with
:class:`~bootwright.console.simulated_board.SimulatedBoard`. The recorded pauses after that point
begin when the client has typed.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from bootwright.console.prompt import UNLOCK_DISK, find_question
from bootwright.console.screen import Partial, Screen
from bootwright.console.simulated_board import LINE_SPEED
from bootwright.console.systemd_messages import HIDDEN, HINT
from bootwright.console.transcript import Event
from bootwright.core.secret import MASK

_ENTER = re.compile(rb"[\r\n]")
_COLOUR = rb"(?:\x1b\[[\d;]*m)*"
_REST_OF_PROMPT = re.compile(_COLOUR + rb"(?:" + re.escape(HINT) + rb")?" + _COLOUR)
_RECORDS = re.compile(rb"(?:\[ *\d+\.\d{6}\][^\n]*\n)*")
_REPLY = re.compile(rb"(?P<erased>(?:\x08 \x08)*)(?:" + re.escape(HIDDEN) + rb")?\**")


class Peer(Protocol):
    """What plays a board. ``now`` is the time in seconds; it never decreases."""

    def due(self, now: float) -> bytes:
        """Return what has been printed since the last call."""
        ...

    def type(self, data: bytes, now: float) -> None:
        """Type ``data``."""
        ...

    def next_at(self) -> float:
        """Return the earliest time at which something can be printed if nothing is typed."""
        ...

    @property
    def waiting(self) -> str:
        """What the peer waits for, in words for the operator; empty if for nothing."""
        ...

    @property
    def over(self) -> bool:
        """Whether nothing more will be printed."""
        ...


@dataclass(frozen=True)
class Print:
    """``data`` is printed, ``pause`` seconds after what was printed before."""

    pause: float
    data: bytes


@dataclass(frozen=True)
class Await:
    """The player waits until the client has typed.

    Attributes:
        count: how many bytes it waits for; 0: for an Enter.
        on_tab: printed then, if the first byte is a TAB.
        otherwise: printed then, if it is not.
    """

    count: int = 0
    on_tab: bytes = b""
    otherwise: bytes = b""


RecordedStep = Print | Await


class Player:
    """Plays ``steps``. What the client types early counts for the next wait.

    Args:
        steps: what was recorded.
        speed: how many times as fast as recorded.
    """

    def __init__(self, steps: Sequence[RecordedStep], speed: float = 1.0) -> None:
        self._steps = list(reversed(steps))
        self._speed = speed
        self._since = 0.0
        self._typed = b""
        self._typed_at = 0.0

    def due(self, now: float) -> bytes:
        """Return what has been printed since the last call."""
        out = b""
        while self._steps:
            step = self._steps[-1]
            if isinstance(step, Print):
                at = self._since + step.pause / self._speed
                if at > now:
                    break
                self._since = at
                out += step.data
            else:
                length = self._awaited(step)
                if length is None:
                    break
                out += step.on_tab if self._typed.startswith(b"\t") else step.otherwise
                self._typed = self._typed[length:]
                self._since = max(self._since, self._typed_at)
            self._steps.pop()
        return out

    def type(self, data: bytes, now: float) -> None:
        """Type ``data``."""
        self._typed += data
        self._typed_at = now

    def next_at(self) -> float:
        """Return the earliest time at which something can be printed if nothing is typed."""
        if not self._steps:
            return math.inf
        step = self._steps[-1]
        if isinstance(step, Print):
            return self._since + step.pause / self._speed
        return math.inf if self._awaited(step) is None else self._since

    @property
    def waiting(self) -> str:
        """What the player waits for, in words for the operator; empty if for nothing."""
        step = self._steps[-1] if self._steps else None
        if not isinstance(step, Await) or self._awaited(step) is not None:
            return ""
        return "a key" if step.count == 1 else f"{step.count} keys" if step.count else "Enter"

    @property
    def over(self) -> bool:
        """Whether nothing more will be printed."""
        return not self._steps

    def _awaited(self, step: Await) -> int | None:
        """Return how many of the typed bytes ``step`` takes; ``None`` while it waits for more."""
        if step.count:
            return step.count if len(self._typed) >= step.count else None
        enter = _ENTER.search(self._typed)
        return enter.end() if enter else None


def transcript_steps(events: Iterable[Event]) -> Iterator[RecordedStep]:
    """Return the steps of a transcript.

    Keys that were typed in a row are one wait: for as many bytes; or for Enter if there is a
    secret among them, because its length is not recorded.
    """
    since, typed = 0.0, b""
    for event in events:
        if event.kind == "i":
            typed += event.data
        elif event.kind == "o":
            if typed:
                yield _typed_step(typed)
            typed = b""
            yield Print(max(event.at - since, 0.0), event.data)
        if event.kind != "m":
            since = event.at
    if typed:
        yield _typed_step(typed)


def _typed_step(typed: bytes) -> Await:
    if MASK.encode() not in typed:
        return Await(count=len(typed))
    return Await() if _ENTER.search(typed) else Await(count=1)


def log_steps(log: bytes) -> Iterator[RecordedStep]:
    """Return the steps of a console's raw log, at :data:`LINE_SPEED`.

    After each question for a disk's passphrase that is in the log in one piece, the player waits
    for a key, and then for Enter. It answers a TAB as systemd does, even if none was typed when
    the log was made. The initial RAM disk answers no TAB: its question waits for Enter only.
    """
    begin = 0
    for question in _questions(log):
        if question.end < begin:
            continue
        yield from _printed(log[begin : question.end])
        begin = question.end
        if question.answers_tab:
            records = _RECORDS.match(log, begin)
            begin = records.end() if records else begin
            yield from _printed(log[question.end : begin])
            reply = _REPLY.match(log, begin)
            recorded = reply[0] if reply else b""
            erased = b"\b \b" * len(HINT) if question.hint else b""
            yield Await(count=1, on_tab=erased + HIDDEN, otherwise=recorded)
            begin += len(recorded)
        yield Await()
    yield from _printed(log[begin:])


@dataclass(frozen=True)
class _LoggedQuestion:
    """A question in a log: the byte after it, whether systemd asks, and whether it has a hint."""

    end: int
    answers_tab: bool
    hint: bool


def _questions(log: bytes) -> Iterator[_LoggedQuestion]:
    """Return the questions for a disk's passphrase in a log, in order."""
    screen, last = Screen(), -1
    for at, byte in enumerate(log):
        for item in screen.feed(bytes([byte])):
            if not isinstance(item, Partial) or not item.text.endswith(" "):
                continue
            if item.number == last or find_question(item.text) is None:
                continue
            last = item.number
            rest = _REST_OF_PROMPT.match(log, at + 1)
            end = rest.end() if rest else at + 1
            answers_tab = UNLOCK_DISK not in item.text
            yield _LoggedQuestion(end, answers_tab, bool(rest and HINT in rest[0]))


def _printed(data: bytes) -> Iterator[Print]:
    """Return ``data`` line by line, each after the time that the serial line needs for the last."""
    pause = 0.0
    for line in data.splitlines(keepends=True):
        yield Print(pause, line)
        pause = len(line) / LINE_SPEED
