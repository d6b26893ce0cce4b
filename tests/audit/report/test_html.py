"""The report of an audit in a real browser."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, ViewportSize, expect

from bootwright.audit.report.compare import compare, parse_baseline
from bootwright.audit.report.html import html
from bootwright.audit.result import AuditResult, as_document
from bootwright.core.paths import checkout
from tests.support.auditresults import (
    HOSTILE,
    audit,
    checked,
    hostile,
    item,
    of_all_kinds,
    unreachable,
)
from tests.support.chromium import chromium

pytestmark = [
    pytest.mark.integration,
]

WAIT_MS = 20_000
PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1200, height=800)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open a report as a file; whatever the browser complains of fails the test."""
    wrong: list[str] = []
    pages: list[Page] = []

    def refused(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    def visited(*results: AuditResult, scheme: str = "light", phone: bool = False) -> Page:
        before = audit(checked("1.1.1", "warn"), checked("5.11", "warn", item("old")))
        recorded = parse_baseline(as_document(before), "before.json").target("odroid")
        compared = {one.target: compare(recorded, one) for one in results if one.error is None}
        file = tmp_path / "report.html"
        file.write_text(html(results, compared, checkout() / "templates"), encoding="utf-8")
        page = browser.new_page(
            viewport=PHONE if phone else DESK,
            is_mobile=phone,
            color_scheme="dark" if scheme == "dark" else "light",
        )
        pages.append(page)
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("dialog", refused)
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url)
            ),
        )
        page.goto(file.as_uri())
        return page

    yield visited
    for page in pages:
        page.close()
    assert wrong == []


def _check(page: Page, number: str) -> str:
    return f"details.check:has(> summary .id:text-is('{number}'))"


def test_evidence_unfolds_by_keyboard(visit: Open) -> None:
    page = visit(of_all_kinds())
    check = page.locator(_check(page, "5.11"))
    evidence = check.get_by_text("256 MiB")
    expect(evidence).to_be_hidden()
    check.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(evidence).to_be_visible()
    expect(check.get_by_text("Do what 5.11 wants")).to_be_visible()
    page.keyboard.press("Enter")
    expect(evidence).to_be_hidden()


def test_tab_reaches_every_check_and_focus_is_seen(visit: Open) -> None:
    page = visit(of_all_kinds())
    checks = page.locator("details.check > summary")
    page.locator("#only").focus()
    for _ in range(page.locator("summary").count()):
        page.keyboard.press("Tab")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
    expect(checks.last).to_be_focused()


def test_only_checks_to_act_on_are_shown(visit: Open) -> None:
    page = visit(of_all_kinds())
    page.locator("#only").focus()
    page.keyboard.press("Space")
    seen = page.locator("details.check:visible > summary .id").all_inner_texts()
    assert seen == ["2.2", "2.12", "2.13", "5.11", "5.18", "7.1"]
    expect(page.get_by_role("heading", name="2 Docker daemon configuration")).to_be_visible()
    expect(page.get_by_role("heading", name="4 Container images and build files")).to_be_hidden()


@pytest.mark.parametrize("phone", [True, False])
@pytest.mark.parametrize(
    "results",
    [(of_all_kinds(),), (of_all_kinds(), of_all_kinds("second" * 9), unreachable()), (hostile(),)],
    ids=["one", "several", "hostile"],
)
def test_nothing_scrolls_sideways(
    visit: Open, results: tuple[AuditResult, ...], phone: bool
) -> None:
    long = tuple(
        replace(
            one, checks=(*one.checks, checked("5.9", "warn", item("n" * 200, "warn", "e" * 900)))
        )
        if one.checks
        else one
        for one in results
    )
    page = visit(*long, phone=phone)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    for box in ("document.documentElement", "document.body"):
        assert page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth"), box
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).length"
    assert page.locator("dd, li, p, .title").evaluate_all(cut) == 0


def test_hostile_evidence_is_text(visit: Open) -> None:
    page = visit(hostile())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    check = page.locator(_check(page, "2.2"))
    expect(check.locator("dd").first).to_contain_text(HOSTILE)
    made = page.locator("body *").evaluate_all("all => all.map(one => one.localName)")
    assert not {"script", "img", "svg", "style", "a"} & set(made)


def test_boards_that_answer_and_one_that_does_not(visit: Open) -> None:
    page = visit(of_all_kinds(), of_all_kinds("second"), unreachable())
    page.get_by_role("link", name="shelf").click()
    expect(page.get_by_text("shelf could not be audited")).to_be_in_viewport()


def test_everything_is_printed_unfolded(visit: Open) -> None:
    page = visit(of_all_kinds())
    expect(page.get_by_text("256 MiB")).to_be_hidden()
    page.emulate_media(media="print")
    shown = "one => one.getBoundingClientRect().height > 0 && one.checkVisibility()"
    assert page.get_by_text("256 MiB").evaluate(shown)
    expect(page.locator("#only")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(visit: Open, scheme: str) -> None:
    page = visit(of_all_kinds(), of_all_kinds("second"), scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    pairs = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
          .filter((one) => [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
          .map((one) => {
            let below = one;
            while (getComputedStyle(below).backgroundColor === "rgba(0, 0, 0, 0)") {
              below = below.parentElement;
            }
            return [getComputedStyle(one).color, getComputedStyle(below).backgroundColor];
          })"""
    )
    assert len(pairs) > 100
    assert {pair for pair in map(tuple, pairs) if _contrast(*pair) < 4.5} == set()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (_luminance(ground) < 0.5) == (scheme == "dark")


def _luminance(colour: str) -> float:
    found = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in found)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)
