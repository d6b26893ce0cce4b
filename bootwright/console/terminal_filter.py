"""Which control sequences of a board's output may reach the operator's terminal. Pure.

Colours, the cursor, erasing and scrolling may: editors and menus need them. Those that make a
terminal answer may not, because its answer would be typed at the board; nor those that set its
title, change the clipboard or print. Sources: ECMA-48; xterm's "Control Sequences".
"""

import codecs
import re

_ALLOWED_CONTROLS = "\a\b\t\n\r"
# Cursor, erase, insert, delete, scroll, colours; modes: cursor keys, wrapping, the cursor's
# visibility, the other screen, bracketed paste.
_ALLOWED_CSI = re.compile(r"\[(?:[\d;]*[@A-HJ-MPSTXdfmr]|\?(?:1|7|25|1049|2004)[hl])")
_ALLOWED_ESCAPES = re.compile(r"[78DEM=>]|[()][AB0]")
_CSI = re.compile(r"\[[0-?]*[ -/]*[@-~]")
_STRING = "]PX^_"
_LONGEST = 64
"""Characters of an escape sequence; of a longer one these are dropped, the rest is text."""


class TerminalFilter:
    """Turns a console's bytes into text, without what must not reach a terminal."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._sequence: str | None = None
        self._in_string = False

    def feed(self, data: bytes) -> str:
        """Take the next bytes; return what may be shown. An unfinished sequence is held back."""
        return "".join(self._put(char) for char in self._decoder.decode(data))

    def _put(self, char: str) -> str:
        if char == "\x1b":
            self._sequence, self._in_string = "", False
            return ""
        if self._in_string:
            # Ends with BEL, or with ESC \ above. A line break is in no such sequence: other
            # output has interrupted it.
            if char in "\a\n":
                self._in_string = False
            return char if char == "\n" else ""
        if char in _ALLOWED_CONTROLS:
            return char
        if char < " " or "\x7f" <= char <= "\x9f":
            return ""
        return char if self._sequence is None else self._grow(self._sequence + char)

    def _grow(self, sequence: str) -> str:
        """Take a sequence with its next character; return it when it is complete and allowed."""
        self._sequence = sequence
        if sequence[0] in _STRING:
            self._sequence, self._in_string = None, True
        elif sequence[0] == "[":
            if _CSI.fullmatch(sequence) or len(sequence) > _LONGEST:
                self._sequence = None
                return f"\x1b{sequence}" if _ALLOWED_CSI.fullmatch(sequence) else ""
        elif (not "!" <= sequence[0] <= "/" and sequence[0] != " ") or len(sequence) > 1:
            self._sequence = None
            return f"\x1b{sequence}" if _ALLOWED_ESCAPES.fullmatch(sequence) else ""
        return ""
