"""The log of a run: each action of a gateway, with its input, its duration and its result.

A gateway is a module that starts processes or uses a network or a serial line. It calls
:func:`event` for what happens at one time, and :func:`logged` for what takes time. Both make
records of Python's ``logging``; :mod:`bootwright.core.io.run_log` writes them to a file, and
:class:`JsonLines` formats each as one line of JSON.

Keys of a record: ``time`` (UTC), ``level``, ``gateway``, ``event``, and what the gateway adds. The
``start`` and the ``end`` of one call have the same ``call``; the end has ``seconds``.
"""

import itertools
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from bootwright.core.addresses import mask_addresses
from bootwright.core.secret import MASKER, Masker, Secret

LOGGER = logging.getLogger("bootwright")
# Without a log nothing is written; else Python prints warnings on standard error.
LOGGER.addHandler(logging.NullHandler())

KEPT_CHARACTERS = 4096
"""How many characters of a long text are written from its beginning, and as many from its end."""

MAX_ITEMS = 256
"""How many items of a list are written at most."""

_calls = itertools.count(1)


def event(gateway: str, name: str, /, level: int = logging.DEBUG, **fields: Any) -> None:
    """Log what happened at a gateway; does nothing if no log is written.

    Args:
        gateway: ``process``, ``ssh``, ``serial``, ``http``, ``qemu``, ``report`` or ``run``.
        name: what happened, such as ``start``.
        level: of ``logging``.
        fields: the details. A :class:`Secret` is written as ``***``.
    """
    if LOGGER.isEnabledFor(level):
        extra = {"gateway": gateway, "event": name, "fields": fields}
        LOGGER.log(level, "%s %s", gateway, name, extra=extra)


@contextmanager
def logged(gateway: str, what: str, /, **fields: Any) -> Iterator[dict[str, Any]]:
    """Log the start and the end of an action, which is the body of the context.

    If an exception ends the body, it is logged too.

    Args:
        gateway: as for :func:`event`.
        what: a short name of the action, such as the program.
        fields: the input of the action.

    Yields:
        A dictionary to which the body adds the result, such as ``status``.
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
    """Formats a record as one line of JSON, with secrets masked and long texts shortened.

    Args:
        masker: has the secrets.
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
        if fields is None:  # a record of a library
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
        """Return a value that JSON can hold, without secrets and of bounded length."""
        match value:
            case None | bool() | int() | float():
                return value
            case str() | bytes():
                return self._text(value)
            case bytearray() | memoryview():
                return self._text(bytes(value))
            case Secret():
                return str(value)
            case Mapping():
                return {self._text(str(name)): self._plain(one) for name, one in value.items()}
            case Sequence() | set() | frozenset():
                items = [self._plain(one) for one in itertools.islice(value, MAX_ITEMS)]
                more = len(value) - len(items)
                return [*items, f"[{more} more]"] if more else items
            case _:
                return self._text(str(value))

    def _text(self, value: str | bytes) -> str:
        if isinstance(value, bytes) and b"\0" in value[: 2 * KEPT_CHARACTERS]:
            return f"[{len(value)} bytes, not text]"
        # Of a very long text only the beginning and the end are masked and written. Where it is
        # cut, there may be a part of a secret: as many characters as the longest secret has are
        # left out there.
        longest = self._masker.longest + 4
        window = 4 * (KEPT_CHARACTERS + longest)
        if len(value) <= 2 * window:
            text = self._masked(value)
            if len(text) <= 2 * KEPT_CHARACTERS:
                return text
            return _cut(text[:KEPT_CHARACTERS], text[-KEPT_CHARACTERS:], len(text))
        head, tail = self._masked(value[:window]), self._masked(value[-window:])
        return _cut(
            head[:-longest][:KEPT_CHARACTERS], tail[longest:][-KEPT_CHARACTERS:], len(value)
        )

    def _masked(self, value: str | bytes) -> str:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        # A lone surrogate cannot be written as UTF-8.
        text = text.encode("utf-8", "replace").decode("utf-8")
        text = self._masker.mask(text)
        return mask_addresses(text)


def _cut(head: str, tail: str, length: int) -> str:
    return f"{head}\n[{length - len(head) - len(tail)} of {length} characters cut]\n{tail}"
