"""Interrupting a change of a board at one of its steps."""

from collections.abc import Callable

from bootwright.core.report import TextReporter

FILES_LEFT = ["daemon-keys", "transaction.lock", "transaction.lock2", "upgraded"]
"""The files on the board while no change is being made."""


class Listener(TextReporter):
    """Does something when a note has a text.

    Attributes:
        happened: it was done.
    """

    def __init__(self, text: str, do: Callable[[], None]) -> None:
        super().__init__()
        self._text, self._do = text, do
        self.happened = False

    def note(self, text: str) -> None:
        super().note(text)
        if text == self._text:
            self._text = ""
            self._do()
            self.happened = True
