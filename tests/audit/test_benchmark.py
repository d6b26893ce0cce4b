"""The checks as data, and other versions of the benchmark."""

import re
from pathlib import Path
from typing import Any

import pytest

from bootwright.audit.benchmark import BenchmarkEntry, benchmarks, load_checks, load_view
from bootwright.core.errors import InputError
from bootwright.core.paths import checkout
from bootwright.provision.plan import plan_provision
from tests.support.host_facts import PROFILE, desired, stock
from tests.support.recorded_bench import recorded

ROOT = checkout() / "checks" / "cis-docker"
CHECKS = load_checks(ROOT)
BY_ID = {check.id: check for check in CHECKS}
OTHERS = ["1.2.0", "1.7.0", "1.8.0", "1.11.0"]
VIEWS = {name: {one.id: one for one in load_view(ROOT, name).entry} for name in OTHERS}

# tests/*.sh of docker-bench-security v1.6.1: those without an -s at any result.
UNSCORED = [
    "1.2.1",
    "1.2.2",
    "2.1",
    "2.8",
    "2.17",
    "4.2",
    "4.3",
    "4.4",
    "4.7",
    "4.8",
    "4.9",
    "4.10",
    "4.11",
    "4.12",
    "5.18",
    "5.19",
    "5.23",
    "5.24",
    "5.28",
    "5.30",
    "6.1",
    "6.2",
    "7.4",
    "7.6",
    "7.7",
    "7.8",
    "7.9",
]

# What recorded runs of docker-bench-security print; "1.1" stands for a heading.
REPORTED = {
    "1.11.0": {"1": 15, "2": 13, "3": 20, "4": 5, "5": 25, "6": 5},
    "1.2.0": {"1.1": 2, "1.2": 12, "2": 17, "3": 22, "4": 11, "5": 31, "6": 2, "7": 10},
}


def numbered(counts: dict[str, int]) -> list[str]:
    return [f"{chapter}.{n}" for chapter, count in counts.items() for n in range(1, count + 1)]


@pytest.mark.parametrize("run", ["stock", "hardened"])
def test_the_checks_are_those_of_a_recorded_run_in_its_order(run: Any) -> None:
    assert [check.id for check in CHECKS] == list(recorded(run))
    assert len(CHECKS) == 117


def test_ninety_are_scored() -> None:
    assert [check.id for check in CHECKS if not check.scored] == UNSCORED
    assert sum(check.scored for check in CHECKS) == 90


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_remedy_is_one_line_and_names_what_does_it(check: Any) -> None:
    assert "\n" not in check.title + check.remedy
    assert len(check.remedy) <= 120
    begins = {
        "run": "docker ",
        "swarm": "docker ",
        "image": "Dockerfile: ",
        "host": "inv provision",
        "daemon": "",
        "manual": "",
    }
    by_hand = {"1.1.2", "4.5", "5.2"}
    assert check.id in by_hand or check.remedy.startswith(begins[check.owner])


def test_titles_differ() -> None:
    assert len({check.title for check in CHECKS}) == len(CHECKS)


def test_a_step_is_one_of_provisioning() -> None:
    names = {step.name for step in plan_provision(desired(), stock()).steps}
    assert {check.step for check in CHECKS} <= {*names, "packages", ""}


def test_a_step_of_the_plan_has_the_checks_that_name_it() -> None:
    doers: dict[str, set[str]] = {}
    for step in plan_provision(desired(), stock()).steps:
        for check in step.checks:
            doers.setdefault(check, set()).add(step.name)
    assert {"1.1.1", "1.1.2", "1.1.3", "2.2", "2.9", "3.5", "5.26"} <= set(doers)
    assert [check for check, names in doers.items() if BY_ID[check].step not in names] == []


@pytest.mark.parametrize(
    ("wanted", "step"),
    [
        (PROFILE.audit.watch, "audit"),
        (PROFILE.files.file, "modes"),
        (PROFILE.daemon.setting, "daemon"),
    ],
)
def test_checks_in_the_profile_have_a_step(wanted: Any, step: str) -> None:
    answered = {check for entry in wanted for check in entry.checks}
    assert {BY_ID[check].step for check in answered} == {step}
    owners = {BY_ID[check].owner for check in answered - {"5.26"}}
    assert owners == ({"daemon"} if step == "daemon" else {"host"})


def test_checks_that_the_profile_waives_belong_to_the_daemon() -> None:
    waived = [BY_ID[check] for waiver in PROFILE.daemon.waiver for check in waiver.checks]
    found = {(check.id, check.owner, check.step) for check in waived}
    assert found == {("2.12", "daemon", "daemon"), ("2.13", "daemon", "logs")}


def test_the_known_versions_are_sorted_by_number() -> None:
    assert benchmarks(ROOT) == ["1.2.0", "1.6.0", "1.7.0", "1.8.0", "1.11.0"]
    assert [load_view(ROOT, name).benchmark for name in benchmarks(ROOT)] == benchmarks(ROOT)


