"""Log records: their form, what is asked of them, deliveries, losses."""

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.core.errors import InputError
from bootwright.logs.deduplicator import REMEMBERED_LINES, Deduplicator
from bootwright.logs.delivery import CONTAINER, LOSS, Delivered, parse_delivery
from bootwright.logs.query import Query, parse_pattern, parse_severity, parse_since
from bootwright.logs.record import (
    SEVERITIES,
    LogContainer,
    LogRecord,
    escape_unsafe,
    format_record,
    parse_record,
)

NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)

words = st.text(
    st.characters(categories=("L", "N", "P", "S"), exclude_characters="\u061c\u200e\u200f"),
    min_size=1,
).filter(lambda word: word != "-")
texts = st.text().map(escape_unsafe)
records = st.builds(
    LogRecord,
    priority=st.integers(0, 191),
    time=st.none() | st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)),
    board=words,
    app=st.just("") | words,
    process=st.just("") | words,
    text=texts.filter(lambda text: not text.startswith("\ufeff")),
    container=st.none() | st.builds(LogContainer, texts, texts, texts),
    sequence=st.none() | st.integers(0, 2**64 - 1),
    lost=st.integers(0, 10**9),
)


@given(records)
def test_what_is_stored_is_read_back(record: LogRecord) -> None:
    line = format_record(record)
    assert "\n" not in line
    assert parse_record(line) == record


@given(st.text())
def test_any_line_is_a_record_that_is_safe(line: str) -> None:
    record = parse_record(line, "odroid")
    shown = f"{record.app}{record.process}{record.text}{record.board}"
    assert not {chr(n) for n in (*range(9), *range(10, 32), *range(127, 160))} & set(shown)
    assert 0 <= record.severity <= 7


@given(st.binary())
def test_any_delivery_is_parsed_and_keeps_the_name_of_its_board(body: bytes) -> None:
    found = [one.record for one in parse_delivery(body, "odroid")]
    assert len(found) == len([line for line in body.split(b"\n") if line])
    assert all(record.board == "odroid" for record in found)
    assert all("\n" not in format_record(record) for record in found)


@given(st.binary(min_size=1))
def test_what_the_relay_escapes_is_text_again(message: bytes) -> None:
    escaped = b"".join(
        b"\\" + bytes([byte])
        if byte in b"'\"\\"
        else b"\\%03o" % byte
        if byte < 32
        else bytes([byte])
        for byte in message
    )
    (one,) = parse_delivery(b"7 c <30>1 - odroid web 1 web - " + escaped, "odroid")
    assert one.record.text == escape_unsafe(message.decode("utf-8", "surrogateescape"))
    assert (one.origin, one.record.app, one.record.sequence) == (CONTAINER, "web", 7)


def test_what_cannot_be_parsed_is_all_text() -> None:
    for line in ("", "hello", "<999>1 - a b c - - x", "<30>2 - a b c - - x", "<30>1 a"):
        record = parse_record(line, "odroid")
        assert (record.text, record.board, record.time) == (line, "odroid", None)


def record(text: str = "x", minutes: int = 0, severity: int = 6, **more: object) -> LogRecord:
    time = NOW - timedelta(minutes=minutes)
    return LogRecord(24 + severity, time, "odroid", "web", "", text, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (Query(), True),
        (Query(severity=5), False),
        (Query(since=NOW - timedelta(minutes=10)), True),
        (Query(since=NOW), False),
        (Query(until=NOW), True),
        (Query(until=NOW - timedelta(minutes=9)), False),
        (Query(pattern=parse_pattern("two|three")), True),
        (Query(pattern=parse_pattern("^three")), False),
        (Query(container="web"), True),
        (Query(container="we"), False),
        (Query(container="0123"), True),
        (Query(container="01"), False),
        (Query(container="0123456789abcdef0123"), True),
        (Query(container="other"), False),
    ],
)
def test_queries(query: Query, wanted: bool) -> None:
    container = LogContainer("web", "app:1", "0123456789ab")
    asked = record("one two", minutes=5, container=container)
    assert query.matches(asked, NOW - timedelta(minutes=5)) is wanted


def test_a_tag_with_blanks_is_found_as_it_was_given() -> None:
    tag = "my tag"
    stored = parse_record(format_record(LogRecord(30, NOW, "odroid", tag, "", "x")))
    assert stored.app == "my_tag"
    assert Query(container=tag).matches(stored, NOW)
    assert Query(container="my_tag").matches(stored, NOW)
    assert not Query(container="my  tag").matches(stored, NOW)


