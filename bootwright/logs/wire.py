"""What a board's relay delivers: lines, each with the number that the relay gave it.

The relay changes nothing that it is not forced to: a container's line is the one that Docker's
syslog driver wrote (``rfc5424micro``, tag ``ID/NAME/IMAGE``), with control characters, quotes and
backslashes as syslog-ng's ``template-escape()`` writes them. So a record takes little room in the
relay's queue, and little of the board's time.

Sources: moby's ``daemon/logger/syslog`` and ``daemon/logger/loggerutils``; srslog's
``RFC5424Formatter``, which puts the tag into APP-NAME and MSGID alike; syslog-ng's
``lib/template/escaping.c``.
"""

import re
from dataclasses import replace

from bootwright.logs.record import Container, Record, parse_record, safe

TAG = "{{.ID}}/{{.Name}}/{{.ImageName}}"
"""The tag that containers log with, unless they have one of their own."""

_NUMBERED = re.compile(rb"(\d{1,20}) (.*)", re.DOTALL)
_TAGGED = re.compile(r"([0-9a-f]{12})/([^/]+)/(.+)")
_ESCAPE = re.compile(rb"\\(?:([0-7]{3})|(['\"\\]))")


def parse_delivery(body: bytes, board: str) -> list[Record]:
    """Return the records of a delivery.

    Args:
        body: lines, each ``NUMBER RFC-5424``.
        board: who delivered it, by its certificate.
    """
    return [_record(line, board) for line in body.split(b"\n") if line]


def _record(line: bytes, board: str) -> Record:
    numbered = _NUMBERED.fullmatch(line)
    number, rest = (int(numbered[1]), numbered[2]) if numbered else (None, line)
    text = _ESCAPE.sub(_unescape, rest).decode("utf-8", "surrogateescape")
    # Whatever it calls itself.
    found = replace(parse_record(safe(text), board), board=board, sequence=number)
    tagged = _TAGGED.fullmatch(found.app)
    if tagged is None:
        return found
    container = Container(name=tagged[2], image=tagged[3], id=tagged[1])
    return replace(found, app=container.name, process=container.id, container=container)


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8) & 0xFF]) if match[1] else match[2]