@pytest.mark.parametrize("name", OTHERS)
def test_a_view_names_checks_that_exist_and_says_why_where_it_has_none(name: str) -> None:
    entries = load_view(ROOT, name).entry
    assert len(VIEWS[name]) == len(entries), "an id is there twice"
    assert {check for one in entries for check in one.checks} <= set(BY_ID)
    assert [one.id for one in entries if not one.checks and not one.note] == []
    same = [check for one in entries for check in one.checks]
    assert len(same) == len(set(same)), "two entries mean the same check"


@pytest.mark.parametrize("name", ["1.2.0", "1.11.0"])
def test_every_id_of_the_published_versions_is_there(name: str) -> None:
    ids = [one for one in VIEWS[name] if not one.startswith("8.")]
    assert ids == numbered(REPORTED[name])
    assert not load_view(ROOT, name).partial


@pytest.mark.parametrize(
    ("benchmark", "number", "checks"),
    [
        ("1.11.0", "1.1", ("1.1.1",)),
        ("1.11.0", "1.2", ()),
        ("1.11.0", "2.5", ("2.6",)),
        ("1.11.0", "2.8", ("2.9",)),
        ("1.11.0", "2.12", ("2.13",)),
        ("1.11.0", "2.13", ()),
        ("1.11.0", "5.10", ("5.11",)),
        ("1.11.0", "5.25", ("5.26",)),
        ("1.11.0", "6.4", ("6.1",)),
        ("1.2.0", "1.2.4", ("1.1.5",)),
        ("1.2.0", "1.2.9", ("1.1.13",)),
        ("1.2.0", "1.2.10", ("1.1.11",)),
        ("1.2.0", "2.14", ("2.16",)),
        ("1.2.0", "2.17", ("2.14",)),
        ("1.2.0", "3.20", ("3.22",)),
        ("1.2.0", "5.28", ("5.29",)),
        ("1.2.0", "7.1", ("5.1",)),
        ("1.2.0", "7.4", ("7.3",)),
        ("1.2.0", "8.1.1", ()),
        ("1.7.0", "1.1.9", ()),
        ("1.7.0", "2.18", ("2.18",)),
        ("1.8.0", "2.6", ("2.6",)),
        ("1.8.0", "2.7", ()),
        ("1.8.0", "2.10", ("2.9",)),
        ("1.8.0", "2.19", ("2.18",)),
    ],
)
def test_ids_that_changed_between_versions(
    benchmark: str, number: str, checks: tuple[str, ...]
) -> None:
    assert VIEWS[benchmark][number].checks == checks


def test_the_profiles_ids_of_1_11_0_agree_with_the_view() -> None:
    daemon = PROFILE.daemon
    wanted: list[Any] = [*daemon.setting, *daemon.waiver, *PROFILE.audit.watch, *PROFILE.files.file]
    reported = [(entry, number) for entry in wanted for number in entry.cis_1_11]
    assert len(reported) > 40
    for entry, number in reported:
        assert set(VIEWS["1.11.0"][number].checks) <= set(entry.checks), number


def test_versions_known_from_other_sources_are_marked_as_partial() -> None:
    for name, count in (("1.7.0", 117), ("1.8.0", 118)):
        view = load_view(ROOT, name)
        assert view.partial
        assert view.source
        assert len(view.entry) == count


def test_a_check_has_its_ids_in_other_versions() -> None:
    icc = {"1.2.0": ("2.1",), "1.7.0": ("2.2",), "1.8.0": ("2.2",), "1.11.0": ("2.1",)}
    assert BY_ID["2.2"].aliases == icc
    assert BY_ID["4.12"].aliases == {"1.7.0": ("4.12",), "1.8.0": ("4.12",)}


def test_the_version_of_the_checks_is_a_view_of_itself() -> None:
    view = load_view(ROOT, "1.6.0")
    assert [one.checks for one in view.entry] == [(check.id,) for check in CHECKS]
    assert view.entry[0] == BenchmarkEntry(
        id="1.1.1", title=CHECKS[0].title, scored=True, checks=("1.1.1",)
    )


@pytest.mark.parametrize("name", ["1.12.0", "", "../cis-docker/1.2.0"])
def test_the_error_for_an_unknown_version_lists_the_known_ones(name: str) -> None:
    with pytest.raises(InputError, match=re.escape("1.2.0, 1.6.0, 1.7.0, 1.8.0, 1.11.0")):
        load_view(ROOT, name)


def test_the_error_for_a_wrong_file_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "1.0.0.toml").write_text(
        'benchmark = "1.0.0"\nname = "x"\nsource = "y"\n'
        '[[entry]]\nid = "9.1"\ntitle = "There is no ninth section"\n'
    )
    with pytest.raises(InputError, match=r"1\.0\.0\.toml: entry\.0\.id"):
        load_view(tmp_path, "1.0.0")
