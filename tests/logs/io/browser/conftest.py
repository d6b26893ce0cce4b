"""The page of the logs in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect

from bootwright.logs.io.store import LogStore
from tests.support.chromium import chromium
from tests.support.logbrowser import WAIT_MS, Open
from tests.support.logpages import (
    Served,
    serving,
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


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
            lambda message: (
                wrong.append(message.text) if "Content Security" in message.text else None
            ),
        )
        page.on("dialog", refused)
        page.goto(served.url + (f"?{query}" if query else ""))
        expect(page.locator("#status")).not_to_have_text("Loading…")
        return page

    return visited


@pytest.fixture
def served(store: LogStore) -> Iterator[Served]:
    with serving(store) as running:
        yield running
