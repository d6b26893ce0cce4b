"""Section 4: images, and the users that containers run as."""

from typing import Any

import pytest

from bootwright.audit.checks.images import EVALUATORS, is_root
from bootwright.audit.facts import AuditFacts
from bootwright.audit.inspected import Image
from bootwright.audit.model import Evaluation
from tests.support.auditcontainers import container, image
from tests.support.auditfacts import mute, provisioned, stock, stopped, subject, without_docker

BY_HAND = ["4.2", "4.3", "4.4", "4.8", "4.10", "4.11", "4.12"]


def evaluate(check: str, *images: Image, **facts: Any) -> Evaluation:
    return EVALUATORS[check](subject(stock(images=images, **facts)))


def test_the_whole_section_is_evaluated() -> None:
    assert list(EVALUATORS) == [f"4.{number}" for number in range(1, 13)]


@pytest.mark.parametrize(
    "user", ["", "0", "00", "+0", "root", "0:0", "root:www-data", "root:1000", ":1000", " "]
)
def test_root_by_any_name(user: str) -> None:
    assert is_root(user)
    running = container(name="web", user=user)
    found = EVALUATORS["4.1"](subject(stock(containers=(running,))))
    assert found.result == "warn"
    assert found.evidence.startswith("web: ")


@pytest.mark.parametrize("user", ["1000", "1000:0", "www-data", "rooter", "10", "1000:root"])
def test_others_are_not_root(user: str) -> None:
    assert not is_root(user)


def test_only_running_containers_are_asked_for_their_user() -> None:
    done = container(state="exited")
    found = EVALUATORS["4.1"](subject(stock(containers=(done,))))
    assert (found.result, found.evidence) == ("info", "no container runs")


@pytest.mark.parametrize(
    ("value", "result"), [("1", "pass"), ("", "warn"), ("0", "warn"), ("true", "warn")]
)
def test_content_trust_is_the_variable(value: str, result: str) -> None:
    assert evaluate("4.5", content_trust=value).result == result


def test_every_image_needs_a_healthcheck() -> None:
    good = image(id="sha256:" + "c" * 64, tags=("app:2",), healthcheck=True)
    dangling = image(tags=())
    assert evaluate("4.6", good).result == "pass"
    found = evaluate("4.6", good, dangling)
    assert found.result == "warn"
    assert [(item.subject, item.result) for item in found.items] == [
        ("app:2", "pass"),
        ("b" * 12, "warn"),
    ]


@pytest.mark.parametrize(("check", "count"), [("4.7", "updates"), ("4.9", "adds")])
def test_instructions_in_the_history_are_counted(check: str, count: str) -> None:
    assert evaluate(check, image(**{count: 0})).result == "pass"
    found = evaluate(check, image(**{count: 2}))
    assert found.result == "info"
    assert "2 ×" in found.evidence
    unknown = evaluate(check, image(**{count: 0}), image(tags=("old:1",), **{count: None}))
    assert (unknown.result, unknown.evidence) == ("skipped", "old:1: its history cannot be read")


@pytest.mark.parametrize("check", BY_HAND)
def test_manual_checks_list_the_images(check: str) -> None:
    found = evaluate(check, image())
    assert found.result == "manual"
    assert "bb:1" in found.evidence


@pytest.mark.parametrize("check", ["4.6", "4.7", "4.9", *BY_HAND])
def test_without_an_image_there_is_nothing_to_evaluate(check: str) -> None:
    assert evaluate(check) == Evaluation("info", "there is no image")


@pytest.mark.parametrize("check", [check for check in EVALUATORS if check != "4.5"])
@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        (without_docker(), "Docker is not installed"),
        (stopped(provisioned()), "the daemon does not run"),
        (mute(provisioned()), "no answer within 60 s"),
        (
            stock(images=None, containers=None, troubles={"images": "oh", "containers": "oh"}),
            "docker did not report it: oh",
        ),
    ],
)
def test_unknown_facts_are_skipped(check: str, facts: AuditFacts, cause: str) -> None:
    found = EVALUATORS[check](subject(facts))
    assert found.result == "skipped"
    assert cause in found.evidence


def test_content_trust_needs_no_engine() -> None:
    assert EVALUATORS["4.5"](subject(stopped(provisioned()))).result == "pass"
    assert EVALUATORS["4.5"](subject(without_docker())).result == "skipped"
