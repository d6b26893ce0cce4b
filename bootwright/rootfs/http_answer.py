"""The headers of an HTTP answer, as curl writes them: the version of a file, and the part of it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Validators:
    """What the server sends to identify a version of a remote file."""

    etag: str | None = None
    last_modified: str | None = None

    def same(self, other: "Validators") -> bool:
        """Return whether both certainly identify the same version: by ETag, or else by date."""
        if self.etag or other.etag:
            return self.etag == other.etag
        return self.last_modified is not None and self.last_modified == other.last_modified

    def differ(self, other: "Validators") -> bool:
        """Return whether what both have identifies different versions; a strong ETag decides."""
        if self.etag and other.etag and (self.etag != other.etag or self.etag[:2] != "W/"):
            return self.etag != other.etag
        dates = (self.last_modified, other.last_modified)
        return None not in dates and dates[0] != dates[1]

    def if_range(self) -> str | None:
        """Return the value for ``If-Range``: a strong ETag, or else a date (RFC 9110, 13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


@dataclass(frozen=True)
class Answer:
    """The headers of an answer; status 0 if there was none, and ``None`` for what is not known."""

    status: int
    validators: Validators
    length: int | None  # of the body
    start: int | None  # the offset of the sent part (Content-Range)
    total: int | None  # the size of the remote file (Content-Range)


def parse_headers(answers: bytes) -> Answer:
    """Return the last answer; redirections come before it, and trailers after it."""
    text = answers.decode("latin-1").replace("\r\n", "\n")
    blocks = re.findall(r"^HTTP/.*?(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    first, *lines = blocks[-1].split("\n") if blocks else [""]
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip(" \t") for name, _, value in pairs}
    status = re.match(r"HTTP/\S+ ([0-9]{3})\b", first)
    content_range = headers.get("content-range", "").lower()
    part = re.match(r"bytes[ :=]+(?:(\d+)-\d+|\*)/(\S+)", content_range)
    start, total = part.groups("") if part else ("", "")
    return Answer(
        int(status[1]) if status else 0,
        Validators(_ascii(headers.get("etag")), _ascii(headers.get("last-modified"))),
        _number(headers.get("content-length", "")),
        _number(start),
        _number(total),
    )


def _number(text: str) -> int | None:
    """Return a size; ``None`` if it is not a number, or has more digits than a size can have."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _ascii(value: str | None) -> str | None:
    """Return a validator; ``None`` if curl cannot send it back as it came."""
    return value if value and value.isascii() and value.isprintable() else None
