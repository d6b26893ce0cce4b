"""What daemon.json is to hold: the profile, the target's desired, the operator's own keys."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.core.config import Docker
from bootwright.core.errors import RefusedError
from bootwright.provision.daemon_json import DaemonJson, needs_restart, plan_daemon_json
from tests.support.host_facts import PROFILE

ENGINE = "28.3.3"


def plan(
    existing: object = None, ours: tuple[str, ...] = (), version: str = ENGINE, **docker: Any
) -> DaemonJson:
    text = "" if existing is None else json.dumps(existing)
    return plan_daemon_json(PROFILE, Docker(**docker), text, ours, version)


def test_without_a_file_the_profile_is_written() -> None:
    made = plan()
    assert json.loads(made.text) == made.values
    hardened = {
        "icc": False,
        "userns-remap": "default",
        "live-restore": True,
        "userland-proxy": False,
        "no-new-privileges": True,
        "storage-driver": "overlay2",
    }
    assert hardened.items() <= made.values.items()
    assert set(made.ours) == set(made.values) == set(made.changed)
    assert made.notes == ()
    assert {"2.2", "2.9", "2.14", "2.15", "2.16", "2.4", "2.18"} <= set(made.checks)
    assert "2.12" not in made.checks


def test_a_second_run_leaves_the_text_alone_whatever_its_layout() -> None:
    first = plan()
    again = plan_daemon_json(PROFILE, Docker(), first.text, first.ours, ENGINE)
    assert (again.text, again.changed, again.notes) == (first.text, (), ())
    squeezed = json.dumps(dict(reversed(list(first.values.items()))), indent=None)
    assert plan_daemon_json(PROFILE, Docker(), squeezed, first.ours, ENGINE).text == squeezed


def test_the_operators_own_keys_stay_in_their_order() -> None:
    made = plan({"dns": ["192.0.2.53"], "icc": False, "labels": ["site=lab"]})
    assert list(made.values)[:3] == ["dns", "icc", "labels"]
    assert made.values["dns"] == ["192.0.2.53"]
    assert "dns" not in made.ours
    assert made.notes == ()


@pytest.mark.parametrize(
    ("key", "value", "after"),
    [("icc", True, False), ("iptables", False, None), ("experimental", True, None)],
)
def test_what_contradicts_the_profile_goes_and_is_said(
    key: str, value: object, after: object
) -> None:
    made = plan({key: value})
    assert made.values.get(key) == after
    assert any(key in note and "contradicts" in note for note in made.notes)


def test_what_agrees_with_a_stand_stays() -> None:
    made = plan({"iptables": True, "insecure-registries": []})
    assert made.values["iptables"] is True
    assert made.notes == ()


def test_the_target_wins_and_its_deviation_is_said() -> None:
    made = plan({"icc": False}, daemon={"icc": True, "dns": ("192.0.2.53",)})
    assert made.values["icc"] is True
    assert made.values["dns"] == ["192.0.2.53"]
    assert "2.2" not in made.checks
    assert any("check 2.2 is not met" in note for note in made.notes)


def test_an_empty_text_takes_a_key_of_the_profile_out() -> None:
    made = plan(daemon={"userns-remap": ""})
    assert "userns-remap" not in made.values
    assert "2.9" not in made.checks
    assert any("2.9" in note for note in made.notes)


def test_what_an_earlier_run_put_there_and_nobody_wants_any_more_goes() -> None:
    with_api = plan(api="tcp://192.0.2.10:2376")
    assert with_api.values["hosts"] == ["fd://", "tcp://192.0.2.10:2376"]
    assert with_api.values["tlsverify"] is True
    without = plan(with_api.values, with_api.ours)
    assert {"hosts", "tlsverify", "tlskey"}.isdisjoint(without.values)
    assert {"hosts", "tlskey"} <= set(without.changed)
    # The same keys, but the operator's own: they stay.
    assert "hosts" in plan(with_api.values, ()).values


def test_a_byte_order_mark_is_taken_out() -> None:
    plain = plan()
    marked = plan_daemon_json(PROFILE, Docker(), f"\ufeff{plain.text}", plain.ours, ENGINE)
    assert (marked.text, marked.changed) == (plain.text, ())
    assert "byte order mark" in marked.notes[0]


def test_reload_is_enough_for_some_keys_only() -> None:
    now = dict(plan().values)
    ours = tuple(now)
    assert needs_restart(PROFILE, plan({**now, "icc": True}, ours))
    assert not needs_restart(PROFILE, plan({**now, "live-restore": False}, ours))
    # A key that is taken out keeps its old value until a restart.
    assert needs_restart(
        PROFILE, plan({**now, "max-concurrent-downloads": 1}, (*ours, "max-concurrent-downloads"))
    )


@pytest.mark.parametrize("text", ["{", "[]", "null", '"text"', "[" * 100_000])
def test_a_file_that_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match=r"/etc/docker/daemon\.json on the board"):
        plan_daemon_json(PROFILE, Docker(), text, (), ENGINE)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from([key.name for key in PROFILE.engine.key]) | st.text(max_size=8), _VALUES
    )
)
def test_whatever_is_there_the_profile_holds_afterwards_and_a_second_run_changes_nothing(
    there: dict[str, Any],
) -> None:
    made = plan(there)
    for setting in PROFILE.daemon.setting:
        if setting.value is not None:
            assert setting.key in made.values
            assert set(setting.checks) <= set(made.checks)
    unknown = set(there) - {setting.key for setting in PROFILE.daemon.setting}
    assert all(made.values[key] == there[key] for key in unknown)
    again = plan_daemon_json(PROFILE, Docker(), made.text, made.ours, ENGINE)
    assert (again.text, again.changed, again.notes) == (made.text, (), ())
