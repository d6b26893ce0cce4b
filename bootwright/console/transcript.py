"""What went over a console, as text: asciicast version 2. Pure.

One JSON document a line: a header, then ``[seconds, kind, data]`` for each event, where kind is
``"o"`` (the board printed), ``"i"`` (we typed) or ``"m"`` (a remark, such as a lost connection).
Source: docs.asciinema.org, "asciicast v2". JSON escapes every control character, so printing the
file on a terminal does nothing to it; ``asciinema play`` replays it in real time.

Bytes that are not UTF-8 become lone surrogates (Python's ``surrogateescape``), so that the
board's output can be restored byte by byte.
"""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast, get_args

from bootwright.core.errors import InputError

Kind = Literal["o", "i", "m"]
"""Printed by the board, typed by us, or a remark."""


@dataclass(frozen=True)
class Event:
    """Something that went over the console, ``at`` seconds after the start."""

    at: float
    kind: Kind
    data: bytes


def header_line(title: str, timestamp: int) -> str:
    """Return the first line; ``timestamp`` in seconds since 1970."""
    header = {"version": 2, "width": 80, "height": 24, "timestamp": timestamp, "title": title}
    return json.dumps(header) + "\n"


class Writer:
    """Turns events into lines. A character whose bytes are in two events is in the second line."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def line(self, event: Event) -> str:
        """Return the event's line; empty if there is only the beginning of a character in it."""
        if event.kind == "o":
            text = self._decoder.decode(event.data)
        else:
            text = event.data.decode("utf-8", "surrogateescape")
        return json.dumps([round(event.at, 6), event.kind, text]) + "\n" if text else ""

    def rest(self, at: float) -> str:
        """Return the line for the bytes held back, if there are any."""
        text = self._decoder.decode(b"", final=True)
        return json.dumps([round(at, 6), "o", text]) + "\n" if text else ""


def read_transcript(text: str, where: str) -> Iterator[Event]:
    """Return the events of a transcript, in order.

    Args:
        text: the file's content.
        where: the file's name, for errors.

    Raises:
        InputError: it is not a transcript; names the line.
    """
    lines = text.splitlines()
    header = _json(lines[0], f"{where}: line 1") if lines else None
    if not isinstance(header, dict) or header.get("version") != 2:
        raise InputError(f"{where}: line 1: not a transcript (asciicast version 2)")
    for number, line in enumerate(lines[1:], 2):
        yield _event(_json(line, f"{where}: line {number}"), f"{where}: line {number}")


def _json(line: str, where: str) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{where}: JSON that is nested too deeply") from None


def _event(fields: object, where: str) -> Event:
    match fields:
        case [int() | float() as at, str() as kind, str() as data] if kind in get_args(Kind):
            try:
                return Event(float(at), cast(Kind, kind), data.encode("utf-8", "surrogateescape"))
            except UnicodeEncodeError:
                raise InputError(f"{where}: data: has a character that no console prints") from None
            except OverflowError:
                raise InputError(f"{where}: the number of seconds is too large") from None
    raise InputError(f'{where}: not like [1.5, "o", "text"]')
