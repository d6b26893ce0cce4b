"""Reading TOML files into immutable, checked models; errors name the file and the key."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from bootwright.core.errors import InputError
from bootwright.core.options import similar


class StrictModel(BaseModel):
    """A TOML table: immutable; unknown keys and wrong types are errors.

    Arrays become tuples, so a model can be shared and hashed. ``EXAMPLES`` has a right value for
    each key, which error messages show.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    EXAMPLES: ClassVar[Mapping[str, Any]] = {}


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


def merge_tables(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of both tables; where both have one, that of ``over``.

    Tables within them are merged in the same way.
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge_tables(old, value) if both and old is not None else value
    return merged


def _lines(model: type[StrictModel], error: ValidationError, where: str) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        path = [part for part in item["loc"] if isinstance(part, str)]
        key = ".".join(str(part) for part in item["loc"])
        # What pydantic calls a tuple is an array in TOML.
        message = item["msg"].removeprefix("Value error, ").replace("tuple", "array")
        models = _models_at(model, path[:-1])
        if item["type"] == "extra_forbidden":
            message = _unknown_key(path, models, _models_at(model, path[:-2]))
        elif item["type"] != "value_error" and path:
            # The text of an error of our own says how it is written.
            example = _example(path[-1], models)
            message += f"; write it like: {example}" if example else ""
        lines.append(f"{where}: {key}: {message}" if key else f"{where}: {message}")
    return lines


def _unknown_key(
    path: Sequence[str], models: Sequence[type[StrictModel]], around: Sequence[type[StrictModel]]
) -> str:
    """Return what to write instead of a key.

    Args:
        path: the unknown key, after the names of the tables that it is in.
        models: what the table may be that it is in.
        around: what the table may be that this one is in.
    """
    key = path[-1]
    known = sorted({name for one in models for name in one.model_fields})
    inner = _inner_keys(models)
    if key not in inner:
        if near := similar(key, known):
            return _did_you_mean(near, _example(near[0], models))
        if any(key in one.model_fields for one in around):
            # In TOML a table goes on until the next one begins.
            return (
                f"no key of {path[-2]}, but of the table around it: write it above the line that"
                f" begins {path[-2]}"
            )
    if near := [key] if key in inner else similar(key, sorted(inner)):
        return _did_you_mean([inner[name][0] for name in near], inner[near[0]][1])
    return f"unknown key; allowed here: {', '.join(known)}"


def _did_you_mean(near: Sequence[str], example: str | None) -> str:
    like = f" Write it like: {example}" if example else ""
    return f"unknown key; did you mean {' or '.join(near)}?{like}"


def _inner_keys(models: Sequence[type[StrictModel]]) -> dict[str, tuple[str, str | None]]:
    """Return the keys of the tables in a table: each with its table's name, and an example."""
    found: dict[str, tuple[str, str | None]] = {}
    for one in models:
        for table, field in one.model_fields.items():
            inner = field.annotation
            if not (isinstance(inner, type) and issubclass(inner, StrictModel)):
                continue
            for name in inner.model_fields:
                example = _example(name, [inner])
                like = f"{table}.{example}" if example else None
                found.setdefault(name, (f"{table}.{name}", like))
    return found


def _example(key: str, models: Sequence[type[StrictModel]]) -> str | None:
    """Return how a key is written, such as ``port = 22``; ``None`` if its model does not say it."""
    examples = [one.EXAMPLES[key] for one in models if key in one.EXAMPLES]
    return f"{key} = {toml_value(examples[0])}" if examples else None


def _models_at(model: type[StrictModel], path: Sequence[str]) -> list[type[StrictModel]]:
    """Return what the table at ``path`` in a model may be."""
    models = [model]
    for part in path:
        fields = [one.model_fields[part] for one in models if part in one.model_fields]
        # A part that is no field is a name that the file gives to a table, such as [layouts.NAME].
        models = [one for field in fields for one in _models_in(field.annotation)] or models
    return models


def _models_in(annotation: object) -> Iterator[type[StrictModel]]:
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def toml_value(value: object) -> str:
    """Return a text, number, truth value, or an array or table of these, as TOML writes it."""
    if isinstance(value, Mapping):
        items = [f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items()]
        return f"{{ {', '.join(items)} }}" if items else "{}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    # A JSON string is also a TOML string, except that TOML forbids the character DEL in it.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(key: str) -> str:
    """Return a key as TOML writes it: in quotes, if it needs them."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)
