"""The result of a command: one value that can be printed as JSON and as lines of text."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


class CommandResult(Protocol):
    """The result of one command, which :func:`bootwright.core.cli.print_result` prints."""

    def document(self) -> dict[str, Any]:
        """Return the JSON document for ``--json``.

        Its key ``schema`` names its shape: ``bootwright.NAME/1`` is described by
        ``docs/schemas/NAME-1.json``.
        """
        ...

    def lines(self) -> list[str]:
        """Return the result as lines of text, for a person."""
        ...


@runtime_checkable
class TableResult(CommandResult, Protocol):
    """The result of a command that is a table, which is laid out for the terminal's width.

    Lines that are still longer are wrapped between words.
    """

    def lines_within(self, width: int | None) -> list[str]:
        """Return the lines for a terminal of so many columns; ``None``: without limit."""
        ...


def to_json(value: object) -> Any:
    """Return a value that :func:`json.dumps` accepts.

    A dataclass becomes an object with its fields as keys, a tuple an array, an enumeration its
    value, a path its text, a time or a day its ISO 8601 text.

    Raises:
        TypeError: a value has no JSON form, for example a ``Secret``.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Enum):
        return to_json(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} cannot be part of a JSON document")


def to_document(schema: str, result: object) -> dict[str, Any]:
    """Return a dataclass as a JSON document whose shape is named ``schema``."""
    return {"schema": schema, **to_json(result)}
