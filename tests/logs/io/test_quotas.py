"""A board that fills the disk: the others go on, and the operator sees it."""

from dataclasses import dataclass
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


@dataclass
class Room:
    """Quotas, and what they have removed."""

    store: LogStore
    keep_bytes: int = GIB
    disk: Disk = ROOMY

    def __post_init__(self) -> None:
        self.messages: list[str] = []
        self.quotas = Quotas(self.store, self.keep_bytes, self.messages.append, lambda _: self.disk)

    def make(self, board: str, size: int, day: int) -> str:
        """Make room for a board's records of a day; return the names of the removed files."""
        self.quotas.make_room(board, size, date(2026, 5, day))
        return self.removed()

    def removed(self) -> str:
        """Return the names in the last message, and forget all messages."""
        last = self.messages[-1].rpartition(": ")[2] if self.messages else ""
        self.messages.clear()
        return last


def test_a_board_over_its_quota_loses_its_own_oldest_days(store: LogStore) -> None:
    fill(store, "odroid", 1, 2, 3)
    fill(store, "lab", 1, 2, 3)
    room = Room(store, 3000)
    assert room.make("odroid", 1, 3) == "odroid/2026-05-01.log"
    assert room.make("odroid", 1000, 3) == ""
    assert days(store, "odroid") == ["02", "03"]
    assert days(store, "lab") == ["01", "02", "03"]
    (sentence,) = trouble_of(store, "odroid", now())
    assert "the oldest days were removed at" in sentence
    assert "keep_bytes (2.9 KiB)" in sentence
    assert trouble_of(store, "odroid", now() + timedelta(days=2)) == ()
    assert trouble_of(store, "lab", now()) == ()


def test_a_board_whose_day_is_over_its_quota_is_refused_until_the_next_day(
    store: LogStore,
) -> None:
    fill(store, "odroid", 1, size=3000)
    room = Room(store, 3000)
    with pytest.raises(NoRoomError, match=r"its logs of one day need more than keep_bytes"):
        room.make("odroid", 1, 1)
    assert days(store, "odroid") == ["01"]
    assert room.make("lab", 1, 1) == ""
    assert room.make("odroid", 1000, 2) == "odroid/2026-05-01.log"


def test_a_record_of_the_day_after_a_full_one_is_stored(store: LogStore) -> None:
    yesterday = now().date() - timedelta(days=1)
    store.append("odroid", ["x" * 2999], yesterday)
    server = IngestServer(store, lambda _: None, Quotas(store, 3000, lambda _: None))
    assert server._store_delivery("odroid", b"1 s <13>1 - x p 1 - - text\n") == 0
    ((file, _),) = store.sizes("odroid")
    assert file.name > f"{yesterday}.log"


def test_a_board_that_is_refused_keeps_its_history(store: LogStore) -> None:
    fill(store, "odroid", 1, 2, size=500)
    fill(store, "odroid", 3, size=2000)
    room = Room(store, 3000)
    with pytest.raises(NoRoomError):
        room.make("odroid", 1001, 3)
    assert days(store, "odroid") == ["01", "02", "03"]
    # Two old days are enough for its quota, but not for the full disk.
    room = Room(store, 3200, Disk(100_000, 1000))
    with pytest.raises(NoRoomError, match="of the disk is free"):
        room.make("odroid", 1150, 3)
    assert days(store, "odroid") == ["01", "02", "03"]
    assert (room.messages, trouble_of(store, "odroid", now())) == ([], ())


def test_removed_days_are_shown_also_if_another_one_cannot_be_removed(
    store: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, "odroid", 1, 2, 3)
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self.name == "2026-05-02.log":
            raise PermissionError(13, "Permission denied")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    room = Room(store, 3000)
    with pytest.raises(PermissionError):
        room.make("odroid", 1500, 3)
    assert room.removed() == "odroid/2026-05-01.log"
    assert "the oldest days were removed" in trouble_of(store, "odroid", now())[0]


def test_a_nearly_full_disk_is_shared(store: LogStore) -> None:
    fill(store, "hog", 1, 2, size=4000)
    fill(store, "small", 1, 2, size=500)
    # 10,000 bytes, 500 of them the reserve.
    room = Room(store, disk=Disk(10_000, 500))
    assert room.make("small", 100, 2) == "hog/2026-05-01.log"
    assert days(store, "small") == ["01", "02"]
    fill(store, "hog", 3, size=4000)
    assert room.make("hog", 100, 3) == "hog/2026-05-02.log"
    with pytest.raises(NoRoomError, match="more than an equal share"):
        room.make("hog", 100, 3)
    room.disk = Disk(10_000, 1000)
    assert room.make("small", 300, 3) == ""


def test_a_disk_that_another_program_fills_costs_no_more_days_than_are_written(
    store: LogStore,
) -> None:
    fill(store, "odroid", 1, 2, 3, 4)
    room = Room(store, disk=Disk(100_000, 0))
    assert room.make("odroid", 100, 4) == "odroid/2026-05-01.log"
    assert days(store, "odroid") == ["02", "03", "04"]
    with pytest.raises(NoRoomError):
        room.make("odroid", 2001, 4)
    assert days(store, "odroid") == ["02", "03", "04"]


def test_days_that_syslog_ng_has_written_are_trimmed_too(store: LogStore) -> None:
    fill(store, "router", 1, 2, 3)
    fill(store, "lab", 1)
    room = Room(store, 1500)
    room.quotas.trim()
    assert room.removed() == "router/2026-05-01.log, router/2026-05-02.log"
    fill(store, "router", 4)
    # The newest day stays, even if it alone is over the quota.
    room = Room(store, 500)
    room.quotas.trim()
    assert room.removed() == "router/2026-05-03.log"
    assert (days(store, "router"), days(store, "lab")) == (["04"], ["01"])


def test_a_sender_whose_day_is_over_its_quota_is_stopped_until_the_next_day(
    store: LogStore,
) -> None:
    fill(store, "router", 4)
    fill(store, "lab", 4, size=100)
    room = Room(store, 500)
    assert room.quotas.stopped(date(2026, 5, 4)) == ("router",)
    assert room.messages == [
        "router: nothing more is stored by syslog-ng: its logs of one day need more than keep_bytes"
        " (500 B)"
    ]
    (sentence,) = trouble_of(store, "router", now() + timedelta(days=9))
    assert sentence.startswith("what it sends by the syslog protocol is not stored since 20")
    assert room.quotas.stopped(date(2026, 5, 4)) == ("router",)
    assert len(room.messages) == 1
    room.quotas.nothing_stopped()
    assert trouble_of(store, "router", now()) == ()
    assert room.quotas.stopped(date(2026, 5, 4)) == ("router",)
    # Of the next day something is stored, so that this one can be removed.
    assert room.quotas.stopped(date(2026, 5, 5)) == ()
    assert trouble_of(store, "router", now()) == ()


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
