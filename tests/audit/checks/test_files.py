"""Section 3 of an audit: owners and permissions, bit by bit."""

from typing import Any

import pytest

from bootwright.audit.checks.files import EVALUATORS, MODE, OWNER
from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import CheckResult, Evaluation
from tests.support.auditfacts import API, PROFILE, path_mode, provisioned, stock, subject, with_api


def evaluate(check: str, facts: AuditFacts) -> Evaluation:
    return EVALUATORS[check](subject(facts))


def with_file(path: str, **different: Any) -> AuditFacts:
    before = provisioned()
    return provisioned(modes={**before.modes, path: path_mode(path, **different)})


def test_every_check_has_an_entry_of_the_profile() -> None:
    listed = {check for entry in PROFILE.files.file for check in entry.checks}
    assert listed == {*OWNER, *MODE}
    assert not {*OWNER} & {*MODE}
    for entry in PROFILE.files.file:
        assert len({*entry.checks} & {*OWNER}) == bool(entry.checks)


@pytest.mark.parametrize(
    ("check", "path", "different", "result"),
    [
        ("3.1", "/etc/systemd/system/docker.service", {"owner": "mia:root"}, "warn"),
        ("3.1", "/etc/systemd/system/docker.service", {"owner": "root:mia"}, "warn"),
        ("3.2", "/usr/lib/systemd/system/docker.service", {"mode": 0o600}, "pass"),
        # Below 644 as decimal numbers, which is how docker-bench compares.
        ("3.2", "/usr/lib/systemd/system/docker.service", {"mode": 0o622}, "warn"),
        ("3.2", "/usr/lib/systemd/system/docker.service", {"mode": 0o577}, "warn"),
        ("3.2", "/usr/lib/systemd/system/docker.service", {"mode": 0o4644}, "warn"),
        ("3.6", "/etc/docker", {"mode": 0o700, "kind": "directory"}, "pass"),
        ("3.6", "/etc/docker", {"mode": 0o775, "kind": "directory"}, "warn"),
        ("3.7", "/etc/docker/certs.d/r.example/ca.crt", {"owner": "mia:mia"}, "warn"),
        ("3.8", "/etc/docker/certs.d/r.example/ca.crt", {"mode": 0o444}, "pass"),
        ("3.8", "/etc/docker/certs.d/r.example/ca.crt", {"mode": 0o644}, "warn"),
        ("3.15", "/run/docker.sock", {"owner": "root:root", "kind": "socket"}, "warn"),
        ("3.16", "/run/docker.sock", {"mode": 0o666, "kind": "socket"}, "warn"),
        # Of these two, docker-bench's first is the mode.
        ("3.21", "/etc/sysconfig/docker", {"mode": 0o664}, "warn"),
        ("3.21", "/etc/sysconfig/docker", {"owner": "mia:mia"}, "pass"),
        ("3.22", "/etc/sysconfig/docker", {"owner": "mia:mia"}, "warn"),
        ("3.23", "/run/containerd/containerd.sock", {"owner": "root:docker"}, "warn"),
    ],
)
def test_a_file(check: str, path: str, different: dict[str, Any], result: CheckResult) -> None:
    facts = with_file(path, **different)
    found = evaluate(check, facts)
    mode = facts.modes[path]
    assert found.result == result
    assert f"{mode.mode:04o} {mode.owner} {path}" in found.evidence


@pytest.mark.parametrize(
    ("mode", "result"), [(0o400, "pass"), (0o600, "warn"), (0o440, "warn"), (0, "warn")]
)
def test_the_servers_key_has_exactly_its_mode(mode: int, result: CheckResult) -> None:
    path = "/etc/docker/tls/server-key.pem"
    assert evaluate("3.14", with_file(path, mode=mode)).result == result


def test_a_file_with_an_acl_warns() -> None:
    facts = provisioned(acls=frozenset({"/run/docker.sock"}))
    found = evaluate("3.16", facts)
    assert (found.result, "/run/docker.sock has an ACL" in found.evidence) == ("warn", True)
    assert evaluate("3.15", facts).result == "pass"


def test_the_worst_of_several_files_counts_and_each_is_listed() -> None:
    path = "/etc/docker/certs.d/a.example/ca.crt"
    facts = with_file(path, mode=0o666)
    good = "/etc/docker/certs.d/b.example/ca.crt"
    facts = provisioned(modes={**facts.modes, good: path_mode(good, 0o444)})
    found = evaluate("3.8", facts)
    assert found.result == "warn"
    assert {item.subject: item.result for item in found.items} == {path: "warn", good: "pass"}


def test_the_files_that_the_daemon_is_configured_with_are_evaluated() -> None:
    facts = with_api()
    for check in ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14"):
        assert evaluate(check, facts).result == "pass"
    mine = path_mode("/srv/key.pem", 0o644, "mia:mia")
    elsewhere = with_api(
        daemon_json={**API, "tlskey": "/srv/key.pem"}, tls={**facts.tls, "tlskey": mine}
    )
    found = evaluate("3.14", elsewhere)
    assert (found.result, "0644 mia:mia /srv/key.pem" in found.evidence) == ("warn", True)
    assert evaluate("3.13", elsewhere).result == "warn"


@pytest.mark.parametrize(
    ("facts", "check", "message"),
    [
        # If the value is a separate word, the script does not report the file.
        (stock(flags=("dockerd", "--tlskey", "/srv/key.pem")), "3.14", "/srv/key.pem"),
        (stock(flags=("dockerd", "--tlsverify")), "3.13", "tlskey: not set"),
        (stock(troubles={"daemon-json": "no JSON"}), "3.9", "no JSON"),
        (provisioned(settings="/srv/daemon.json"), "3.17", "/srv/daemon.json"),
        (
            with_file("/etc/docker/certs.d/r.example/ca.crt", mode=0o777, kind="symbolic link"),
            "3.8",
            "is a symbolic link",
        ),
    ],
)
def test_files_that_were_not_examined_are_skipped(
    facts: AuditFacts, check: str, message: str
) -> None:
    found = evaluate(check, facts)
    assert (found.result, message in found.evidence) == ("skipped", True), found.evidence


def test_files_that_do_not_exist_are_info() -> None:
    for check in ("3.7", "3.9", "3.14", "3.17", "3.21"):
        found = evaluate(check, stock())
        assert (found.result, found.evidence.startswith("not there: /etc/")) == ("info", True)
