"""The page of the logs in a real browser."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect, sync_playwright

from bootwright.logs.io.store import LogStore
from bootwright.logs.record import format_record
from tests.support.logpages import (
    WEB,
    Served,
    add,
    add_lines,
    of_web,
    record,
    serving,
    serving_app,
)

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")

pytestmark = [
    pytest.mark.integration,
]

WAIT_MS = 20_000
PHONE = (360, 640)
AT_END = "log.scrollHeight - log.scrollTop - log.clientHeight < 2"

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Chromium's own sandbox wants more than a container or root has.
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path / "logs")


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1200, "height": 700}, timezone_id="Asia/Kolkata")
    made.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    yield made
    made.close()


@pytest.fixture
def wrong() -> Iterator[list[str]]:
    """What a page threw or what its own policy refused."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def visit(context: BrowserContext, wrong: list[str]) -> Open:
    def refused(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    def visited(served: Served, query: str = "") -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda said: wrong.append(said.text) if "Content Security" in said.text else None,
        )
        page.on("dialog", refused)
        page.goto(served.url + (f"&{query}" if query else ""))
        expect(page.locator("#status")).not_to_have_text("Loading…")
        return page

    return visited


@pytest.fixture
def served(store: LogStore) -> Iterator[Served]:
    with serving(store) as running:
        yield running


def _rows(page: Page) -> list[str]:
    return page.locator("#rows .text").all_inner_texts()


def _numbered(store: LogStore, numbers: range, board: str = "odroid") -> None:
    records = [record(f"number {number}", 20_000 - number, board) for number in numbers]
    add_lines(store, [format_record(one) for one in records], board)


def _press_unseen(page: Page, button: str) -> None:
    """Press a button without scrolling to it, which may do something by itself."""
    expect(page.locator(button)).to_be_visible()
    page.locator(button).evaluate("one => one.click()")


def _no_overflow(page: Page) -> None:
    for box in ("document.documentElement", "document.body", "log"):
        wide = f"document.getElementById('log') && {box}.scrollWidth > {box}.clientWidth"
        assert not page.evaluate(wide), box


HOSTILE = [
    "<img src=x onerror=\"alert('img')\">",
    "</span></li></ol></script><script>alert('script')</script>",
    "<a href=\"javascript:alert('a')\">x</a> <style>*{display:none}</style> &lt;b&gt; &amp;",
    "{{7*7}} ${7*7} <svg onload=alert('svg')> \t tab",
]


def test_hostile_output_is_text(store: LogStore, served: Served, visit: Open) -> None:
    name = "<b>evil</b>"
    evil = replace(WEB, name=name)
    add(store, *(replace(of_web(text), app=name, container=evil) for text in HOSTILE))
    # As if somebody had written into the folder: not even that gets through.
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


