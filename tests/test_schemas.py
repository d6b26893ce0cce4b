"""Every JSON document has a strict schema in docs/schemas, and a test that checks a real one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bootwright.core.config import load_config
from bootwright.core.paths import checkout
from tests.support.schemas import SCHEMAS, check_broken_documents, check_document

ROOT = checkout()

NAMES = sorted(path.name.removesuffix("-1.json") for path in SCHEMAS.glob("*.json"))

OPTIONAL = {
    "audit": {"comparison", "error", "waiver"},
    "provision": {"error"},
}
"""Keys that a document may lack; every other key is always there."""

OPEN = {"config": {"daemon"}, "profile": {"daemon_value"}}
"""Keys whose object may have any keys: what Docker takes is not for us to say."""


def _names_in_the_package() -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "bootwright").rglob("*.py")]
    texts.append((ROOT / "tasks.py").read_text(encoding="utf-8"))
    return {name for text in texts for name in re.findall(r'"bootwright\.([a-z-]+)/1"', text)}


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}-1.json").read_text(encoding="utf-8"))
    return schema


def _objects(schema: object, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every object that a schema describes, with the key that it is the value of."""
    if isinstance(schema, dict):
        if "object" in schema.get("type", ()):
            yield key, schema
        for name, part in schema.items():
            if name not in ("if", "then", "else"):
                yield from _objects(part, name)
    elif isinstance(schema, list):
        for part in schema:
            yield from _objects(part, key)


def test_every_document_has_a_schema_and_every_schema_a_document() -> None:
    assert _names_in_the_package() == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_strict(name: str) -> None:
    schema = _schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == f"bootwright.{name}/1"
    assert schema["description"].endswith(".")
    for key, part in _objects(schema):
        if key in OPEN.get(name, set()):
            continue
        if "properties" in part:
            assert part["additionalProperties"] is False, key
            missing = set(part["properties"]) - set(part["required"])
            assert missing <= OPTIONAL.get(name, set()), key
            assert all(part["properties"].values()), f"{key} says nothing of a value"
        else:
            assert part.get("additionalProperties", True) is not True, f"{key} may have any keys"


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_listed_and_a_test_checks_a_real_document(name: str) -> None:
    listed = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    assert f"| `bootwright.{name}/1` |" in listed
    assert f"[{name}-1.json]({name}-1.json)" in listed
    tests = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    for call in ("check_document", "check_broken_documents"):
        assert any(re.search(rf'\b{call}\(\s*"{name}"', text) for text in tests), call


def test_a_wrong_document_is_noticed(tmp_path: Path) -> None:
    good = {"schema": "bootwright.emulator-stop/1", "stopped": True}
    check_document("emulator-stop", good)
    for wrong in (good | {"stopped": "yes"}, good | {"more": 1}, {"schema": good["schema"]}):
        with pytest.raises(AssertionError):
            check_document("emulator-stop", wrong)
    with pytest.raises(AssertionError):
        check_document("status", good)
    config = load_config(tmp_path, "odroid").document()
    with pytest.raises(AssertionError, match=r"values\.docker\.value\.daemon may be anything"):
        check_broken_documents("config", config)
