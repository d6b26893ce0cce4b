"""The index template for OpenSearch in the guide, ``docs/fleet-logs.md``."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bootwright.core.paths import checkout


def guide_template() -> dict[str, Any]:
    """Return the template that the guide tells operators to install."""
    guide = (checkout() / "docs" / "fleet-logs.md").read_text(encoding="utf-8")
    match = re.search(r"```json\n(.*?)```", guide, re.DOTALL)
    assert match is not None
    template: dict[str, Any] = json.loads(match[1])
    return template


def field_names(properties: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the names of all fields, such as ``board`` and ``container.name``."""
    for name, field in properties.items():
        if "properties" in field:
            yield from field_names(field["properties"], f"{prefix}{name}.")
        else:
            yield prefix + name
