"""A reporter that keeps what it is told."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from bootwright.core.report import Meter


class Notes:
    """The titles of steps, the notes, and the warnings, each in order."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.steps.append(title)
        yield

    def meter(self, title: str, total: int | None) -> AbstractContextManager[Meter]:
        raise AssertionError(f"nothing here is measured in bytes: {title}")

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)
