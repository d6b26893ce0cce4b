"""What a board answers to an audit: the answer of a real one, and all that a hostile one may say.

``debian-12-provisioned`` is an emulated ARMv7 board with Debian 12 after `inv provision`, with
three containers of which one does not run.
"""

import base64
import gzip
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootwright.audit import facts
from bootwright.audit.benchmark import load_checks
from bootwright.audit.checks.evaluate import evaluate
from bootwright.audit.facts import AuditFacts, audit_facts
from bootwright.audit.facts_script import audit_script
from bootwright.audit.model import CheckResult
from bootwright.audit.report.text import lines
from bootwright.audit.result import AuditResult, as_document
from bootwright.audit.run import paths_to_check
from bootwright.core.errors import FailedError
from bootwright.core.paths import checkout
from bootwright.remote.sections import parse_sections
from tests.support.auditfacts import PROFILE, subject
from tests.support.auditresults import TODAY

TEXT = (checkout() / "tests/cases/audithost/debian-12-provisioned.txt").read_text(encoding="utf-8")
CHECKS = load_checks(checkout() / "checks" / "cis-docker")

COMPRESSED = ("containers", "images", "info", "networks")
"""Compressed facts of which nothing is known if they cannot be read."""


def sections(text: str = TEXT) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("== "):
            found[line[3:]] = content = []
        elif line:
            content.append(line.removeprefix("|"))
    return found


def written(found: dict[str, list[str]]) -> str:
    return "".join(
        f"\n== {name}\n" + "".join(f"|{line}\n" for line in content)
        for name, content in found.items()
    )


def packed(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return base64.encodebytes(gzip.compress(data)).decode().splitlines()


def unpacked(name: str) -> list[dict[str, Any]]:
    text = gzip.decompress(base64.b64decode("".join(sections()[f"{name}.gz"])))
    return [json.loads(line) for line in text.decode().splitlines()]


def answer(**changed: list[str] | str | None) -> str:
    """Return the board's answer with other sections; ``None`` takes one out, ``_`` is ``-``."""
    found = sections()
    for word, content in changed.items():
        name = word.replace("_", "-")
        found.pop(f"{name}.gz", None)
        found.pop(name, None)
        if isinstance(content, str):
            found[f"{name}.gz"] = packed(content)
        elif content is not None:
            found[name] = content
    found["end"] = found.pop("end")
    return written(found)


def results(facts: AuditFacts) -> dict[str, CheckResult]:
    checked, findings = evaluate(subject(facts), CHECKS, (), "board")
    # The results can be printed too.
    result = AuditResult("board", TODAY, checks=checked, findings=findings)
    json.dumps(as_document(result))
    assert all(line.isprintable() for line in lines(result))
    return {one.check.id: one.evaluation.result for one in checked}


def test_the_facts_of_a_provisioned_board() -> None:
    facts = audit_facts(parse_sections(TEXT))
    assert (facts.hostname, facts.arch) == ("odroid", "armv7l")
    assert facts.os == "Debian GNU/Linux 12 (bookworm)"
    assert facts.kernel == "6.1.0-50-armmp-lpae"
    assert {"docker", "dockerd", "auditctl"} <= facts.tools
    assert "/var/lib/docker" in facts.mounts
    assert facts.docker_group == ()
    assert facts.units["auditd.service"].active == "active"
    assert len(facts.audit or ()) == 17
    assert facts.audit_on
    assert facts.modes["/run/docker.sock"].mode == 0o660
    assert facts.engine_owner == 0
    assert facts.flags[0] == "/usr/sbin/dockerd"
    assert (facts.daemon_json or {})["icc"] is False
    assert facts.engine_version.startswith("20.10.24")
    containers = {one.name: one for one in facts.containers or ()}
    assert sorted(containers) == ["health", "idle", "open", "plain"]
    assert {one.name for one in facts.running or ()} == {"plain", "health", "open"}
    # As it was made: without the restrictions of the others.
    assert [one.name for one in containers.values() if not one.no_new_privileges] == ["open"]
    assert [one.name for one in containers.values() if one.unconfined_paths] == ["open"]
    assert containers["open"].device_rules == ("c 1:3 r",)
    assert (facts.daemons, facts.audit_never, facts.acls) == (1, (), frozenset())
    assert facts.audit_pid > 0
    assert facts.mounts["/var/lib/docker"] != facts.mounts["/"]
    assert containers["plain"].ports[0].port == 8080
    assert containers["health"].health is not None
    assert containers["plain"].health is None
    assert [one.name for one in facts.networks or ()] == ["bridge"]
    assert "[::]:22" in (facts.listening or ())
    assert "apparmor" in facts.lsm
    assert facts.root
    assert facts.troubles == {}
    image = {one.name: one for one in facts.images or ()}["shell:local"]
    assert (image.adds, image.updates) == (0, 0)


def test_the_script_is_complete_and_short_enough_for_one_argument() -> None:
    script = audit_script(paths_to_check(PROFILE))
    # Every name of the template was filled in.
    assert not re.search(r"@\w+@", script)
    assert len(script) < 100_000  # One argument of a command holds 128 KiB.


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.75, 0.99])
def test_an_answer_that_is_cut_short_is_an_error(share: float) -> None:
    with pytest.raises(FailedError, match="cut short"):
        audit_facts(parse_sections(TEXT[: int(len(TEXT) * share)]))


