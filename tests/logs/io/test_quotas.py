"""A board that fills the disk: the others go on, and the operator sees it."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from bootwright.logs.io.ingest import IngestServer
from bootwright.logs.io.quotas import (
    NoRoomError,
    Quotas,
    clear_refusal,
    disk_of,
    disk_trouble,
    note_refusal,
    trouble_of,
)
from bootwright.logs.io.store import LogStore
from bootwright.logs.quota import Disk
from tests.support.logship import Operator

GIB = 1 << 30
ROOMY = Disk(100 * GIB, 50 * GIB)


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path / "logs")


def fill(store: LogStore, board: str, *days: int, size: int = 1000) -> None:
    for day in days:
        store.append(board, ["x" * (size - 1)], date(2026, 5, day))


def days(store: LogStore, board: str) -> list[str]:
    return [file.name[8:10] for file, _ in store.sizes(board)]


def now() -> datetime:
    return datetime.now(UTC)


def test_a_board_over_its_quota_loses_its_own_oldest_days(store: LogStore) -> None:
    fill(store, "odroid", 1, 2, 3)
    fill(store, "lab", 1, 2, 3)
    quotas = Quotas(store, 3000, lambda _: ROOMY)
    assert quotas.make_room("odroid", 1) == ("odroid/2026-05-01.log",)
    assert quotas.make_room("odroid", 1000) == ()
    assert days(store, "odroid") == ["02", "03"]
    assert days(store, "lab") == ["01", "02", "03"]
    (sentence,) = trouble_of(store, "odroid", now())
    assert "the oldest days were removed at" in sentence
    assert "keep_bytes (2.9 KiB)" in sentence
    assert trouble_of(store, "odroid", now() + timedelta(days=2)) == ()
    assert trouble_of(store, "lab", now()) == ()


def test_a_board_whose_day_is_over_its_quota_is_refused(store: LogStore) -> None:
    fill(store, "odroid", 1, size=3000)
    quotas = Quotas(store, 3000, lambda _: ROOMY)
    with pytest.raises(NoRoomError, match=r"its logs of one day need more than keep_bytes"):
        quotas.make_room("odroid", 1)
    assert days(store, "odroid") == ["01"]
    assert quotas.make_room("lab", 1) == ()


def test_a_nearly_full_disk_is_shared(store: LogStore) -> None:
    fill(store, "hog", 1, 2, size=4000)
    fill(store, "small", 1, 2, size=500)
    used = 9000
    # 10,000 bytes, 500 of them the reserve; only the logs are on it.
    quotas = Quotas(store, GIB, lambda _: Disk(10_000, 10_000 - used - gone[0]))
    gone = [500]
    assert quotas.make_room("small", 100) == ("hog/2026-05-01.log",)
    assert days(store, "small") == ["01", "02"]
    fill(store, "hog", 3, size=4000)
    assert quotas.make_room("hog", 100) == ("hog/2026-05-02.log",)
    with pytest.raises(NoRoomError, match="more than an equal share"):
        quotas.make_room("hog", 100)
    gone[0] = 0
    assert quotas.make_room("small", 300) == ()


def test_days_that_syslog_ng_has_written_are_trimmed_too(store: LogStore) -> None:
    fill(store, "router", 1, 2, 3)
    fill(store, "lab", 1)
    assert Quotas(store, 1500).trim() == ("router/2026-05-01.log", "router/2026-05-02.log")
    assert Quotas(store, 500).trim() == ()
    assert days(store, "router") == ["03"]


def test_refusals_are_shown_until_records_are_stored_again(store: LogStore) -> None:
    note_refusal(store, "odroid", "its disk is full")
    first = trouble_of(store, "odroid", now() + timedelta(days=9))
    note_refusal(store, "odroid", "its disk is full")
    assert trouble_of(store, "odroid", now()) == first
    assert first[0].startswith("new records are not stored since 20")
    assert first[0].endswith("Z: its disk is full")
    clear_refusal(store, "odroid")
    assert trouble_of(store, "odroid", now()) == ()
    # A board without trouble gets no file.
    clear_refusal(store, "lab")
    assert not (store.folder / "lab").exists()


def test_a_damaged_note_is_no_trouble(store: LogStore) -> None:
    note_refusal(store, "odroid", "x")
    for text in ("{", "[]", '{"refused": 7}', '{"refused": ["x", "y"]}'):
        (store.folder / "odroid/.trouble").write_text(text)
        assert trouble_of(store, "odroid", now()) == ()


def test_the_disk_of_logs_that_are_not_there_yet(tmp_path: Path) -> None:
    found = disk_of(tmp_path / "not" / "yet")
    assert found == disk_of(tmp_path)
    assert 0 < found.free <= found.total
    assert disk_trouble(ROOMY) == ()
    assert "1.5 GiB of the disk are free" in disk_trouble(Disk(100 * GIB, 3 * GIB // 2))[0]


@pytest.mark.integration
def test_one_board_is_refused_and_another_delivers(tmp_path: Path) -> None:
    operator = Operator(tmp_path / "operator")
    operator.keep_bytes = 4000
    body = b"1 s <13>1 2026-11-30T02:00:00.000001Z x p 1 - - " + b"x" * 3000 + b"\n"
    with operator.collecting():
        assert operator.deliver(body) == 200
        again = body.replace(b"1 s", b"2 s")
        assert [operator.deliver(again) for _ in range(3)] == [503] * 3
        assert operator.deliver(body, "lab") == 200
        assert "are not stored" in trouble_of(operator.store, "odroid", now())[0]
        # A report without a record is not a stored record.
        assert operator.deliver(b"4 l none\n") == 200
        assert "are not stored" in trouble_of(operator.store, "odroid", now())[0]
        # A smaller one has room.
        assert operator.deliver(b"3 s <13>1 - x p 1 - - short\n") == 200
        assert trouble_of(operator.store, "odroid", now()) == ()
        assert operator.deliver(again) == 503
    assert len([one for one in operator.messages if "cannot store" in one]) == 1


def test_a_refusal_before_a_restart_is_cleared_by_the_next_delivery(store: LogStore) -> None:
    note_refusal(store, "odroid", "the disk was full")
    server = IngestServer(store, lambda _: None)
    assert server._store_delivery("odroid", b"1 s <13>1 - x p 1 - - text\n") == 0
    assert trouble_of(store, "odroid", now()) == ()
