"""The log of a run: what was started at each gateway, with what, how long it took, how it ended.

A gateway calls :func:`event` for what happens at once, and :func:`logged` for what takes time.
Both make records of Python's ``logging``; where they are written is the matter of
:mod:`bootwright.core.io.run_log`. :class:`JsonLines` makes one line of JSON of each.

Keys of a record: ``time`` (UTC), ``level``, ``gateway``, ``event``, and what the gateway adds. The
``start`` and the ``end`` of one call have the same ``call``; the end has ``seconds``.
"""

import itertools
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from bootwright.core.secret import MASKER, Masker, Secret

LOGGER = logging.getLogger("bootwright")

KEPT = 4096
"""Characters of a long text that are written from its begin, and as many from its end."""

MAX_ITEMS = 256
"""Items of a list that are written."""

# In an address: user name and password, and the values of a query, which may be a token.
_USER = re.compile(r"(?<=://)[^/@\s\"<>]+(?=@)")
_QUERY = re.compile(r"(\bhttps?://[^\s?\"'<>]+\?)[^\s\"'<>]+")

_calls = itertools.count(1)


def event(gateway: str, name: str, /, level: int = logging.DEBUG, **fields: Any) -> None:
    """Log what happened at a gateway; nothing is done where no log is written.

    Args:
        gateway: ``process``, ``ssh``, ``serial``, ``http``, ``qemu``, ``report`` or ``run``.
        name: what happened, such as ``start``.
        level: of ``logging``.
        fields: what there is to know. A :class:`Secret` is written as ``***``.
    """
    if LOGGER.isEnabledFor(level):
        extra = {"gateway": gateway, "event": name, "fields": fields}
        LOGGER.log(level, "%s %s", gateway, name, extra=extra)


@contextmanager
def logged(gateway: str, what: str, /, **fields: Any) -> Iterator[dict[str, Any]]:
    """Log the start and the end of what is done in the context, and the exception that ends it.

    Args:
        gateway: as for :func:`event`.
        what: a short name of it, such as the program.
        fields: what it is started with.

    Yields:
        A dictionary for what is known at the end, such as ``status``.
    """
    call, result, start = next(_calls), dict[str, Any](), time.monotonic()
    event(gateway, "start", call=call, what=what, **fields)
    try:
        yield result
    except BaseException as error:
        result["error"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        seconds = round(time.monotonic() - start, 3)
        event(gateway, "end", call=call, what=what, seconds=seconds, **result)


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON: secrets masked, long texts cut.

    Args:
        masker: knows the secrets.
    """

    def __init__(self, masker: Masker = MASKER) -> None:
        super().__init__()
        self._masker = masker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        now = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
        }
        fields: Mapping[str, object] | None = getattr(record, "fields", None)
        if fields is None:  # a library's
            line |= {"gateway": record.name, "event": "message"}
            fields = {"message": record.getMessage()}
        else:
            line |= {name: getattr(record, name, "") for name in ("gateway", "event")}
        line |= {
            name: self._plain(value)
            for name, value in fields.items()
            if value is not None and value != {}
        }
        return json.dumps(line, ensure_ascii=False)

    def _plain(self, value: object) -> Any:
        """Return what JSON knows, without secrets and of bounded length."""
        match value:
            case None | bool() | int() | float():
                return value
            case str() | bytes():
                return self._text(value)
            case Secret():
                return str(value)
            case Mapping():
                return {str(name): self._plain(one) for name, one in value.items()}
            case Sequence() | set() | frozenset():
                items = [self._plain(one) for one in itertools.islice(value, MAX_ITEMS)]
                more = len(value) - len(items)
                return [*items, f"[{more} more]"] if more else items
            case _:
                return self._text(str(value))

    def _text(self, value: str | bytes) -> str:
        if isinstance(value, bytes) and b"\0" in value[: 2 * KEPT]:
            return f"[{len(value)} bytes, not text]"
        # Only the ends of a very long text are looked at. One that was cut may end in a part of a
        # secret; as many characters as that may have are left out.
        longest = self._masker.longest + 4
        window = 4 * (KEPT + longest)
        if len(value) <= 2 * window:
            text = self._masked(value)
            if len(text) <= 2 * KEPT:
                return text
            return _cut(text[:KEPT], text[-KEPT:], len(text))
        head, tail = self._masked(value[:window]), self._masked(value[-window:])
        return _cut(head[:-longest][:KEPT], tail[longest:][-KEPT:], len(value))

    def _masked(self, value: str | bytes) -> str:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        # JSON in UTF-8 has no half of a pair.
        text = text.encode("utf-8", "replace").decode("utf-8")
        text = self._masker.mask(text)
        return _QUERY.sub(r"\1***", _USER.sub("***", text)) if "://" in text else text


def _cut(head: str, tail: str, length: int) -> str:
    return f"{head}\n[{length - len(head) - len(tail)} of {length} characters cut]\n{tail}"
