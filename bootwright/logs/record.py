"""Log records and their stored form: a line of RFC 5424 that is safe to print anywhere.

In the line, HOSTNAME is the board, APP-NAME is the name of a container or program, and the element
``docker@32473`` has more about a container; 32473 is the number that RFC 5612 reserves for
examples. Characters that could move a cursor or end a line, and bytes that are not UTF-8, are
written as ``#`` and three octal digits, as rsyslog does.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

from bootwright.logs.choices import SeverityName

SEVERITIES: tuple[str, ...] = get_args(SeverityName)
"""The names of severities; the index is the number, 0 is the most urgent: RFC 5424, table 2."""

NOTICE = 13
"""user.notice, the priority of a message without one: RFC 3164."""

CONTAINER_ELEMENT = "docker@32473"
LOSS_ELEMENT = "lost@32473"

_LINE = re.compile(
    r"<(?P<priority>\d{1,3})>1 (?P<time>\S+) (?P<board>\S+) (?P<app>\S+) (?P<process>\S+)"
    r" \S+ (?P<data>-|(?:\[(?:[^\"\]]|\"(?:[^\"\\]|\\.)*\")*\])+)(?: (?P<text>.*))?",
    re.DOTALL,
)
_ELEMENT = re.compile(r"\[([^\s\"\]=\[]+)((?: [^\s=\"\]]+=\"(?:[^\"\\]|\\.)*\")*)\]")
_PARAMETER = re.compile(r" ([^\s=\"\]]+)=\"((?:[^\"\\]|\\.)*)\"")

# The control characters C0 (except tab), DEL and C1; characters that change the direction of
# writing; line separators; surrogate escapes.
_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\udc80-\udcff]"
)


@dataclass(frozen=True)
class LogContainer:
    """The container that wrote a record; ``id`` is the first 12 digits of its id."""

    name: str
    image: str
    id: str


@dataclass(frozen=True)
class LogRecord:
    """A log record.

    Attributes:
        priority: facility × 8 + severity.
        time: when it was written, by the board's clock; ``None`` if it cannot be parsed.
        board: the name of the board that sent it.
        app: the container's name or tag, or the program; empty if unknown.
        process: a program's process id, or a container's id; empty if unknown.
        text: the message, safe to print.
        container: ``None`` for a program, and for a container with a tag from its operator.
        sequence: the board's number for it; ``None`` if the board does not number records.
        lost: the number of lost records, if this record of the collector is about a loss; else 0.
    """

    priority: int
    time: datetime | None
    board: str
    app: str
    process: str
    text: str
    container: LogContainer | None = None
    sequence: int | None = None
    lost: int = 0

    @property
    def severity(self) -> int:
        """The severity, 0 (the most urgent) to 7."""
        return self.priority & 7

    @property
    def severity_name(self) -> str:
        """The severity's name in syslog.conf(5)."""
        return SEVERITIES[self.severity]


def escape_unsafe(text: str) -> str:
    """Return ``text`` with the characters escaped that are unsafe in a line, a terminal or a page.

    Bytes that are not UTF-8 have to be decoded with ``errors="surrogateescape"``.
    """
    return _UNSAFE.sub(_octal, text)


def _octal(match: re.Match[str]) -> str:
    character = match[0]
    if "\udc80" <= character <= "\udcff":
        return f"#{ord(character) - 0xDC00:03o}"
    return "".join(f"#{byte:03o}" for byte in character.encode())


def format_record(record: LogRecord) -> str:
    """Return the line for a record, without a line end."""
    data = ""
    if record.sequence is not None:
        data += _element("meta", {"sequenceId": str(record.sequence)})
    if record.container is not None:
        values = {name: getattr(record.container, name) for name in ("name", "image", "id")}
        data += _element(CONTAINER_ELEMENT, values)
    if record.lost:
        data += _element(LOSS_ELEMENT, {"records": str(record.lost)})
    time = record.time.isoformat().replace("+00:00", "Z") if record.time is not None else "-"
    head = f"<{record.priority}>1 {time} {header_word(record.board)} {header_word(record.app)}"
    return f"{head} {header_word(record.process)} - {data or '-'} {record.text}"


def header_word(text: str) -> str:
    """Return a header field as it is stored: printable and with ``_`` for blanks, or ``-``."""
    return re.sub(r"\s", "_", escape_unsafe(text)) or "-"


def _element(name: str, values: dict[str, str]) -> str:
    parameters = "".join(f' {key}="{_escaped(value)}"' for key, value in values.items())
    return f"[{name}{parameters}]"


def _escaped(value: str) -> str:
    return re.sub(r'([\\"\]])', r"\\\1", escape_unsafe(value))


def parse_record(line: str, board: str = "") -> LogRecord:
    """Return the record of a line; if it is not RFC 5424, the whole line is the text.

    Args:
        line: without its line end.
        board: the board's name, if the line does not have it.
    """
    match = _LINE.fullmatch(line)
    if match is None or int(match["priority"]) > 191:
        return LogRecord(NOTICE, None, board, "", "", escape_unsafe(line))
    elements = _elements(match["data"])
    container = elements.get(CONTAINER_ELEMENT)
    return LogRecord(
        priority=int(match["priority"]),
        time=parse_time(match["time"]),
        board=_given(match["board"]) or board,
        app=_given(match["app"]),
        process=_given(match["process"]),
        text=escape_unsafe((match["text"] or "").removeprefix("\ufeff")),
        container=LogContainer(*(container.get(key, "") for key in ("name", "image", "id")))
        if container
        else None,
        sequence=_number(elements.get("meta", {}).get("sequenceId", "")),
        lost=_number(elements.get(LOSS_ELEMENT, {}).get("records", "")) or 0,
    )


def _elements(data: str) -> dict[str, dict[str, str]]:
    return {
        match[1]: {
            key: re.sub(r'\\([\\"\]])', r"\1", value) for key, value in _PARAMETER.findall(match[2])
        }
        for match in _ELEMENT.finditer(data)
    }


def parse_time(text: str) -> datetime | None:
    """Return an RFC 3339 time in UTC; ``None`` if ``text`` is not one."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _given(word: str) -> str:
    return "" if word == "-" else escape_unsafe(word)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None
