"""What the page shows, and its filters."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from bootwright.logs.io.quotas import note_refusal
from bootwright.logs.io.store import LogStore
from bootwright.logs.record import format_record
from tests.support.logbrowser import (
    Open,
    no_overflow,
    rows,
)
from tests.support.logpages import (
    WEB,
    Served,
    add,
    add_lines,
    of_web,
    record,
)

pytestmark = [
    pytest.mark.integration,
]

HOSTILE = [
    "<img src=x onerror=\"alert('img')\">",
    "</span></li></ol></script><script>alert('script')</script>",
    "<a href=\"javascript:alert('a')\">x</a> <style>*{display:none}</style> &lt;b&gt; &amp;",
    "{{7*7}} ${7*7} <svg onload=alert('svg')> \t tab",
]


def test_trouble_of_a_board_is_below_its_name(store: LogStore, served: Served, visit: Open) -> None:
    add(store, record("text"), record("text", board="lab"))
    note_refusal(store, "odroid", "the disk is <b>full</b>")
    page = visit(served)
    trouble = page.locator("#boards a[title=odroid] .trouble")
    expect(trouble).to_be_visible()
    expect(trouble).to_contain_text("the disk is <b>full</b>")
    expect(page.locator(".trouble")).to_have_count(1)
    no_overflow(page)


def test_hostile_output_is_text(store: LogStore, served: Served, visit: Open) -> None:
    name = "<b>evil</b>"
    evil = replace(WEB, name=name)
    add(store, *(replace(of_web(text), app=name, container=evil) for text in HOSTILE))
    # As if another program had written to the folder: also that must be escaped.
    raw = "\x1b[31mred \x9b2J \u202egnp.exe\u2066 \x00 end"
    add_lines(store, [f"<14>1 2026-11-26T08:00:00Z odroid a<i> - - - {raw}"])
    page = visit(served, "q=e")
    texts = page.locator("#rows .text").evaluate_all("items => items.map(one => one.textContent)")
    assert texts == [
        *(text for text in HOSTILE if "e" in text.lower()),
        "#033[31mred #302#2332J #342#200#256gnp.exe#342#201#246 #000 end",
    ]
    made = page.locator("#rows *").evaluate_all("items => items.map(one => one.localName)")
    assert set(made) <= {"li", "time", "span", "mark"}
    page.goto(served.url)
    expect(page.locator("#rows li")).to_have_count(5)
    expect(page.locator("#containers a")).to_have_attribute("title", name)
    assert page.locator("#containers .name").inner_text() == name
    for text in reversed([*HOSTILE, "end"]):
        page.keyboard.press("k")
        page.keyboard.press("Enter")
        expect(page.locator("#message")).to_contain_text(text.strip())
        assert page.locator("#details img, #details script, #details a, #details b").count() == 0
        page.keyboard.press("Escape")
    page.locator("#containers a").click()
    expect(page.locator("#rows li")).to_have_count(4)
    assert page.title().startswith(name)


def test_right_to_left_text_does_not_change_its_surroundings(
    store: LogStore, served: Served, visit: Open
) -> None:
    add(store, record("user שלום עולם 31 failed"))
    page = visit(served)
    assert page.locator("#rows .text").text_content() == "user שלום עולם 31 failed"
    left = "one => one.getBoundingClientRect().left"
    hebrew = page.locator("#rows bdi")
    assert hebrew.text_content() == "שלום עולם"
    after = page.locator("#rows .text").evaluate(
        """text => {
            const range = document.createRange();
            range.selectNodeContents(text.querySelector('bdi').nextSibling);
            return range.getBoundingClientRect().left;
        }"""
    )
    assert after > hebrew.evaluate(left)


def test_filters_are_in_the_url_and_back_works(
    store: LogStore, served: Served, visit: Open
) -> None:
    add(store, record("old", 7200), record("bad fan", 50, severity=3), of_web("GET /fan", 40))
    add(store, record("in the lab", 30, board="lab"))
    page = visit(served)
    assert rows(page) == ["old", "bad fan", "GET /fan", "in the lab"]
    page.locator("#boards a", has_text="odroid").click()
    expect(page.locator("#rows li")).to_have_count(3)
    page.locator("#range").select_option("1h")
    expect(page.locator("#rows li")).to_have_count(2)
    page.locator("#q").focus()
    page.keyboard.type("FA")
    page.wait_for_url(re.compile("q=FA$"))
    # What is typed at one go is one step back.
    page.keyboard.type("N")
    page.wait_for_url(re.compile("q=FAN$"))
    expect(page.locator("#rows mark")).to_have_text(["fan", "fan"])
    page.locator("#severity").select_option("err")
    expect(page.locator("#rows .text")).to_have_text(["bad fan"])
    assert page.url.split("?")[1] == "board=odroid&severity=err&since=1h&q=FAN"

    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#rows .text")).to_have_text(["bad fan"])
    assert other.locator("#q").input_value() == "FAN"
    assert other.locator("#severity").input_value() == "err"
    assert other.locator("#range").input_value() == "1h"
    expect(other.locator("#boards [aria-current]")).to_contain_text("odroid")

    page.go_back()
    expect(page.locator("#rows li")).to_have_count(2)
    assert page.locator("#severity").input_value() == ""
    page.go_back()
    expect(page.locator("#q")).to_have_value("")
    page.go_back()
    expect(page.locator("#rows li")).to_have_count(3)
    page.go_back()
    expect(page.locator("#rows li")).to_have_count(4)


def test_from_and_to_are_in_the_browsers_time_zone(
    store: LogStore, served: Served, visit: Open
) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    times = {f"at {hour}": noon + timedelta(hours=hour) for hour in range(4)}
    records = [replace(record(text), time=time) for text, time in times.items()]
    store.append("odroid", [format_record(one) for one in records], noon.date())
    page = visit(served)
    # 12:00 in UTC is 17:30 in Kolkata.
    expect(page.locator("#rows time").first).to_have_text("03-01 17:30:00.000")
    page.locator("#range").select_option("custom")
    page.locator("#since").fill("2026-03-01T18:00")
    page.locator("#until").fill("2026-03-01T20:00")
    expect(page.locator("#rows .text")).to_have_text(["at 1", "at 2"])
    expect(page.locator("#live")).to_be_disabled()
    page.reload()
    expect(page.locator("#rows .text")).to_have_text(["at 1", "at 2"])
    assert page.locator("#since").input_value() == "2026-03-01T18:00"
    page.locator("#range").select_option("")
    expect(page.locator("#rows li")).to_have_count(4)
    expect(page.locator("#status")).to_have_text("Live.")


def test_a_wrong_filter_in_the_url_is_reported(
    store: LogStore, served: Served, visit: Open
) -> None:
    page = visit(served, "severity=loud")
    expect(page.locator("#status")).to_contain_text("severity: 'loud' is none of emerg")


def test_messages_for_no_logs_and_for_no_match(
    store: LogStore, served: Served, visit: Open
) -> None:
    page = visit(served)
    expect(page.locator("#empty")).to_have_text("No board has sent anything yet.")
    add(store, record("first"))
    expect(page.locator("#rows .text")).to_have_text(["first"])
    expect(page.locator("#empty")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("zzz")
    expect(page.locator("#empty")).to_have_text("No record fits these filters.")
