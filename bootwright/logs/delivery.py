"""Parsing the deliveries of a board's relay: lines, each with a number and a letter for its origin.

The relay changes little: a container's line is as Docker's syslog driver wrote it
(``rfc5424micro``, tag ``ID/NAME/IMAGE``); only control characters, quotes and backslashes are
escaped, by syslog-ng's ``template-escape()``. So a record needs little space in the relay's queue
and little CPU time of the board.

Sources: moby's ``daemon/logger/syslog`` and ``daemon/logger/loggerutils``; srslog's
``RFC5424Formatter``, which puts the tag into APP-NAME and MSGID alike; syslog-ng's
``lib/template/escaping.c``.
"""

import re
from dataclasses import dataclass, replace

from bootwright.logs.record import LogContainer, LogRecord, escape_unsafe, parse_record, parse_time

TAG = "{{.ID}}/{{.Name}}/{{.ImageName}}"
"""The log tag of containers, unless the operator gave a container another one."""

CONTAINER, SYSTEM, LOSS = "c", "s", "l"
"""The origins of a line. The relay writes them before the line, so no text can forge them."""

MAX_LINE_BYTES = 256 * 1024
"""How many bytes of a line are read. The relay cuts records at 128 KiB; escaping adds to that."""

_LINE = re.compile(rb"([0-9]{1,20}) ([csl]) (.*)", re.DOTALL)
_TAGGED = re.compile(r"([0-9a-f]{12})/([^/]+)/(.+)", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:([0-7]{3})|(['\"\\]))")

# srslog writes the tag twice. A tag that the operator gave to a container may contain blanks.
_DOCKER = re.compile(
    r"<(?P<priority>[0-9]{1,3})>1 (?P<time>\S+) \S+ (?P<tag>.{1,512}?) [0-9]+ (?P=tag) - "
    r"(?P<text>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Delivered:
    """A line of a delivery.

    Attributes:
        origin: :data:`CONTAINER`, :data:`SYSTEM` or :data:`LOSS`.
        record: the parsed line.
    """

    origin: str
    record: LogRecord


def parse_delivery(body: bytes, board: str) -> list[Delivered]:
    """Return the records of a delivery.

    Args:
        body: the lines, each with a number, an origin and a record: ``NUMBER ORIGIN RECORD``.
        board: the name in the certificate of the board that delivered it.
    """
    return [_delivered(line[:MAX_LINE_BYTES], board) for line in body.split(b"\n") if line]


def _delivered(line: bytes, board: str) -> Delivered:
    match = _LINE.fullmatch(line)
    number, origin, rest = (
        (int(match[1]), match[2].decode(), match[3]) if match else (None, SYSTEM, line)
    )
    text = escape_unsafe(_ESCAPE.sub(_unescape, rest).decode("utf-8", "surrogateescape"))
    found = _of_container(text) if origin == CONTAINER else None
    if found is None:
        found = parse_record(text, board)
    # The name in the line may be forged, so that of the certificate is used. ``lost`` is 0: only
    # the collector itself writes records about losses.
    return Delivered(origin, replace(found, board=board, sequence=number, lost=0))


def _of_container(text: str) -> LogRecord | None:
    match = _DOCKER.fullmatch(text)
    if match is None or int(match["priority"]) > 191:
        return None
    priority, time, text = int(match["priority"]), parse_time(match["time"]), match["text"]
    tagged = _TAGGED.fullmatch(match["tag"])
    if tagged is None:
        # The container has a tag from the operator.
        return LogRecord(priority, time, "", match["tag"], "", text)
    container = LogContainer(name=tagged[2], image=tagged[3], id=tagged[1])
    return LogRecord(priority, time, "", container.name, container.id, text, container)


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8) & 0xFF]) if match[1] else match[2]