def test_writing_from_right_to_left_turns_nothing_around_it(
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


def test_filters_stand_in_the_address_and_back_works(
    store: LogStore, served: Served, visit: Open
) -> None:
    add(store, record("old", 7200), record("bad fan", 50, severity=3), of_web("GET /fan", 40))
    add(store, record("in the lab", 30, board="lab"))
    page = visit(served)
    assert _rows(page) == ["old", "bad fan", "GET /fan", "in the lab"]
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
    assert "token" not in page.url

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


def test_from_and_to_are_the_clock_of_who_looks(
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


def test_wrong_filter_in_the_address_is_told(store: LogStore, served: Served, visit: Open) -> None:
    page = visit(served, "severity=loud")
    expect(page.locator("#status")).to_contain_text("severity: 'loud' is none of emerg")


def test_nothing_there_and_nothing_found(store: LogStore, served: Served, visit: Open) -> None:
    page = visit(served)
    expect(page.locator("#empty")).to_have_text("No board has sent anything yet.")
    add(store, record("first"))
    expect(page.locator("#rows .text")).to_have_text(["first"])
    expect(page.locator("#empty")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("zzz")
    expect(page.locator("#empty")).to_have_text("No record fits these filters.")


def test_live_record_appears_and_the_view_stays_where_it_was(
    store: LogStore, served: Served, visit: Open
) -> None:
    _numbered(store, range(100))
    page = visit(served, "severity=notice")
    page.locator("#severity").select_option("")
    expect(page.locator("#rows li")).to_have_count(100)
    expect(page.locator("#status")).to_have_text("Live.")
    assert page.evaluate(AT_END)
    add(store, record("live 1"))
    expect(page.locator("#rows .text").last).to_have_text("live 1")
    assert page.evaluate(AT_END)
    # Whoever reads further up is left alone, and told.
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
    assert _rows(page)[100:] == ["live 1", "live 2", "live 3", "missed"]


def test_page_that_nobody_sees_catches_up_later(
    store: LogStore, served: Served, visit: Open
) -> None:
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


def test_broken_connection_is_taken_up_again_without_loss(store: LogStore, visit: Open) -> None:
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


def test_server_that_was_started_anew_asks_for_its_url(store: LogStore, visit: Open) -> None:
    add(store, record("0"))
    with serving(store) as served:
        page = visit(served)
        expect(page.locator("#status")).to_have_text("Live.")
    with serving(store, served.port):
        expect(page.locator("#status")).to_contain_text("URL that `inv logs web` printed")


def test_older_records_come_by_button_and_by_scrolling(
    store: LogStore, served: Served, visit: Open
) -> None:
    _numbered(store, range(1300))
    page = visit(served)
    expect(page.locator("#rows li")).to_have_count(200)
    page.evaluate("log.scrollTop = 0")
    expect(page.locator("#rows li")).to_have_count(600)
    # What was at the top is still there; the older ones are above it.
    there = "document.elementFromPoint(log.offsetLeft + 400, log.offsetTop + 70)"
    top = page.evaluate(f"{there}.closest('li').record.text")
    assert 1090 <= int(top.split()[1]) <= 1110
    _press_unseen(page, "#older")
    expect(page.locator("#rows li")).to_have_count(1000)
    _press_unseen(page, "#older")
    expect(page.locator("#reached")).to_have_text("This is where the log begins.")
    assert _rows(page) == [f"number {number}" for number in range(1300)]


def test_page_holds_a_limited_number_and_loses_none(
    store: LogStore, served: Served, visit: Open
) -> None:
    _numbered(store, range(300))
    page = visit(served)
    expect(page.locator("#status")).to_have_text("Live.")
    _numbered(store, range(300, 6000))
    expect(page.locator("#rows .text").last).to_have_text("number 5999")
    texts = _rows(page)
    assert 4000 < len(texts) <= 5000
    assert page.evaluate(AT_END)
    # What was dropped at the top comes back, and then the end has to go.
    _press_unseen(page, "#older")
    expect(page.locator("#status")).to_have_text("Live is off; newer records are not on the page.")
    more = _rows(page)
    assert len(more) == 5000
    first = int(more[0].split()[1])
    assert first < int(texts[0].split()[1])
    assert more == [f"number {number}" for number in range(first, first + 5000)]
    page.keyboard.press("l")
    expect(page.locator("#rows .text").last).to_have_text("number 5999")


def test_search_through_much_shows_how_far_it_is(store: LogStore, visit: Open) -> None:
    add(store, record("needle"))
    add_lines(store, [format_record(record(f"hay {n}", n)) for n in range(1500)])
    with serving_app(store, seconds=0) as served:
        page = visit(served, "q=needle")
        expect(page.locator("#rows .text")).to_have_text(["needle"])
        expect(page.locator("#reached")).to_have_text("This is where the log begins.")


def test_all_of_it_by_keyboard(store: LogStore, served: Served, visit: Open) -> None:
    add(store, record("first", 3), record("needle 1", 2), of_web("needle 2", 1))
    add(store, record("other", board="lab"))
    page = visit(served)
    press = page.keyboard.press
    press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("needle l j k ?")
    press("Control+a")
    page.keyboard.type("needle")
    press("Enter")
    expect(page.locator("#rows .text")).to_have_text(["needle 1", "needle 2"])
    press("Escape")
    expect(page.locator("#rows li").last).to_be_focused()
    press("k")
    expect(page.locator("#rows li").first).to_be_focused()
    press("ArrowDown")
    expect(page.locator("#rows li").last).to_be_focused()
    press("Enter")
    details = page.locator("#details")
    expect(details).to_be_visible()
    for text in ("nginx:1.27", "0123456789ab", "3 (daemon)", "odroid", "info"):
        expect(page.locator("#fields")).to_contain_text(text)
    expect(page.locator("#message")).to_have_text("needle 2")
    press("k")
    expect(page.locator("#message")).to_have_text("needle 1")
    press("Escape")
    expect(details).to_be_hidden()
    expect(page.locator("#rows li").first).to_be_focused()
    press("?")
    expect(page.locator("#help")).to_be_visible()
    press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    press("l")
    expect(page.locator("#live")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#live-word")).to_have_text("off")
    press("l")
    expect(page.locator("#status")).to_have_text("Live.")
    # Everything else is reached with the tab key, and is seen to be.
    page.locator("#q").focus()
    for name in ("severity", "range", "live", "help-button"):
        press("Tab")
        there = page.locator(f"#{name}")
        expect(there).to_be_focused()
        assert there.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    press("Tab")
    expect(page.locator("#boards a").first).to_be_focused()
    press("Tab")
    press("Enter")
    expect(page.locator("#boards a[aria-current]")).to_be_focused()
    expect(page.locator("#boards a[aria-current]")).to_have_attribute("title", "lab")
    expect(page.locator("#empty")).to_have_text("No record fits these filters.")


def test_everything_has_a_name_and_only_the_status_speaks(
    store: LogStore, served: Served, visit: Open
) -> None:
    add(store, record("x"))
    page = visit(served)
    unnamed = page.locator("button, input, select, a, nav, main, dialog").evaluate_all(
        """items => items.filter((one) => !(one.ariaLabel || one.textContent.trim()
            || one.labels?.[0]?.textContent.trim() || one.hidden)).map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    live = page.locator("[aria-live], [role=log], [role=alert], [role=status]")
    assert live.evaluate_all("items => items.map(one => one.id)") == ["status"]


def test_severity_is_a_word_and_loss_stands_out(
    store: LogStore, served: Served, visit: Open
) -> None:
    add(store, *(record(f"s{severity}", 9 - severity, severity=severity) for severity in range(8)))
    add(store, replace(record("the queue was full"), lost=12))
    add(store, replace(record("again"), lost=1))
    page = visit(served)
    words = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
    assert page.locator("#rows .severity").all_inner_texts()[:8] == words
    expect(page.locator("#rows .gap .lost")).to_have_text(["12 records lost", "1 record lost"])
    expect(page.locator("#rows .gap").first).to_contain_text("the queue was full")


def test_long_message_is_cut_until_asked_for(store: LogStore, served: Served, visit: Open) -> None:
    whole = "<b>" + "0123456789abcdef" * 1024
    add(store, record(whole))
    page = visit(served)
    text = page.locator("#rows .text")
    assert len(text.inner_text()) < 2000
    button = text.get_by_role("button")
    expect(button).to_have_text("Show all 16,387 characters")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    assert whole in text.inner_text()
    expect(page.locator("#details")).to_be_hidden()
    button.click()
    assert whole not in text.inner_text()


def test_phone_has_no_sideways_scrolling(
    browser: Browser, store: LogStore, served: Served, wrong: list[str]
) -> None:
    name = "a-container-with-quite-a-long-name-of-a-compose-project-1"
    container = replace(WEB, name=name, image="i" * 200)
    long = replace(of_web("y" * 600), container=container)
    add(store, long, replace(record("z" * 3000, board="b" * 60), lost=10**15))
    add(store, record("short"))
    width, height = PHONE
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=True, is_mobile=True
    )
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(served.url)
    expect(page.locator("#rows li")).to_have_count(3)
    _no_overflow(page)
    outside = "items => items.filter(one => one.scrollWidth > one.clientWidth).length"
    assert page.locator("#rows li, #rows .text").evaluate_all(outside) == 0
    page.locator("#range").select_option("custom")
    expect(page.locator("#since")).to_be_visible()
    _no_overflow(page)
    page.locator("#rows li .text").first.tap()
    expect(page.locator("#details")).to_be_visible()
    _no_overflow(page)
    assert page.evaluate("details.scrollWidth <= details.clientWidth")
    page.locator("#details .close").tap()
    page.locator("#help-button").tap()
    expect(page.locator("#help")).to_be_visible()
    assert page.evaluate("help.scrollWidth <= help.clientWidth")
    page.locator("#help .close").tap()
    # Boards and containers are behind a button.
    expect(page.locator("#sources")).to_be_hidden()
    page.locator("#sources-button").tap()
    expect(page.locator("#sources")).to_be_visible()
    _no_overflow(page)
    page.locator("#containers a").tap()
    expect(page.locator("#sources")).to_be_hidden()
    expect(page.locator("#rows li")).to_have_count(1)
    expect(page.locator("#sources-button")).to_contain_text(name)
    _no_overflow(page)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(
    browser: Browser, store: LogStore, served: Served, scheme: str
) -> None:
    add(store, *(record(f"s{severity}", 9 - severity, severity=severity) for severity in range(8)))
    add(store, replace(record("lost"), lost=12))
    page = browser.new_page(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(served.url)
    expect(page.locator("#rows li")).to_have_count(9)
    pairs = page.evaluate(
        """() => [...document.querySelectorAll(
              "#rows span, #rows time, #rows strong, #sources span, #sources h2, #status, #live"
            )].filter((one) => one.textContent.trim()).map((one) => {
          let below = one;
          while (getComputedStyle(below).backgroundColor === "rgba(0, 0, 0, 0)") {
            below = below.parentElement;
          }
          return [getComputedStyle(one).color, getComputedStyle(below).backgroundColor];
        })"""
    )
    assert len(pairs) > 40
    poor = {(text, ground) for text, ground in pairs if _contrast(text, ground) < 4.5}
    assert poor == set()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (_luminance(ground) < 0.5) == (scheme == "dark")
    page.close()


def _luminance(colour: str) -> float:
    found = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in found)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_nothing_moves_for_who_wants_that(browser: Browser, served: Served) -> None:
    page = browser.new_page(reduced_motion="reduce")
    page.goto(served.url)
    expect(page.locator("#status")).to_have_text("Live.")
    assert page.evaluate("document.getAnimations().length") == 0
    page.close()