DAMAGED = {
    "no base64": ["H4sI####", "é"],
    "no gzip": ["aGVsbG8gd29ybGQ="],
    "cut": packed("x" * 9000)[:1],
    "no JSON": packed("{broken"),
    "a list": packed("[1, 2]"),
    "a number": packed("7"),
    "deep": packed("[" * 100_000),
    "deep objects": packed('{"a":' * 50_000 + "1" + "}" * 50_000),
    "digits": packed('{"id": ' + "9" * 100_000 + "}"),
    "another form": packed('{"what": "is this"}'),
    "no text": packed(b"\xff\xfe\x00" * 100),
}


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_fact_is_unknown_and_says_why(name: str, kind: str) -> None:
    found = sections()
    found[f"{name}.gz"] = DAMAGED[kind]
    facts = audit_facts(parse_sections(written(found)))
    assert getattr(facts, name) is None
    assert facts.troubles[name]
    assert facts.troubles[name].isprintable()
    assert len(facts.troubles[name]) < 400
    came = results(facts)
    whole = results(audit_facts(parse_sections(TEXT)))
    assert [check for check in came if came[check] == "pass" != whole[check]] == []


def test_a_damaged_history_loses_only_its_own_facts() -> None:
    found = sections()
    found["history.gz"] = ["####"]
    facts = audit_facts(parse_sections(written(found)))
    assert [image.adds for image in facts.images or ()] == [None, None]
    came = results(facts)
    assert (came["4.7"], came["4.9"]) == ("skipped", "skipped")


def test_a_decompression_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "MAX_FACT_BYTES", 1024 * 1024)
    bomb = answer(info='{"ServerVersion":"' + "7" * (8 * 1024 * 1024) + '"}')
    facts_ = audit_facts(parse_sections(bomb))
    assert facts_.info is None
    assert "more than 1 MiB" in facts_.troubles["info"]


CONTAINER = unpacked("containers")[0]
IMAGE = unpacked("images")[0]
NETWORK = unpacked("networks")[0]

WRONG: list[tuple[str, dict[str, Any]]] = [
    *(("containers", {**CONTAINER, key: {"an": ["object"]}}) for key in ("id", "name", "Memory")),
    *(("containers", {**CONTAINER, key: "a text"}) for key in ("Privileged", "CapAdd", "mounts")),
    *(("containers", {**CONTAINER, key: 10**30}) for key in ("Memory", "PidsLimit", "NanoCPUs")),
    *(("containers", {**CONTAINER, key: float("inf")}) for key in ("Memory", "CPUQuota")),
    ("containers", {**CONTAINER, "Memory": True}),
    ("containers", {**CONTAINER, "ports": {"80/tcp": [{"HostIp": "", "HostPort": "many"}]}}),
    (
        "containers",
        {**CONTAINER, "ports": {"80/tcp": [{"HostIp": "", "HostPort": "9" * 5000}]}},
    ),
    ("containers", {key: CONTAINER[key] for key in CONTAINER if key != "Privileged"}),
    ("images", {**IMAGE, "id": 7}),
    ("images", {**IMAGE, "tags": "latest"}),
    ("networks", {**NETWORK, "options": ["a"]}),
    ("networks", {**NETWORK, "containers": {"a": "b"}}),
]


