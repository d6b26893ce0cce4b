"""The cache of root file system tarballs. Each is named by its SHA-256 and has a record.

``<cache>/tarballs/sha256/<digest>.tar.gz`` and ``<digest>.json`` beside it.
"""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from bootwright.core.addresses import without_secrets
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.fsync import move_into_place, replace_file
from bootwright.rootfs.verification import DownloadRecord


class Tarballs:
    """The tarballs in one cache directory."""

    def __init__(self, cache_dir: Path) -> None:
        self._dir = cache_dir / "tarballs" / "sha256"

    def path(self, sha256: str) -> Path:
        """Return where the tarball with this digest is, or would be."""
        return self._dir / f"{sha256}.tar.gz"

    def newest(self, url: str) -> DownloadRecord | None:
        """Return the record of the newest tarball in the cache that came from ``url``."""
        where = without_secrets(url)
        found = [record for record in self._records() if record.url == where]
        return max(found, key=lambda record: record.date, default=None)

    def with_digest(self, sha256: str) -> DownloadRecord | None:
        """Return the record of the tarball with this digest; ``None`` if it is not in the cache."""
        return next((one for one in self._records() if one.sha256 == sha256), None)

    def intact(self, record: DownloadRecord) -> bool:
        """Return whether the cached bytes still have the digest that names them; reads all."""
        return sha256_of(self.path(record.sha256)) == record.sha256

    def add(self, file: Path, record: DownloadRecord) -> Path:
        """Move ``file`` into the cache (same file system) and return its new path.

        Raises:
            FailedError: the cache cannot be written.
        """
        target = self.path(record.sha256)
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            if file != target:
                move_into_place(file, target)
            self._write_record(record)
        except OSError as error:
            raise FailedError(f"{target}: cannot write the cache: {error.strerror}") from error
        return target

    def _write_record(self, record: DownloadRecord) -> None:
        replace_file(self._json(record.sha256), record.model_dump_json(indent=2) + "\n")

    def remove(self, record: DownloadRecord) -> None:
        """Remove a tarball and its record."""
        self._json(record.sha256).unlink(missing_ok=True)
        self.path(record.sha256).unlink(missing_ok=True)

    def _json(self, sha256: str) -> Path:
        return self._dir / f"{sha256}.json"

    def _records(self) -> list[DownloadRecord]:
        records = []
        for path in sorted(self._dir.glob("*.json")):
            try:
                record = DownloadRecord.model_validate_json(path.read_bytes())
            except (OSError, ValidationError):
                continue  # With a damaged record, the file is downloaded again.
            if path.stem == record.sha256 and self.path(record.sha256).is_file():
                records.append(record)
        return records


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in lower-case hexadecimal.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
