"""`waivers.toml`: which file is taken, and which waiver is for a check of a target."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.audit.benchmark import load_checks
from bootwright.audit.checks.evaluate import evaluate
from bootwright.audit.model import Waiver
from bootwright.audit.result import AuditResult, result_of
from bootwright.audit.waivers import WAIVERS_NAME, load_waivers, waiver_of
from bootwright.core.errors import InputError
from bootwright.core.paths import checkout
from tests.support.auditcontainers import container
from tests.support.auditfacts import stock, subject

CHECKS = load_checks(checkout() / "checks" / "cis-docker")
KNOWN = [check.id for check in CHECKS]
REASON = "Nobody but the owner uses this board."
DAY = date(2026, 11, 26)


def entry(check: str = "2.12", more: str = "expires = 2027-01-31", reason: str = REASON) -> str:
    return f'[[waiver]]\ncheck = "{check}"\nreason = "{reason}"\n{more}\n'


def waiver(check: str, *targets: str, expires: date = DAY) -> Waiver:
    scope = {"targets": targets} if targets else {}
    return Waiver(check=check, reason=REASON, expires=expires, **scope)


def test_the_checkouts_own_file_can_be_used() -> None:
    waivers = load_waivers(checkout() / WAIVERS_NAME, KNOWN)
    assert [one.check for one in waivers] == ["2.12"]


@pytest.mark.parametrize("text", ["", "# none\n", "waiver = []\n"])
def test_a_file_without_waivers(tmp_path: Path, text: str) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(text)
    assert load_waivers(path, KNOWN) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry("9.9"), "9.9: there is no such check"),
        (entry("2.12 "), "no such check"),
        (entry("5"), "no such check"),
        (entry(reason="because"), "reason"),
        (entry(reason=" " * 22), "reason"),
        (entry(more="expires = 2027-01-31\ntargets = []"), "targets"),
        (entry(more=""), "expires"),
        (entry(more='expires = "soon"'), "expires"),
        (entry(more="expires = 2027-02-31"), "waivers.toml"),
        (entry(more="expires = 2027-01-31\nuntil = 2028-01-31"), "until"),
        (entry(more='expires = 2027-01-31\ntargets = "board"'), "targets"),
        (entry() + entry(), "2.12 is waived twice"),
        (entry(more='expires = 2027-01-31\ntargets = ["a", "a"]'), "2.12 is waived twice"),
        (entry(more='expires = 2027-01-31\ncontainers = ["a"]'), "not about single containers"),
        (entry("5.4", more="expires = 2027-01-31\nimages = []"), "images"),
        (
            entry("5.4", more='expires = 2027-01-31\ncontainers = ["a", "a"]'),
            "5.4 for container a is waived twice",
        ),
        ("[[waivers]]\n", "waivers"),
        ("[[waiver]\n", "waivers.toml"),
        ("waiver = 7\n", "waiver"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_waivers(path, KNOWN)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nosuch"):
        load_waivers(tmp_path / "nosuch.toml", KNOWN)
    path = tmp_path / "waivers.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="waivers"):
        load_waivers(path, KNOWN)


def test_of_several_waivers_the_last_to_expire_is_used() -> None:
    late = waiver("5.4", "board", expires=DAY + timedelta(days=30))
    waivers = (waiver("5.4"), late, waiver("5.4", "shelf", expires=DAY + timedelta(days=90)))
    assert waiver_of(waivers, "5.4", "board", {}) == late
    assert waiver_of(waivers, "5.4", "other", {}) == waivers[0]
    assert waiver_of(waivers, "5.5", "board", {}) is None
    assert waiver_of((late,), "5.4", "other", {}) is None


def scoped(reason: str, days: int, **scope: tuple[str, ...]) -> Waiver:
    reason = f"{reason} needs it to do its work."
    return Waiver(check="5.4", reason=reason, expires=DAY + timedelta(days=days), **scope)


WEB, JOB = scoped("The web server", 9, containers=("web",)), scoped("A job", 5, images=("job:*",))


@pytest.mark.parametrize(
    ("warned", "expected"),
    [
        ({"web": "nginx:1"}, WEB),
        ({"nightly": "job:2"}, JOB),
        # An image that is named like the container is another thing.
        ({"web": None}, None),
        ({"job:2": None}, JOB),
        ({"web": "nginx:1", "other": "nginx:1"}, None),
        ({}, None),
    ],
)
def test_a_waiver_for_a_container_or_an_image_is_for_no_other(
    warned: dict[str, str | None], expected: Waiver | None
) -> None:
    assert waiver_of((WEB, JOB), "5.4", "board", warned) == expected


def test_waivers_for_all_that_a_check_warns_of_are_one_that_ends_with_the_first() -> None:
    warned = {"web": "nginx:1", "nightly": "job:2"}
    found = waiver_of((WEB, JOB), "5.4", "board", warned)
    assert found is not None
    assert found.expires == JOB.expires
    assert found.reason == f"{WEB.reason} {JOB.reason}"
    whole = waiver("5.4", expires=DAY + timedelta(days=7))
    assert waiver_of((WEB, JOB, whole), "5.4", "board", warned) == whole


def test_a_container_is_found_by_the_name_that_the_audit_shows() -> None:
    one = container(name="web", image="nginx:1", privileged=True)
    other = replace(one, name="shop")
    for containers, result in (((one,), "waived"), ((one, other), "warn")):
        facts = replace(stock(), containers=containers)
        checked, _ = evaluate(subject(facts), CHECKS, (WEB,), "board")
        assert {c.check.id: result_of(c, DAY) for c in checked}["5.4"] == result


@given(
    st.lists(st.tuples(st.sampled_from(KNOWN), st.integers(-400, 400)), max_size=12),
    st.booleans(),
)
def test_a_waiver_only_ever_hides_a_warn_of_its_own_check(
    rows: list[tuple[str, int]], here: bool
) -> None:
    waivers = tuple(
        waiver(check, *([] if here else ["other"]), expires=DAY + timedelta(days=days))
        for check, days in rows
    )
    checked, _ = evaluate(subject(stock()), CHECKS, waivers, "board")
    result = AuditResult("board", DAY, checks=checked)
    in_force = {check for check, days in rows if days >= 0} if here else set()
    for one in checked:
        hidden = one.evaluation.result == "warn" and one.check.id in in_force
        assert result.result(one) == ("waived" if hidden else one.evaluation.result)
