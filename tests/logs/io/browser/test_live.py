"""Records that come while the page is open, and those that are older."""

import pytest
from playwright.sync_api import expect

from bootwright.logs.io.store import LogStore
from bootwright.logs.record import format_record
from tests.support.logbrowser import AT_END, Open, numbered, press_unseen, rows
from tests.support.logpages import (
    Served,
    add,
    add_lines,
    record,
    serving,
    serving_app,
)

pytestmark = [
    pytest.mark.integration,
]


def test_live_record_appears_and_the_view_stays_where_it_was(
    store: LogStore, served: Served, visit: Open
) -> None:
    numbered(store, range(100))
    page = visit(served, "severity=notice")
    page.locator("#severity").select_option("")
    expect(page.locator("#rows li")).to_have_count(100)
    expect(page.locator("#status")).to_have_text("Live.")
    assert page.evaluate(AT_END)
    add(store, record("live 1"))
    expect(page.locator("#rows .text").last).to_have_text("live 1")
    assert page.evaluate(AT_END)
    # A reader further up is not moved, but notified.
    page.evaluate("log.scrollTop = 300")
    add(store, record("live 2"), record("live 3"))
    expect(page.locator("#rows .text").last).to_have_text("live 3")
    expect(page.locator("#jump")).to_have_text("2 new ↓")
    assert page.evaluate("log.scrollTop") == 300
    page.locator("#jump").click()
    assert page.evaluate(AT_END)
    expect(page.locator("#jump")).to_be_hidden()
    # Off is off; on again brings what was missed.
    page.locator("#live").click()
    expect(page.locator("#status")).to_have_text("Live is off.")
    assert "live=0" in page.url
    add(store, record("missed"))
    assert page.locator("#rows .text").last.inner_text() == "live 3"
    page.locator("#live").click()
    expect(page.locator("#rows .text").last).to_have_text("missed")
    assert rows(page)[100:] == ["live 1", "live 2", "live 3", "missed"]


def test_a_hidden_page_catches_up_later(store: LogStore, served: Served, visit: Open) -> None:
    add(store, record("0"))
    page = visit(served)
    expect(page.locator("#status")).to_have_text("Live.")
    hide = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with page.expect_event("requestfailed", lambda one: "/api/tail" in one.url):
        page.evaluate(hide, True)
    add(store, record("1"), record("2"))
    page.evaluate(hide, False)
    expect(page.locator("#rows .text")).to_have_text(["0", "1", "2"])


def test_live_keeps_to_the_filters(store: LogStore, served: Served, visit: Open) -> None:
    add(store, record("fan 0"))
    page = visit(served, "q=fan&board=odroid")
    add(store, record("pump"), record("fan", board="lab"), record("fan 1"))
    expect(page.locator("#rows .text")).to_have_text(["fan 0", "fan 1"])
    expect(page.locator("#boards a", has_text="lab")).to_have_count(0)


def test_a_broken_connection_is_restored_without_loss(store: LogStore, visit: Open) -> None:
    add(store, record("0"))
    with serving_app(store) as served:
        page = visit(served)
        expect(page.locator("#status")).to_have_text("Live.")
        add(store, record("1"))
        expect(page.locator("#rows li")).to_have_count(2)
        served.cut()
        expect(page.locator("#status")).to_contain_text("broke; trying again")
        add(store, record("2"))
        expect(page.locator("#status")).to_have_text("Live.")
        add(store, record("3"))
        expect(page.locator("#rows .text")).to_have_text(["0", "1", "2", "3"])


def test_after_a_restart_of_the_server_the_page_asks_for_the_new_url(
    store: LogStore, visit: Open
) -> None:
    add(store, record("0"))
    with serving(store) as served:
        page = visit(served)
        expect(page.locator("#status")).to_have_text("Live.")
    with serving(store, served.port):
        expect(page.locator("#status")).to_contain_text("URL that `inv logs web` printed")


def test_older_records_are_loaded_by_button_and_by_scrolling(
    store: LogStore, served: Served, visit: Open
) -> None:
    numbered(store, range(1300))
    page = visit(served)
    expect(page.locator("#rows li")).to_have_count(200)
    page.evaluate("log.scrollTop = 0")
    expect(page.locator("#rows li")).to_have_count(600)
    # What was at the top is still there; the older ones are above it.
    there = "document.elementFromPoint(log.offsetLeft + 400, log.offsetTop + 70)"
    top = page.evaluate(f"{there}.closest('li').record.text")
    assert 1090 <= int(top.split()[1]) <= 1110
    press_unseen(page, "#older")
    expect(page.locator("#rows li")).to_have_count(1000)
    press_unseen(page, "#older")
    expect(page.locator("#reached")).to_have_text("This is where the log begins.")
    assert rows(page) == [f"number {number}" for number in range(1300)]


def test_the_page_keeps_a_limited_number_of_records(
    store: LogStore, served: Served, visit: Open
) -> None:
    numbered(store, range(300))
    page = visit(served)
    expect(page.locator("#status")).to_have_text("Live.")
    numbered(store, range(300, 6000))
    expect(page.locator("#rows .text").last).to_have_text("number 5999")
    texts = rows(page)
    assert 4000 < len(texts) <= 5000
    assert page.evaluate(AT_END)
    # What was dropped at the top comes back, and then the end has to go.
    press_unseen(page, "#older")
    expect(page.locator("#status")).to_have_text("Live is off; newer records are not on the page.")
    more = rows(page)
    assert len(more) == 5000
    first = int(more[0].split()[1])
    assert first < int(texts[0].split()[1])
    assert more == [f"number {number}" for number in range(first, first + 5000)]
    page.keyboard.press("l")
    expect(page.locator("#rows .text").last).to_have_text("number 5999")


def test_a_long_search_shows_its_progress(store: LogStore, visit: Open) -> None:
    add(store, record("needle"))
    add_lines(store, [format_record(record(f"hay {n}", n)) for n in range(1500)])
    with serving_app(store, seconds=0) as served:
        page = visit(served, "q=needle")
        expect(page.locator("#rows .text")).to_have_text(["needle"])
        expect(page.locator("#reached")).to_have_text("This is where the log begins.")
