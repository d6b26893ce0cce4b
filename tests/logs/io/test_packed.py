"""Compressed days: read from the end with little memory, however large their content is."""

import gzip
import random
import subprocess
import sys
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError
from bootwright.logs.io import packed
from bootwright.logs.io.packed import PackedReader

ALL = sys.maxsize


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections so small that a test has many."""
    monkeypatch.setattr(packed, "SECTION_BYTES", 5000)
    monkeypatch.setattr(packed, "_PART_BYTES", 1000)
    monkeypatch.setattr(packed, "_READ_BYTES", 300)


def content(size: int) -> bytes:
    """Return bytes of which one part compresses well and another does not."""
    chance = random.Random(3)
    return b"x" * (size // 3) + chance.randbytes(size // 3) + b"abc\n" * (size // 12)


def backwards(reader: PackedReader, block: int) -> bytes:
    parts = []
    end = reader.seek(0, 2)
    while end:
        start = max(0, end - block)
        reader.seek(start)
        parts.append(reader.read(end - start))
        end = start
    return b"".join(reversed(parts))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("block", [1, 999, 7000, 70_000])
def test_content_is_read_backwards_in_blocks(tmp_path: Path, block: int) -> None:
    file, data = tmp_path / "day.gz", content(60_000)
    file.write_bytes(gzip.compress(data))
    with PackedReader(file, ALL) as reader:
        assert backwards(reader, block) == data


@pytest.mark.usefixtures("small")
def test_any_position_can_be_read(tmp_path: Path) -> None:
    file, data = tmp_path / "day.gz", content(60_000)
    file.write_bytes(gzip.compress(data))
    chance = random.Random(4)
    with PackedReader(file, ALL) as reader:
        assert reader.seek(0, 2) == len(data)
        assert reader.read(10) == b""
        for _ in range(200):
            start, size = chance.randrange(len(data)), chance.randrange(12_000)
            assert reader.seek(start) == start
            assert reader.read(size) == data[start : start + size]


@pytest.mark.usefixtures("small")
def test_several_gzip_files_in_one_and_zeros_after_them(tmp_path: Path) -> None:
    file, data = tmp_path / "day.gz", content(30_000)
    file.write_bytes(gzip.compress(data) + gzip.compress(b"") + gzip.compress(data) + bytes(700))
    with PackedReader(file, ALL) as reader:
        assert backwards(reader, 4096) == data + data


@pytest.mark.usefixtures("small")
def test_many_sections_become_larger_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MAX_STATES", 4)
    file, data = tmp_path / "day.gz", content(90_000)
    file.write_bytes(gzip.compress(data))
    with PackedReader(file, ALL) as reader:
        assert len(reader._states) <= 4
        assert backwards(reader, 4096) == data


def test_an_empty_file_has_no_content(tmp_path: Path) -> None:
    file = tmp_path / "day.gz"
    for raw in (b"", gzip.compress(b"")):
        file.write_bytes(raw)
        with PackedReader(file, ALL) as reader:
            assert reader.seek(0, 2) == 0
            assert reader.read(9) == b""


@pytest.mark.usefixtures("small")
def test_damage_is_reported(tmp_path: Path) -> None:
    file, good = tmp_path / "day.gz", gzip.compress(content(30_000))
    wrong_sum = good[:-8] + bytes([good[-8] ^ 1]) + good[-7:]
    for raw in (b"no gzip", good[:-1], good[:5000], good[:10], wrong_sum, good + b"garbage"):
        file.write_bytes(raw)
        with pytest.raises(FailedError, match=r"day\.gz is damaged: .*move it away"):
            PackedReader(file, ALL)
    # What is not read is not checked either.
    file.write_bytes(good[:5000])
    with PackedReader(file, 3000) as reader:
        assert reader.read(3000) == content(30_000)[:3000]


TAIL = """
import resource, sys
from pathlib import Path
from bootwright.logs.io.store import LogStore
store = LogStore(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(next(store.newest_first("odroid")).text)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_one_line_of_a_large_day_needs_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "odroid"
    folder.mkdir()
    lines = b"<30>1 2026-11-20T00:00:00Z odroid web 1 - - " + b"x" * 180 + b"\n"
    with gzip.open(folder / "2026-11-20.log.gz", "wb", 1) as file:
        for _ in range(256):
            file.write(lines * 4500)
        file.write(b"<30>1 2026-11-20T00:00:00Z odroid web 1 - - the last\n")
    done = subprocess.run(
        [sys.executable, "-c", TAIL, tmp_path], capture_output=True, text=True, check=True
    )
    text, mib = done.stdout.splitlines()
    assert text == "the last"
    # The content has 250 MiB.
    assert int(mib) < 48
