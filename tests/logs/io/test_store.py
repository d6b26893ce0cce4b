"""The folder with the boards' logs: what is stored stays, whatever the clock or the disk does."""

import gzip
import os
import stat
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from bootwright.core.errors import InputError
from bootwright.logs.io import store as store_module
from bootwright.logs.io.ingest import IngestServer
from bootwright.logs.io.store import LogStore

DAY = date(2026, 11, 26)
LINE = "<30>1 2026-11-26T08:00:00Z odroid web - - - text %d"


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path / "logs")


def texts(store: LogStore, board: str = "odroid") -> list[str]:
    return [record.text for record in store.newest_first(board)][::-1]


def test_an_incomplete_line_after_a_crash_is_ended(store: LogStore) -> None:
    store.append("odroid", [LINE % 1], DAY)
    with store.path("odroid", DAY).open("a") as file:
        file.write(LINE[:30])
    store.append("odroid", [LINE % 2], DAY)
    assert texts(store)[0::2] == ["text 1", "text 2"]


def test_a_full_disk_stores_all_or_nothing(
    store: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append("odroid", [LINE % 1], DAY)
    write = os.write
    rest = [100]

    def full(descriptor: int, data: bytes) -> int:
        if rest[0] == 0:
            raise OSError(28, "No space left on device")
        done = write(descriptor, data[: rest[0]])
        rest[0] -= done
        return done

    monkeypatch.setattr("bootwright.logs.io.store.os.write", full)
    with pytest.raises(OSError, match="No space"):
        store.append("odroid", [LINE % n for n in range(50)], DAY)
    monkeypatch.undo()
    assert store.path("odroid", DAY).read_text() == f"{LINE % 1}\n"


@pytest.mark.parametrize("day", [date(1970, 1, 1), date(2025, 12, 31), date(2026, 11, 25)])
def test_a_clock_that_is_wrong_stores_nothing(store: LogStore, day: date) -> None:
    store.append("odroid", [LINE % 1], DAY)
    with pytest.raises(OSError, match=rf"clock says {day}"):
        store.append("odroid", [LINE % 2], day)
    with pytest.raises(OSError, match="clock says 1970-01-01; set the clock"):
        store.append("new", [LINE % 2], date(1970, 1, 1))
    assert texts(store) == ["text 1"]


def test_a_compressed_day_accepts_no_records(store: LogStore) -> None:
    store.append("odroid", [LINE % 1], DAY)
    store.tidy(keep_days=9, plain_days=0)
    with pytest.raises(OSError, match=r"there is already .*2026-11-26\.log\.gz"):
        store.append("odroid", [LINE % 2], DAY)
    assert texts(store) == ["text 1"]


def test_days_are_counted_by_files(store: LogStore) -> None:
    for day in range(1, 7):
        store.append("odroid", [LINE % day], date(2026, day, 1))
    store.path("odroid", date(2026, 1, 1)).chmod(0o640)
    store.tidy(keep_days=4)
    names = sorted(path.name for path in (store.folder / "odroid").iterdir())
    assert names == [
        *("2026-03-01.log.gz", "2026-04-01.log.gz", "2026-05-01.log", "2026-06-01.log"),
    ]
    assert texts(store) == [f"text {n}" for n in range(3, 7)]
    # Not for more eyes than before.
    assert stat.S_IMODE((store.folder / "odroid" / names[0]).stat().st_mode) == 0o640
    assert stat.S_IMODE((store.folder / "odroid").stat().st_mode) == 0o750


def test_a_file_that_cannot_be_compressed_does_not_stop_the_clean_up(
    store: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for board in ("a", "b"):
        store.append(board, [LINE % 1], DAY)
    compress = store_module._compress

    def fails_once(file: Path) -> None:
        if file.parent.name == "a":
            raise OSError("no")
        compress(file)

    monkeypatch.setattr(store_module, "_compress", fails_once)
    with pytest.raises(OSError, match="no"):
        store.tidy(keep_days=9, plain_days=0)
    assert [path.suffix for path in (store.folder / "b").iterdir()] == [".gz"]


def test_losses_are_kept_beside_the_log(store: LogStore) -> None:
    assert store.losses("odroid") == {}
    store.append("odroid", [LINE % 1], DAY)
    store.store_losses("odroid", {"a" * 32: 7})
    assert store.losses("odroid") == {"a" * 32: 7}
    (store.folder / "odroid/.losses").write_text("{")
    assert store.losses("odroid") == {}
    assert texts(store) == ["text 1"]


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", ".hidden", "a" * 64])
def test_board_names_that_are_paths_are_refused(store: LogStore, name: str) -> None:
    with pytest.raises(InputError, match="not a board's name"):
        store.append(name, [LINE % 1], DAY)


def test_records_are_not_taken_as_stored_after_an_error(
    store: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = IngestServer(store, lambda _: None)
    body = b"1 c <30>1 - h web 9 web - once\n"

    def breaks(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(store, "append", breaks)
    with pytest.raises(MemoryError):
        intake._store_delivery("odroid", body)
    monkeypatch.undo()
    assert intake._store_delivery("odroid", body) == 0
    assert intake._store_delivery("odroid", body) == 1
    assert texts(store) == ["once"]


def test_a_damaged_old_file_does_not_stop_deliveries(store: LogStore) -> None:
    store.append("odroid", [LINE % 1], date(2026, 1, 5))
    store.tidy(keep_days=9, plain_days=0)
    (store.folder / "odroid/2026-01-05.log.gz").write_bytes(b"no gzip")
    server = IngestServer(store, lambda _: None)
    assert server._store_delivery("odroid", b"1 c <30>1 - h web 9 web - new\n") == 0
    assert store.last_lines("odroid", 9)[0].endswith("new")
    assert datetime.now(UTC).date() >= DAY


@pytest.mark.parametrize("compressed", [False, True])
def test_a_line_as_long_as_the_day_is_cut(
    store: LogStore, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    """Its blocks are joined once, so the time grows with the bytes; its beginning is shown."""
    monkeypatch.setattr(store_module, "_MAX_LINE_BYTES", 100)
    monkeypatch.setattr(store_module, "_BLOCK_BYTES", 16)
    head = b"<13>1 2026-11-26T01:00:00Z odroid prog - - - "
    first, last = head + b"first\n", head + b"last\n"
    content = first + head + b"x" * 10_000 + b"\n" + last
    folder = store.board_folder("odroid")
    folder.mkdir(parents=True)
    name = "2026-11-26.log.gz" if compressed else "2026-11-26.log"
    (folder / name).write_bytes(gzip.compress(content) if compressed else content)
    found = [*store.backwards("odroid")]
    assert [where.offset for where, _ in found] == [len(content) - len(last), len(first), 0]
    assert [line for _, line in found] == [
        (head + b"last").decode(),
        (head + b"x" * (100 - len(head))).decode(),
        (head + b"first").decode(),
    ]
