"""A simulated board behind a serial console: what it prints, and who reads what is typed. Pure.

This is also a description of how systemd asks for a passphrase on a terminal
(``ask_password_tty`` in ``src/shared/ask-password-api.c``, and the agent that calls it):

* The terminal's input is flushed: what was typed before the question is lost.
* The question is printed; when its last byte is transmitted (``TCSADRAIN``), the echo is
  turned off. What is typed in between is echoed as it is, and belongs to the answer.
* Since v245 the first key, whichever it is, erases the hint with backspaces.
* TAB erases what was typed, prints ``(no echo) ``, and nothing is shown from then on. It has
  done so since v208 at least; the hint is only newer. A second TAB is a character like any
  other. Backspace as the very first key does the same.
* Without TAB an asterisk is printed for every character, so the length can be seen.
* Ctrl-U clears; Ctrl-D cancels (v245 and later); Enter (or a NUL) ends the question with a
  line break.
* Then the key is derived, which takes seconds, and only after that is it known whether the
  passphrase was right. After a wrong one the question is asked again.

Debian's initial RAM disk (``askpass``) differs: the echo goes off *before* its question is
printed, and the terminal stays in line mode, so TAB is a character of the passphrase.

A board has no clock: the caller passes the time, in seconds. It prints at the speed of its
serial line.
"""

import math
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bootwright.console.systemd_messages import HIDDEN, INITRAMFS, Dialect

LINE_SPEED = 11520
"""Bytes a second of a serial line at 115200 baud: ten bits for each byte."""

ENTER, ERASE, CLEAR, CANCEL = 0x0A, (0x08, 0x7F), 0x15, 0x04
"""Keys, as a program reads them (the Enter key sends a carriage return)."""

Pieces = tuple[tuple[float, bytes], ...]
"""What is printed, in order, each after a pause in seconds."""

Interruptions = tuple[tuple[int, float, bytes], ...]
"""Other output that interrupts a text: before which byte, after how many seconds, and what."""


def interrupt(text: bytes, interruptions: Interruptions) -> Pieces:
    """Return ``text`` with other output in it; the text goes on right after that."""
    pieces: list[tuple[float, bytes]] = []
    begin = 0
    for at, pause, output in sorted(interruptions):
        pieces += [(0.0, text[begin:at]), (pause, output)]
        begin = max(begin, at)
    return tuple(piece for piece in (*pieces, (0.0, text[begin:])) if piece != (0.0, b""))


@dataclass(frozen=True)
class Output:
    """Something is printed; nobody reads what is typed."""

    pieces: Pieces


@dataclass(frozen=True)
class Listen:
    """Another program reads what is typed, and the terminal echoes it: a getty, a shell.

    Attributes:
        pieces: printed first, such as ``board login: ``.
        reply: printed after each Enter.
        patience: seconds after which the script goes on; by default it never does.
    """

    pieces: Pieces
    reply: bytes = b""
    patience: float = math.inf


@dataclass(frozen=True)
class AskPassphrase:
    """A passphrase is asked for until the right one is typed or the tries are used up.

    Attributes:
        disk: the name of the question in :class:`TypedAnswer`.
        dialect: how it is asked.
        prompt: the question as it is printed, perhaps with other output in it.
        right: the passphrase; ``None`` if every one is wrong.
        tries: how many wrong answers are accepted before it gives up; 0: any number.
        echo_delay: seconds from the question's last byte to the echo being off.
        reaction: seconds from a key to what the board prints because of it.
        reply_interruptions: other output in the answer to a TAB.
        meanwhile: other output while the question waits.
        patience: seconds from the echo being off until the question is given up unanswered.
        kdf_seconds: seconds from Enter until it is known whether the answer is right.
        opened: printed after the right answer.
        refused: printed after a wrong one; often nothing, on a serial console.
        gave_up: what happens instead of the rest of the script when the tries are used up.
    """

    disk: str
    dialect: Dialect
    prompt: Pieces
    right: bytes | None
    tries: int = 3
    echo_delay: float = 0.005
    reaction: float = 0.0
    reply_interruptions: Interruptions = ()
    meanwhile: Pieces = ()
    patience: float = math.inf
    kdf_seconds: float = 2.0
    opened: Pieces = ()
    refused: Pieces = ()
    gave_up: tuple["BootStep", ...] = ()


BootStep = Output | Listen | AskPassphrase


