"""From the bytes of a serial console to lines of text.

A console carries UTF-8, escape sequences for colours, carriage returns and
backspaces, and kernel messages that interrupt what a program is printing. :class:`Screen`
resolves all four, one character at a time, so that the size of the chunks cannot matter.

The kernel does not write through the terminal, but directly to the port: a whole record from
its time stamp to its line break, at any column of a line that a program is printing. The
program's line goes on right after the record, and so it does here.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_LINE = 4096
"""Characters of one line that are kept: electrical noise on the wire has no line breaks."""

# "[   12.345678] ", with the caller's id of CONFIG_PRINTK_CALLER: "[   12.345678][    T1] ".
_RECORD = re.compile(r"\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? ")


@dataclass(frozen=True)
class Line:
    """A finished line.

    Attributes:
        text: the line; of a kernel record without its time stamp.
        kernel: it is a kernel record, which interrupted a program's line.
        column: how many characters that program's line had then.
    """

    text: str
    kernel: bool = False
    column: int = 0


class Partial(NamedTuple):
    """One more character of the line that is being printed.

    Attributes:
        text: what a program has printed of the line so far.
        number: the line's number. A kernel record that interrupts a line does not change it.
        char: the character that was printed.
        kernel: it belongs to a kernel record, not to ``text``.
    """

    text: str
    number: int
    char: str
    kernel: bool = False


class Screen:
    """The line that a terminal is printing, and the lines that it has finished."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip = _EscapeFilter()
        self._text = ""
        self._column = 0
        self._record: re.Match[str] | None = None
        self._returned = False
        self._number = 0

    def feed(self, data: bytes) -> Iterator[Line | Partial]:
        """Take the next bytes; yield every finished line and every change of the current one."""
        for char in self._decoder.decode(data):
            if not self._strip.keeps(char):
                continue
            if " " <= char <= "~" and not self._returned:
                yield self._print(char)
            else:
                yield from self._put(char)

    @property
    def unfinished(self) -> str:
        """What a program has printed of the current line, without a kernel record in it."""
        return self._text[: self._record.start()] if self._record else self._text

    def connection_lost(self) -> None:
        """Forget the line being printed: how it goes on is not known."""
        self._decoder.reset()
        self._strip = _EscapeFilter()
        self._start_over("")
        self._number += 1

    def _put(self, char: str) -> Iterator[Line | Partial]:
        if char == "\n":
            yield self._end_line()
        elif char == "\r":
            # Part of a line break, unless something else follows.
            self._returned = True
        elif char == "\b":
            self._column = max(0, self._column - 1)
        elif char == "\t" or (char >= " " and not "\x7f" <= char <= "\x9f"):
            if self._returned:
                yield self._end_line()
            yield self._print(char)

    def _print(self, char: str) -> Partial:
        self._text = self._text[: self._column] + char
        if len(self._text) > MAX_LINE:
            self._text = self._text[MAX_LINE // 2 :]
            self._record = _RECORD.search(self._text)
        self._column = len(self._text)
        if char == " " or (self._record and self._column < self._record.end()):
            # A record's head ends in a blank.
            self._record = _RECORD.search(self._text)
        record = self._record
        text = self._text[: record.start()] if record else self._text
        return Partial(text, self._number, char, record is not None)

    def _end_line(self) -> Line:
        text = self._text[: self._column]
        record = self._record if self._record and self._record.end() <= len(text) else None
        if record is None:
            self._number += 1
            self._start_over("")
            return Line(text)
        # What the program had printed stays: its line is not finished.
        self._start_over(text[: record.start()])
        return Line(text[record.end() :], kernel=True, column=record.start())

    def _start_over(self, text: str) -> None:
        self._text = text
        self._column = len(text)
        self._record = None
        self._returned = False


class _EscapeFilter:
    """Separates text from escape sequences (ECMA-48)."""

    def __init__(self) -> None:
        self._state = "text"

    def keeps(self, char: str) -> bool:
        """Return whether ``char`` is text or a control character, and no part of a sequence."""
        if char == "\x1b":
            self._state = "escape"
            return False
        if self._state == "text":
            return True
        if self._state == "string":
            # Ends with BEL here, or with ESC \ above. A line break is in no such sequence:
            # other output has interrupted it.
            if char in "\a\n":
                self._state = "text"
            return char == "\n"
        if char < " ":
            # A terminal acts on a control character in the middle of a sequence.
            return True
        if char > "~" or (char == "[" and self._state == "control"):
            # No sequence contains these: systemd's ellipsis or a kernel message interrupted it.
            self._state = "text"
            return True
        if self._state == "escape" and char > "/":
            self._state = "control" if char == "[" else "string" if char in "]PX^_" else "text"
        elif self._state == "control" and char >= "@":
            self._state = "text"
        return False
