"""Reading logs backwards in pieces: no record is lost between two pieces, and none comes twice."""

import base64
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError, InputError
from bootwright.logs.io.scan import (
    Cursors,
    ScanResult,
    decode_cursors,
    encode_cursors,
    end_cursors,
    new_records,
    scan,
    summary,
)
from bootwright.logs.io.store import LogCursor, LogStore
from bootwright.logs.query import Query
from bootwright.logs.record import LogContainer, LogRecord, format_record

DAY = date(2026, 11, 24)
START = datetime(2026, 11, 24, 8, tzinfo=UTC)
WEB = LogContainer("web", "nginx:1.27", "0123456789ab")


def _never() -> bool:
    return False


def _record(board: str, text: str, second: float | None, severity: int = 6) -> LogRecord:
    time = None if second is None else START + timedelta(seconds=second)
    return LogRecord(8 + severity, time, board, "app", "", text)


def _append(store: LogStore, records: Sequence[LogRecord], day: date = DAY) -> None:
    for record in records:
        store.append(record.board, [format_record(record)], day)


def _texts(piece: ScanResult) -> list[str]:
    return [record.text for record in piece.records]


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path / "logs")


def _all(
    store: LogStore,
    start: Cursors,
    limit: int,
    query: Query | None = None,
    between: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Return all texts, read piece by piece."""
    found: list[str] = []
    cursors: Cursors | None = start
    pieces = 0
    while cursors is not None:
        piece = scan(store, cursors, query or Query(), limit, _never)
        assert len(piece.records) <= limit
        found += _texts(piece)
        # A browser keeps only the encoded word.
        cursors = None if piece.older is None else decode_cursors(encode_cursors(piece.older))
        pieces += 1
        between(pieces)
    return found


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_parts_of_a_scan_are_complete_while_records_arrive(store: LogStore, limit: int) -> None:
    boards = ("a", "b", "c")
    for number in range(30):
        _append(store, [_record(boards[number % 3], f"old {number}", number)])
    start = end_cursors(store, "")

    def arrives(piece: int) -> None:
        _append(store, [_record(board, f"new {piece}", 100 + piece) for board in (*boards, "d")])

    found = _all(store, start, limit, between=arrives)
    assert found == [f"old {number}" for number in reversed(range(30))]
    new, lines = new_records(store, start, store.boards(), Query())
    pieces = (30 + limit - 1) // limit + (30 % limit == 0)
    assert lines == 4 * pieces
    assert [record.text for record in new] == [
        f"new {piece}" for piece in range(1, pieces + 1) for _ in range(4)
    ]


def test_cursor_survives_compression_and_midnight(store: LogStore) -> None:
    for number in range(10):
        _append(store, [_record("a", f"{number}", number)], DAY + timedelta(days=number // 5))
    start = end_cursors(store, "")

    def tidied(piece: int) -> None:
        if piece == 2:
            store.tidy(keep_days=100, plain_days=0)
            assert [file.suffix for file in (store.folder / "a").iterdir()] == [".gz", ".gz"]

    assert _all(store, start, 3, between=tidied) == [f"{number}" for number in reversed(range(10))]
    # A follower that was at the end is still there, and so is one that starts now.
    _append(store, [_record("a", "next", 20)], DAY + timedelta(days=10))
    for cursors in (start, end_cursors(store, "")):
        new, _ = new_records(store, cursors, ["a"], Query())
        assert [record.text for record in new] == (["next"] if cursors is start else [])


def test_follow_after_all_files_were_compressed(store: LogStore) -> None:
    _append(store, [_record("a", "old", 0)])
    store.tidy(keep_days=100, plain_days=0)
    start = decode_cursors(encode_cursors(end_cursors(store, "a")))
    _append(store, [_record("a", "new", 0)], DAY + timedelta(days=5))
    assert _all(store, start, 5) == ["old"]
    assert [record.text for record in new_records(store, start, ["a"], Query())[0]] == ["new"]


def test_boards_are_merged_by_time_unless_a_clock_is_wrong(store: LogStore) -> None:
    long_ago = (datetime(1970, 1, 1, tzinfo=UTC) - START).total_seconds()
    years = timedelta(days=5000).total_seconds()
    _append(store, [_record("a", f"a{second}", second) for second in (0, 20, 40)])
    _append(store, [_record("b", "b10", 10), _record("b", "1970", long_ago)])
    _append(store, [_record("b", "no time", None), _record("b", "b30", 30)])
    _append(store, [_record("c", "c5", 5), _record("c", "years ahead", years)])
    assert _all(store, end_cursors(store, ""), 100) == [
        *("years ahead", "a40", "b30", "no time", "1970", "a20", "b10", "c5", "a0")
    ]


def test_what_has_just_arrived_is_found_whatever_its_boards_clock_says(store: LogStore) -> None:
    long_ago = (datetime(1970, 1, 1, tzinfo=UTC) - START).total_seconds()
    _append(store, [_record("a", "1970, long before", long_ago), _record("a", "before", 0)])
    later = [_record("a", "1970", long_ago), _record("a", "no time", None)]
    _append(store, [*later, _record("a", "after", 600), _record("a", "1970 again", long_ago)])
    since = Query(since=START + timedelta(seconds=300))
    found = ["1970 again", "after", "no time", "1970"]
    assert _all(store, end_cursors(store, "a"), 9, since) == found
    assert [record.text for record in store.newest_first("a", since)] == found
    until = Query(until=START + timedelta(seconds=300))
    assert [record.text for record in store.newest_first("a", until)] == [
        "before",
        "1970, long before",
    ]


def test_what_a_board_delivered_late_is_found_by_its_own_time(store: LogStore) -> None:
    late = -timedelta(days=3).total_seconds()
    _append(store, [_record("a", "before", 0)])
    _append(store, [_record("a", "late", late), _record("a", "late too", late + 60)])
    until = Query(until=START - timedelta(days=2))
    assert [record.text for record in store.newest_first("a", until)] == ["late too", "late"]
    assert _all(store, end_cursors(store, "a"), 9, until) == ["late too", "late"]
    since = Query(since=START - timedelta(minutes=5))
    assert [record.text for record in store.newest_first("a", since)] == ["before"]
    assert _all(store, end_cursors(store, "a"), 9, since) == ["before"]


def test_what_arrives_is_followed_whatever_its_boards_clock_says(store: LogStore) -> None:
    long_ago = (datetime(1970, 1, 1, tzinfo=UTC) - START).total_seconds()
    _append(store, [_record("a", "1970", long_ago)])
    query = Query(since=datetime.now(UTC) - timedelta(minutes=10))
    new, _ = new_records(store, {}, ["a"], query)
    assert [record.text for record in new] == ["1970"]


def test_a_search_that_was_ended_continues_at_its_cursor(store: LogStore) -> None:
    lines = [format_record(_record("a", f"hay {number}", number)) for number in range(2000)]
    lines[3] = format_record(_record("a", "needle", 3))
    store.append("a", lines, DAY)
    query = Query(pattern=re.compile("NEEDLE", re.IGNORECASE))
    cursors: Cursors | None = end_cursors(store, "a")
    reached = [START + timedelta(days=1)]
    while cursors is not None:
        piece = scan(store, cursors, query, 10, lambda: True)
        cursors = piece.older
        assert piece.reached is not None
        assert piece.reached < reached[-1]
        reached.append(piece.reached)
        assert _texts(piece) == (["needle"] if cursors is None else [])
    assert len(reached) > 3


def test_the_quick_filter_drops_no_matching_record(store: LogStore) -> None:
    good = LogRecord(12, START, "a", "tag", "9", 'say "x] y" \\ z', WEB, 5)
    lines = [
        format_record(good),
        format_record(_record("a", "debug", 1, severity=7)),
        format_record(_record("a", "alert", 2, severity=1)),
        # Torn by a crash: no record, and so a notice, whatever it begins with.
        "<15>1 2026-11-24T08:00:03Z a app - - [torn",
        "<999>1 2026-11-24T08:00:04Z a app - - - no such priority",
        "",
        "raw \x1b[31m \u202e bytes",
    ]
    store.append("a", lines, DAY)
    queries = [
        *(Query(severity=severity) for severity in range(8)),
        *(Query(container=name) for name in ("web", "tag", "app x", "0123456789", f"{WEB.id}ffff")),
        *(Query(container=name) for name in ("", "none", 'a"b', "a]b")),
        *(Query(pattern=re.compile(re.escape(text))) for text in ('"x]', "#033", "#342", "torn")),
        Query(since=START + timedelta(seconds=1)),
        Query(until=START + timedelta(seconds=1)),
    ]
    for query in queries:
        expected = [record.text for record in store.newest_first("a", query)]
        assert _all(store, end_cursors(store, "a"), 2, query) == expected


def test_an_incomplete_line_is_left_for_the_next_call(store: LogStore) -> None:
    _append(store, [_record("a", "whole", 0)])
    path = store.path("a", DAY)
    line = format_record(_record("a", "in two halves", 1)).encode()
    with path.open("ab") as file:
        file.write(line[:40])
    start = end_cursors(store, "a")
    assert _all(store, start, 5) == ["whole"]
    assert new_records(store, start, ["a"], Query())[0] == []
    with path.open("ab") as file:
        file.write(line[40:] + b"\n")
    assert [record.text for record in new_records(store, start, ["a"], Query())[0]] == [
        "in two halves"
    ]


def test_follow_reads_all_records_in_small_parts(store: LogStore) -> None:
    for day in range(2):
        lines = [format_record(_record("a", f"{day}-{number}", number)) for number in range(50)]
        store.append("a", [*lines, "x" * 5000], DAY + timedelta(days=day))
    place, found, counts = LogCursor("", 0), list[str](), list[int]()
    waiting = store.unread_bytes("a", place)
    while new := store.follow("a", place, max_bytes=1000):
        assert store.unread_bytes("a", place) < waiting
        waiting = store.unread_bytes("a", place)
        counts.append(len(new))
        found += [record.text for record in new]
    assert waiting == 0
    assert max(counts) < 30
    assert found == [
        text
        for day in range(2)
        for text in (*(f"{day}-{number}" for number in range(50)), "x" * 5000)
    ]


def test_board_without_logs_has_an_end(store: LogStore) -> None:
    assert end_cursors(store, "") == {}
    start = end_cursors(store, "a")
    assert scan(store, start, Query(), 5, _never) == ScanResult([], None, None)
    _append(store, [_record("a", "first", 0)])
    assert _all(store, start, 5) == []
    assert [record.text for record in new_records(store, start, ["a"], Query())[0]] == ["first"]


@pytest.mark.parametrize(
    "word",
    [
        *("?", "e30x", "bnVsbA", "WzFd", "eyJhIjoxfQ", "eyJhIjpbIngiXX0", "W" * 40000),
        encode_cursors({"a": LogCursor("../../etc/passwd", 0)}),
        encode_cursors({"a": LogCursor("2026-11-24.log", -1)}),
        encode_cursors({"a": LogCursor("2026-11-24.log", 1 << 64)}),
        encode_cursors({"a": LogCursor("2026-11-24.log", True)}),
    ],
)
def test_wrong_cursors_are_refused(word: str) -> None:
    with pytest.raises(InputError, match="load the page again"):
        decode_cursors(word)


def test_a_deeply_nested_cursor_is_refused() -> None:
    word = base64.urlsafe_b64encode(b"[" * 30000).decode()
    with pytest.raises(InputError):
        decode_cursors(word)


def test_cursor_that_names_no_board(store: LogStore) -> None:
    with pytest.raises(InputError, match="not a board's name"):
        scan(store, {"../up": LogCursor("2026-11-24.log", 0)}, Query(), 5, _never)


def test_damaged_day_is_named(store: LogStore) -> None:
    _append(store, [_record("a", "old", 0)])
    store.tidy(keep_days=100, plain_days=0)
    packed = store.folder / "a" / f"{DAY}.log.gz"
    whole = packed.read_bytes()
    for damaged in (whole[:-10], b"no gzip", whole[:12] + b"\xff" * 8 + whole[20:]):
        packed.write_bytes(damaged)
        with pytest.raises(FailedError, match=re.escape(str(packed))):
            list(store.newest_first("a"))


def test_a_summary_has_containers_and_programs(store: LogStore) -> None:
    _append(store, [_record("a", "x", 0)])
    store.append("a", [format_record(LogRecord(14, START, "a", "tag", "", "y", WEB))], DAY)
    _append(store, [_record("a", "no clock", None)])
    found = summary(store, "a", 10)
    assert (found.last, found.containers, found.programs) == (START, ("web",), ("app",))
    assert summary(store, "a", 1).containers == ()