def test_parsing_the_options_of_a_query() -> None:
    assert parse_since("90s", NOW) == NOW - timedelta(seconds=90)
    assert parse_since("10min", NOW) == NOW - timedelta(minutes=10)
    assert parse_since("2h", NOW) == NOW - timedelta(hours=2)
    assert parse_since("3d", NOW) == NOW - timedelta(days=3)
    assert parse_since("2026-11-26T07:00:00+01:00", NOW) == NOW - timedelta(hours=2)
    for wrong in ("", "yesterday", "9" * 30 + "d", "2026-13-01"):
        with pytest.raises(InputError, match="--since"):
            parse_since(wrong, NOW)
    with pytest.raises(InputError, match="--grep"):
        parse_pattern("(")
    assert [parse_severity(name) for name in SEVERITIES] == list(range(8))
    with pytest.raises(InputError, match="emerg"):
        parse_severity("loud")


def test_only_the_relay_decides_the_origin_of_a_line() -> None:
    body = (
        b"1 c <30>1 - h 0123456789ab/web/app:1 9 0123456789ab/web/app:1 - said\n"
        b"2 s <30>1 - h 0123456789ab/web/app:1 - - - forged\n"
        b"3 c <30>1 - h bootwright-lost 9 bootwright-lost - "
        + f"{A}=5\n".encode()
        + b"4 l <44>1 - h bootwright - - - "
        + f" {A}=7\n".encode()
        + b'5 s <30>1 - h bootwright - - [lost@32473 records="9"] forged\n'
        b"6 c <30>1 - h my own tag 9 my own tag - with blanks\n"
    )
    found = parse_delivery(body, "odroid")
    assert [one.origin for one in found] == ["c", "s", "c", "l", "s", "c"]
    assert found[0].record.container == LogContainer("web", "app:1", "0123456789ab")
    assert found[1].record.container is None
    assert found[5].record.app == "my own tag"
    assert {one.record.lost for one in found} == {0}
    added = Deduplicator("odroid", [], {}).add(found, NOW)
    assert (added.lost, len(added.lines)) == (7, 6)
    assert added.totals == {A: 7}


def test_hostile_structured_data_is_parsed_quickly() -> None:
    # Quadratic, it would take hours.
    for piece in ("[", '[a="', "[a ", '\\"', "a/b 9 "):
        text = piece * (256 * 1024 // len(piece))
        parse_record(f"<30>1 - a b c - {text}")
        parse_delivery(f"1 c <30>1 - h {text}".encode(), "odroid")


def delivered(*records: LogRecord) -> list[Delivered]:
    return [Delivered(CONTAINER, one) for one in records]


def test_a_repeated_delivery_adds_nothing() -> None:
    deduplicator = Deduplicator("odroid", [], {})
    first = [record(f"number {n}", sequence=n) for n in range(10)]
    assert len(deduplicator.add(delivered(*first), NOW).lines) == 10
    again = deduplicator.add(delivered(*first[5:], record("new", sequence=10)), NOW)
    assert (len(again.lines), again.repeated) == (1, 5)
    # Equal except for the relay's number: a different record.
    assert len(deduplicator.add(delivered(record("number 1", sequence=11)), NOW).lines) == 1


def test_a_restarted_collector_finds_stored_records() -> None:
    deduplicator = Deduplicator("odroid", [], {})
    every = delivered(*(record(f"number {n}", sequence=n) for n in range(10)))
    anew = Deduplicator("odroid", deduplicator.add(every, NOW).lines, {})
    assert anew.add(every[9:], NOW).repeated == 1


def test_the_deduplicator_remembers_a_limited_number_of_lines() -> None:
    deduplicator = Deduplicator("odroid", [], {})
    every = delivered(*(record(f"number {n}", sequence=n) for n in range(REMEMBERED_LINES + 1)))
    deduplicator.add(every, NOW)
    assert deduplicator.add(every[-1:], NOW).repeated == 1
    assert deduplicator.add(every[:1], NOW).repeated == 0


A, B = "a" * 32, "b" * 32


def word(text: str) -> list[Delivered]:
    return [Delivered(LOSS, LogRecord(44, NOW, "odroid", "bootwright", "", text))]


def test_losses_are_counted_once() -> None:
    deduplicator = Deduplicator("odroid", [], {})
    assert deduplicator.add(word(f" {A}=10"), NOW).lost == 10
    assert deduplicator.add(word(f" {A}=10"), NOW).lines == ()
    added = deduplicator.add(word(f"{A}=12 {B}=5"), NOW)
    assert added.lost == 7
    (line,) = added.lines
    parsed = parse_record(line)
    assert (parsed.lost, parsed.text) == (7, "7 records are lost: the board's queue was full")
    # Also by a restarted collector.
    assert Deduplicator("odroid", [], added.totals).add(word(f"{A}=12 {B}=6"), NOW).lost == 1


@given(st.text(string.printable))
def test_other_texts_are_not_losses(text: str) -> None:
    assert Deduplicator("odroid", [], {}).add(word(text), NOW).lost == 0