@pytest.mark.parametrize(("name", "row"), WRONG)
def test_one_row_that_cannot_be_parsed_makes_the_fact_unknown(
    name: str, row: dict[str, Any]
) -> None:
    rows = [*unpacked(name), row]
    facts = audit_facts(parse_sections(answer(**{name: "\n".join(map(json.dumps, rows))})))
    assert getattr(facts, name) is None
    assert "cannot be understood" in facts.troubles[name]
    results(facts)


@pytest.mark.parametrize(
    "message",
    [
        *("\x1b]0;title\x07", "\x1b[2J", "a\nb\r", "\x9b1m", "\u202egpj", "\u2028", "\x00"),
        *("\ud800", "<script>", "[PASS] 5.4", "\u200b"),
    ],
)
def test_texts_in_json_contain_no_control_sequences(message: str) -> None:
    row = {
        **CONTAINER,
        **{"name": f"/{message}", "user": message, "CapAdd": [message], "SecurityOpt": [message]},
        "mounts": [{"Type": message, "Source": f"/{message}", "Destination": message, "RW": True}],
        "networks": [message],
    }
    info = {
        **unpacked("info")[0],
        "Warnings": [message],
        "ServerVersion": message,
        "Driver": message,
    }
    text = answer(
        containers=json.dumps(row),
        images=json.dumps({**IMAGE, "tags": [message]}),
        info=json.dumps(info),
        daemon_json=json.dumps(
            {"log-level": message, message: message, "hosts": [message]}
        ).splitlines(),
        containers_error=[],
    )
    facts = audit_facts(parse_sections(text))
    assert facts.troubles == {}
    assert facts.containers is not None
    assert facts.containers[0].name.isprintable()
    assert facts.engine_version.isprintable()
    assert str(facts.daemon_json).isprintable()
    results(facts)


def test_numbers_that_are_not_json_are_refused() -> None:
    info = json.dumps(unpacked("info")[0])[:-1] + ', "NCPU": NaN, "MemTotal": -Infinity}'
    text = answer(info=info, daemon_json=['{"log-opts": {"max-file": NaN}}'])
    results(audit_facts(parse_sections(text)))


def test_a_byte_order_mark_in_daemon_json_is_no_trouble() -> None:
    text = answer(daemon_json=['\ufeff{"icc": false}'])
    assert audit_facts(parse_sections(text)).daemon_json == {"icc": False}


@pytest.mark.parametrize(
    ("changed", "name", "message"),
    [
        ({"info": None, "info_error": ["no answer within 60 s"]}, "info", "no answer within 60 s"),
        # An answer and an error: it is not known what the answer lacks.
        ({"info_error": ["it broke"]}, "info", "it broke"),
        ({"info": '{"ServerErrors": ["refused"]}'}, "info", "no engine answers: ['refused']"),
        ({"containers_error": ["permission denied", "by\x1b[31m all"]}, "containers", "denied by"),
        ({"containers": None}, "containers", "lacks it"),
        ({"networks": None}, "networks", "lacks it"),
        ({"daemon_json": None}, "daemon-json", "cannot be read"),
        ({"daemon_json": ["{broken"]}, "daemon-json", "cannot be understood"),
    ],
)
def test_the_reason_why_a_fact_is_not_known(
    changed: dict[str, Any], name: str, message: str
) -> None:
    if name == "info" and "info" not in changed:
        changed = {**changed, "info": json.dumps(unpacked("info")[0])}
    elif name == "containers" and "containers" not in changed:
        changed = {**changed, "containers": json.dumps(CONTAINER)}
    facts = audit_facts(parse_sections(answer(**changed)))
    assert getattr(facts, name.replace("-", "_")) is None
    assert message in facts.troubles[name]
    assert facts.troubles[name].isprintable()


@pytest.mark.parametrize("name", [*facts.REQUIRED_SECTIONS, "flags"])
def test_an_answer_without_a_required_section_is_an_error(name: str) -> None:
    with pytest.raises(FailedError, match=f"lacks {name}"):
        audit_facts(parse_sections(answer(**{name.replace("-", "_"): None})))


