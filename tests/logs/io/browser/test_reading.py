"""The page by keyboard, on a phone, read aloud, in both colour schemes."""

import re
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, expect

from bootwright.logs.io.store import LogStore
from tests.support.logbrowser import (
    PHONE,
    WAIT_MS,
    Open,
    no_overflow,
)
from tests.support.logpages import (
    WEB,
    Served,
    add,
    of_web,
    record,
)

pytestmark = [
    pytest.mark.integration,
]


def test_the_page_can_be_used_by_keyboard(store: LogStore, served: Served, visit: Open) -> None:
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


def test_all_controls_have_names_and_only_the_status_is_announced(
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


def test_severity_is_a_word_and_losses_are_highlighted(
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


def test_a_long_message_is_shortened_until_it_is_opened(
    store: LogStore, served: Served, visit: Open
) -> None:
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
    no_overflow(page)
    outside = "items => items.filter(one => one.scrollWidth > one.clientWidth).length"
    assert page.locator("#rows li, #rows .text").evaluate_all(outside) == 0
    page.locator("#range").select_option("custom")
    expect(page.locator("#since")).to_be_visible()
    no_overflow(page)
    page.locator("#rows li .text").first.tap()
    expect(page.locator("#details")).to_be_visible()
    no_overflow(page)
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
    no_overflow(page)
    page.locator("#containers a").tap()
    expect(page.locator("#sources")).to_be_hidden()
    expect(page.locator("#rows li")).to_have_count(1)
    expect(page.locator("#sources-button")).to_contain_text(name)
    no_overflow(page)
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


def test_no_animation_with_reduced_motion(browser: Browser, served: Served) -> None:
    page = browser.new_page(reduced_motion="reduce")
    page.goto(served.url)
    expect(page.locator("#status")).to_have_text("Live.")
    assert page.evaluate("document.getAnimations().length") == 0
    page.close()