@dataclass(frozen=True)
class TypedAnswer:
    """What was typed at a question.

    Attributes:
        disk: the name of the question.
        given: the bytes it read.
        how: ended by Enter, by Ctrl-D, or not ended before the question was given up.
        hidden: nothing was shown when it ended.
        echoed: those of the bytes that the terminal echoed as they are.
        at: when it ended.
    """

    disk: str
    given: bytes
    how: Literal["enter", "cancel", "gone"]
    hidden: bool
    echoed: bytes
    at: float


@dataclass(frozen=True)
class _Wait:
    until: float
    for_key: bool = False


@dataclass
class _Typed:
    """What a question has read so far: bytes, and whether each was echoed in clear."""

    keys: list[tuple[int, bool]] = field(default_factory=list)
    dirty: bool = False
    silent: bool = False

    def given(self) -> bytes:
        return bytes(key for key, _ in self.keys)

    def shown(self) -> int:
        """Return how many asterisks there are: one for each character, not each byte."""
        return 0 if self.silent else len(self.given().decode("utf-8", "replace"))


_Play = Generator[_Wait, None, None]


class SimulatedBoard:
    """A board that plays a script.

    Args:
        script: what happens, in order.
        speed: of the line, in bytes a second.
        tab_echo: what the terminal echoes for a TAB while the echo is on: the TAB, or
            blanks (``XTABS``).

    Attributes:
        answers: what was typed at each question, in order.
        typed: everything that was typed, with its time.
        exposed: everything that the terminal echoed as it is.
    """

    def __init__(
        self, script: Sequence[BootStep], *, speed: float = LINE_SPEED, tab_echo: bytes = b"\t"
    ) -> None:
        self.answers: list[TypedAnswer] = []
        self.typed: list[tuple[float, bytes]] = []
        self.exposed = bytearray()
        self._speed = speed
        self._tab_echo = tab_echo
        self._now = 0.0
        self._wire: deque[tuple[float, bytes]] = deque()
        self._free = 0.0
        self._echo = True
        self._queue: deque[tuple[int, bool]] = deque()
        self._unread = bytearray()
        self._asked = ""
        self._over = False
        self._play = self._run(tuple(script))
        self._wait = _Wait(0.0)

    def due(self, now: float) -> bytes:
        """Return what has been printed since the last call."""
        self._advance(now)
        if not self._wire:
            return b""
        out = bytearray()
        while self._wire:
            start, data = self._wire.popleft()
            # Without the small addition a rounding error could delay a byte that is due.
            count = int((now - start) * self._speed + 1e-6)
            out += data[: max(count, 0)]
            if count < len(data):
                count = max(count, 0)
                self._wire.appendleft((start + count / self._speed, data[count:]))
                break
        return bytes(out)

    def type(self, data: bytes, now: float) -> None:
        """Type ``data``."""
        self._advance(now)
        self.typed.append((now, data))
        for byte in data:
            key = ENTER if byte == 0x0D else byte
            if self._echo:
                self._out(self._echo_of(key))
                self.exposed.append(byte)
            self._queue.append((key, self._echo))
        self._advance(now)

    def next_at(self) -> float:
        """Return the earliest time at which something can be printed if nothing is typed."""
        if self._wire:
            return self._wire[0][0] + 1 / self._speed
        return math.inf if self._over else self._wait.until

    @property
    def waiting(self) -> str:
        """What the board waits for, in words for the operator; empty if for nothing."""
        return f"the passphrase of {self._asked}" if self._asked else ""

    @property
    def over(self) -> bool:
        """Whether the script has ended and everything is printed."""
        return self._over and not self._wire

    @property
    def unread(self) -> bytes:
        """What was typed and no question read: it was lost, or another program read it."""
        return bytes(self._unread) + bytes(key for key, _ in self._queue)

    def _advance(self, now: float) -> None:
        while not self._over:
            if not (self._wait.for_key and self._queue):
                if self._wait.until > now:
                    break
                self._now = max(self._now, self._wait.until)
            try:
                self._wait = next(self._play)
            except StopIteration:
                self._over = True
        self._now = max(self._now, now)

    def _out(self, data: bytes) -> None:
        if data:
            start = max(self._now, self._free)
            self._wire.append((start, data))
            self._free = start + len(data) / self._speed

    def _echo_of(self, key: int) -> bytes:
        if key == 0x09:
            return self._tab_echo
        if key == ENTER:
            return b"\r\n"
        return bytes([key]) if key >= 0x20 and key != 0x7F else b"^" + bytes([key ^ 0x40])

    def _print(self, pieces: Pieces) -> _Play:
        for pause, data in pieces:
            yield _Wait(max(self._now, self._free) + pause)
            self._out(data)

    def _run(self, steps: tuple[BootStep, ...]) -> _Play:
        for step in steps:
            if isinstance(step, Output):
                yield from self._print(step.pieces)
            elif isinstance(step, Listen):
                yield from self._listen(step)
            elif not (yield from self._ask(step)):
                yield from self._run(step.gave_up)
                return

    def _listen(self, step: Listen) -> _Play:
        yield from self._print(step.pieces)
        end = self._now + step.patience
        while self._queue or self._now < end:
            yield _Wait(end, for_key=True)
            while self._queue:
                key, _ = self._queue.popleft()
                self._unread.append(key)
                if key == ENTER:
                    self._out(step.reply)

    def _ask(self, ask: AskPassphrase) -> Generator[_Wait, None, bool]:
        """Ask; return whether the boot goes on."""
        wrong = 0
        while True:
            self._unread += bytes(key for key, _ in self._queue)
            self._queue.clear()
            if ask.dialect.version == INITRAMFS:
                self._echo = False
            yield from self._print(ask.prompt)
            yield _Wait(max(self._now, self._free) + ask.echo_delay)
            self._echo = False
            self._asked = ask.disk
            answer = yield from self._read_answer(ask)
            self._asked, self._echo = "", True
            self.answers.append(answer)
            if answer.how == "gone":
                return True
            self._out(b"\r\n")
            if answer.how == "cancel":
                return False
            yield _Wait(self._now + ask.kdf_seconds)
            if answer.given == ask.right:
                yield from self._print(ask.opened)
                return True
            wrong += 1
            if wrong == ask.tries:
                return False
            yield from self._print(ask.refused)

    def _read_answer(self, ask: AskPassphrase) -> Generator[_Wait, None, TypedAnswer]:
        hint, hidden = len(ask.dialect.hint), ask.dialect.version == INITRAMFS
        typed = _Typed(silent=hidden)
        end, others = self._now + ask.patience, deque(ask.meanwhile)
        other_at = self._now + others[0][0] if others else math.inf
        while True:
            yield _Wait(min(end, other_at), for_key=True)
            if not self._queue:
                if self._now >= end:
                    return self._answer(ask, typed, "gone")
                self._out(others.popleft()[1])
                other_at = self._free + others[0][0] if others else math.inf
                continue
            key, echoed = self._queue.popleft()
            if key in (ENTER, 0):
                self._out(b"\b \b" * hint)
                return self._answer(ask, typed, "enter")
            if ask.dialect.version == INITRAMFS:
                _line_mode(typed, key, echoed)
                continue
            if key == CANCEL and ask.dialect.version >= 245:
                self._out(b"\b \b" * hint + b"(skipped)")
                return self._answer(ask, typed, "cancel")
            reply, hint = b"\b \b" * hint + _react(typed, key, echoed), 0
            if reply:
                yield _Wait(self._now + ask.reaction)
                to_tab = reply.endswith(HIDDEN)
                interruptions = ask.reply_interruptions if to_tab else ()
                yield from self._print(interrupt(reply, interruptions))

    def _answer(
        self, ask: AskPassphrase, typed: _Typed, how: Literal["enter", "cancel", "gone"]
    ) -> TypedAnswer:
        echoed = bytes(key for key, echoed in typed.keys if echoed)
        return TypedAnswer(ask.disk, typed.given(), how, typed.silent, echoed, self._now)


def _react(typed: _Typed, key: int, echoed: bool) -> bytes:
    """Take a key that does not end the question; return what systemd prints because of it."""
    shown = typed.shown()
    if key == CLEAR:
        typed.keys.clear()
        return b"\b \b" * shown
    if key in ERASE and typed.keys:
        text = typed.given().decode("utf-8", "surrogateescape")
        del typed.keys[len(text[:-1].encode("utf-8", "surrogateescape")) :]
        return b"" if typed.silent else b"\b \b"
    if key in ERASE and (typed.dirty or typed.silent):
        return b"\a"
    if key in ERASE or (key == 0x09 and not typed.silent):
        typed.silent = True
        return b"\b \b" * shown + HIDDEN
    typed.keys.append((key, echoed))
    typed.dirty = True
    return b"*" * max(typed.shown() - shown, 0)


def _line_mode(typed: _Typed, key: int, echoed: bool) -> None:
    """Take a key as a terminal in line mode does: it edits the line, and shows nothing here."""
    if key == CLEAR:
        typed.keys.clear()
    elif key in ERASE:
        del typed.keys[-1:]
    else:
        typed.keys.append((key, echoed))
