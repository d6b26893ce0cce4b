"""What tests do with the page of the logs in a browser."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from bootwright.logs.io.store import LogStore
from bootwright.logs.record import format_record
from tests.support.logpages import (
    add_lines,
    record,
)

WAIT_MS = 20_000

PHONE = (360, 640)

AT_END = "log.scrollHeight - log.scrollTop - log.clientHeight < 2"

Open = Callable[..., Page]


def rows(page: Page) -> list[str]:
    return page.locator("#rows .text").all_inner_texts()


def numbered(store: LogStore, numbers: range, board: str = "odroid") -> None:
    records = [record(f"number {number}", 20_000 - number, board) for number in numbers]
    add_lines(store, [format_record(one) for one in records], board)


def press_unseen(page: Page, button: str) -> None:
    """Press a button without scrolling to it, which may do something by itself."""
    expect(page.locator(button)).to_be_visible()
    page.locator(button).evaluate("one => one.click()")


def no_overflow(page: Page) -> None:
    for box in ("document.documentElement", "document.body", "log"):
        wide = f"document.getElementById('log') && {box}.scrollWidth > {box}.clientWidth"
        assert not page.evaluate(wide), box
