"""Rendering ``templates/*.j2``: a missing value is an error, it never becomes empty text."""

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


class Renderer:
    """Renders the templates under one folder.

    Rendering raises jinja2's ``UndefinedError`` for a missing value, which is a bug of the caller.
    """

    def __init__(self, root: Path) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(root),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # Plain text files, not HTML.
        )

    def render(self, name: str, values: Mapping[str, object]) -> str:
        """Return the template ``name`` (with its ``.j2``) filled with ``values``."""
        return self._environment.get_template(name).render(values)
