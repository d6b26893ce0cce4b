"""The JSON Schemas of ``docs/schemas``, and real documents that are held against them."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from bootwright.core.paths import checkout

SCHEMAS = checkout() / "docs" / "schemas"

WRONG = {"no document has": [["this"]]}
"""A value that is wrong wherever a schema says anything about the value."""


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of ``bootwright.NAME/1``."""
    schema = json.loads((SCHEMAS / f"{name}-1.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def check_document(name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's document as a reader of its JSON gets it; it has to fit its schema."""
    read: dict[str, Any] = json.loads(json.dumps(document))
    assert read["schema"] == f"bootwright.{name}/1"
    errors = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(read)]
    assert errors == []
    return read


def check_broken_documents(
    name: str, document: Mapping[str, Any], free: tuple[str, ...] = ()
) -> None:
    """Break a document that fits, one value after the other: its schema has to notice each time.

    Args:
        name: of the schema.
        document: one that fits.
        free: paths of values that may be anything, such as ``values.docker.value.daemon``.
    """
    good = check_document(name, document)
    for path in _paths(good):
        text = ".".join(map(str, path))
        if not any(text == one or text.startswith(f"{one}.") for one in free):
            broken = deepcopy(good)
            place: Any = broken
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = WRONG
            assert not validator(name).is_valid(broken), f"{name}: {text} may be anything"


def _paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Return where each value of a document is; of an array the first element only."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, key))
    elif isinstance(value, list) and value:
        yield from _paths(value[0], (*path, 0))
