"""Reading TOML files into immutable, checked models; errors name the file and the key."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bootwright.core.errors import InputError


class StrictModel(BaseModel):
    """A TOML table: immutable; unknown keys and wrong types are errors.

    Arrays become tuples, so a model can be shared and hashed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Model = TypeVar("Model", bound=StrictModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        InputError: the file cannot be read, or is not TOML (says the line).
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise InputError(f"{path}: not TOML: {error}") from error


def check_table(model: type[Model], table: object, where: str) -> Model:
    """Return ``table`` as ``model``.

    Args:
        model: the keys and types of the table.
        table: the parsed TOML.
        where: the file (and table), for error messages.

    Raises:
        InputError: a key or value is wrong; the message has ``where`` and each wrong key.
    """
    try:
        # TOML has arrays, the models have tuples.
        return model.model_validate(_tuples(table))
    except ValidationError as error:
        raise InputError("\n".join(_lines(model, error, where))) from None


def load_table(model: type[Model], path: Path) -> Model:
    """Return the TOML file ``path`` as ``model``; see :func:`check_table` for errors."""
    return check_table(model, read_toml(path), str(path))


def _tuples(value: object) -> object:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _lines(model: type[StrictModel], error: ValidationError, where: str) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"])
        # What pydantic calls a tuple is an array in TOML.
        message = item["msg"].removeprefix("Value error, ").replace("tuple", "array")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
            if len(item["loc"]) == 1:
                message += f"; allowed here: {', '.join(sorted(model.model_fields))}"
        lines.append(f"{where}: {key}: {message}" if key else f"{where}: {message}")
    return lines