def test_audit_that_is_not_reported_as_enabled_is_off() -> None:
    rules = [line for line in sections()["audit"] if not line.startswith("enabled")]
    assert not audit_facts(parse_sections(answer(audit=rules))).audit_on
    assert audit_facts(parse_sections(answer(audit=[*rules, "enabled 2"]))).audit_on


def no_better(before: str, after: str) -> None:
    """Assert that less of an answer is an error, or no reason to pass a check."""
    try:
        facts = audit_facts(parse_sections(after))
    except FailedError:
        return
    was, now = results(audit_facts(parse_sections(before))), results(facts)
    assert [check for check in now if now[check] == "pass" != was[check]] == []


def weak_board() -> str:
    """Return an answer with many wrong settings, each in another section."""
    host = [line for line in sections()["host"] if not line.startswith("docker-group")]
    daemon = {"log-level": "debug", "iptables": False, "hosts": ["tcp://0.0.0.0:2375"]}
    insecure = {"IndexConfigs": {"r:1": {"Name": "r:1", "Secure": False}}}
    info = {
        **unpacked("info")[0],
        "RegistryConfig": insecure,
        "Swarm": {"LocalNodeState": "active"},
    }
    return answer(
        containers=json.dumps({**CONTAINER, "Privileged": True, "CapAdd": ["ALL"]}),
        daemon_json=json.dumps(daemon).splitlines(),
        flags=["/usr/sbin/dockerd", "--insecure-registry=r:1", "--tlskey=/k", "--icc=true"],
        host=[*host, "docker-group 107 mia", "content-trust 0"],
        info=json.dumps(info),
        listening=["LISTEN 0 128 0.0.0.0:2377 0.0.0.0:*"],
        modes=[f"777{line[3:]}" for line in sections()["modes"]],
        networks=json.dumps({**NETWORK, "driver": "overlay"}) + "\n" + json.dumps(NETWORK),
        sshd_containers=[CONTAINER["id"]],
        tls=["tlskey 777 mia:mia 1:1 regular file|/k"],
    )


@pytest.mark.parametrize("board", [TEXT, weak_board()], ids=["provisioned", "weak"])
def test_a_section_that_is_missing_makes_no_check_pass(board: str) -> None:
    for name in sections(board):
        found = sections(board)
        del found[name]
        no_better(board, written(found))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_fewer_sections_make_no_check_pass(data: st.DataObject) -> None:
    board = data.draw(st.sampled_from([TEXT, weak_board()]))
    kept = data.draw(st.sets(st.sampled_from(list(sections(board)))))
    no_better(
        board, written({name: sections(board)[name] for name in sections(board) if name in kept})
    )


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_answer_gives_facts_or_an_error(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([TEXT, weak_board()])).splitlines()
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(text) - 1))
        change = data.draw(st.sampled_from(["drop", "twice", "text", "part", "swap"]))
        if change == "drop":
            del text[at]
        elif change == "twice":
            text.insert(at, text[at])
        elif change == "text":
            text[at] = "|" + data.draw(st.text(max_size=40))
        elif change == "part":
            text[at] = text[at][: len(text[at]) // 2]
        else:
            text[at], text[0] = text[0], text[at]
    try:
        facts = audit_facts(parse_sections("\n".join(text)))
    except FailedError:
        return
    results(facts)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_values_of_any_type_are_evaluated_or_unknown(data: st.DataObject) -> None:
    """Not only what Docker would say: what JSON can say in its place."""
    name = data.draw(st.sampled_from([*COMPRESSED, "daemon-json"]))
    if name == "daemon-json":
        row = json.loads("\n".join(sections()[name]))
    else:
        row = data.draw(st.sampled_from(unpacked(name)))
    for key in data.draw(st.sets(st.sampled_from(sorted(row)), min_size=1, max_size=4)):
        row = {**row, key: data.draw(VALUES)}
    changed: dict[str, Any] = {name.replace("-", "_"): json.dumps(row)}
    if name == "daemon-json":
        changed = {"daemon_json": [json.dumps(row)]}
    try:
        facts = audit_facts(parse_sections(answer(**changed)))
    except FailedError:
        return
    results(facts)
    results(replace(facts, engine_owner=None))
