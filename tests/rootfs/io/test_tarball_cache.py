"""The cache of tarballs: what it has after the disk failed, and which record is the newest."""

import hashlib
import os
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError
from bootwright.rootfs.io.tarball_cache import Tarballs
from bootwright.rootfs.verification import DownloadRecord


def record_of(data: bytes, date: str) -> DownloadRecord:
    return DownloadRecord(
        url="https://mirror.example/a.tar.gz",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        verified_by="none",
        date=date,
    )


def test_a_file_that_the_disk_did_not_take_is_not_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    cache, file = Tarballs(tmp_path / "cache"), tmp_path / "download"
    file.write_bytes(b"tarball")
    record = record_of(b"tarball", "2026-11-30T08:00:00+00:00")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(FailedError, match="cannot write the cache: Input/output error"):
            cache.add(file, record)
    assert cache.with_digest(record.sha256) is None
    assert not cache.path(record.sha256).exists()
    cache.add(file, record)
    assert cache.with_digest(record.sha256) == record
    assert cache.intact(record) and not file.exists()


def test_the_newest_of_an_address_whose_file_is_there(tmp_path: Path) -> None:
    cache = Tarballs(tmp_path)
    for data, date in ((b"old", "2026-01-01"), (b"new", "2026-03-01"), (b"lost", "2026-05-01")):
        (tmp_path / "download").write_bytes(data)
        path = cache.add(tmp_path / "download", record_of(data, date))
        if data == b"lost":
            path.unlink()
    newest = cache.newest("https://mirror.example/a.tar.gz")
    assert newest is not None and newest.date == "2026-03-01"
    assert cache.newest("https://mirror.example/b.tar.gz") is None
