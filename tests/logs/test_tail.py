"""``inv logs tail``: the options, and a record as a line and as JSON."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bootwright.core.errors import InputError
from bootwright.logs.io.store import LogStore
from bootwright.logs.record import LogRecord
from bootwright.logs.tail import (
    DEFAULT_LINES,
    MAX_RECORDS,
    LogsResult,
    TailOptions,
    last_records,
    line_of,
    options_of,
)

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
USER = 8
"""The priority of the facility ``user``; the severity is added to it."""


def options(**different: Any) -> TailOptions:
    empty = {"container": "", "since": "", "grep": "", "severity": "", "lines": None}
    return options_of(**{**empty, "follow": False, "json": False, "now": NOW, **different})


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ({}, DEFAULT_LINES),
        # All of that time, not the last 50.
        ({"since": "2h"}, MAX_RECORDS),
        ({"since": "2h", "lines": 7}, 7),
        ({"lines": 7}, 7),
    ],
)
def test_how_many_records_are_shown(given: dict[str, Any], lines: int) -> None:
    assert options(**given).lines == lines


def test_without_options_every_record_is_wanted() -> None:
    query = options().query
    assert (query.container, query.severity, query.since, query.pattern) == ("", 7, None, None)
    assert options(severity="warning").query.severity == 4


def test_following_has_no_end_and_a_document_has_one() -> None:
    assert options(follow=True).follow
    with pytest.raises(InputError, match="give only one of them"):
        options(follow=True, json=True)


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (LogRecord(USER + 6, NOW, "lab", "web", "", "up"), "2026-11-30 08:00:00.000 web: up"),
        (LogRecord(USER + 5, NOW, "lab", "sshd", "812", "in"), "… sshd[812]: in"),
        # From a warning on, the severity is written.
        (LogRecord(USER + 4, NOW, "lab", "web", "", "slow"), "… web: warning: slow"),
        (LogRecord(USER + 0, NOW, "lab", "web", "", "gone"), "… web: emerg: gone"),
        (LogRecord(USER + 6, None, "lab", "", "", "text"), "- -: text"),
        (
            LogRecord(USER + 6, NOW.replace(microsecond=7999), "lab", "web", "", "up"),
            "2026-11-30 08:00:00.007 web: up",
        ),
    ],
)
def test_a_record_as_a_line(record: LogRecord, line: str) -> None:
    assert line_of(record) == line.replace("…", "2026-11-30 08:00:00.000")


def test_records_as_json() -> None:
    record = LogRecord(USER + 3, None, "lab", "", "", "text", sequence=4, lost=2)
    (found,) = LogsResult("lab", (record,)).document()["records"]
    assert json.loads(json.dumps(found)) == {
        **{"time": None, "severity": "err", "app": None, "process": None, "container": None},
        **{"sequence": 4, "lost": 2, "text": "text"},
    }


def test_a_board_without_logs_is_refused_with_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no logs of 'lab' in .*; boards there: none\. Is inv"):
        last_records(LogStore(tmp_path), "lab", options())
