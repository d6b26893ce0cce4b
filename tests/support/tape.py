"""A recorder for tests."""


class Tape:
    """Writes down what it is told: ``<typed>``, ``#remark``."""

    def __init__(self) -> None:
        self.all = b""

    def printed(self, data: bytes) -> None:
        self.all += data

    def typed(self, data: bytes) -> None:
        self.all += b"<" + data + b">"

    def remark(self, text: str) -> None:
        self.all += b"#" + text.encode()
