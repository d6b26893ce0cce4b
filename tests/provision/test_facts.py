"""What boards really reported: every file in cases/dockerhost is the answer of one.

``bare`` is a card as `inv flash` makes it, booted and unlocked; ``provisioned`` the same after
`inv provision`: Debian 12 on an emulated ARMv7. Keys of the host and of who logs in are not in
them.
"""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.core.errors import BootwrightError, FailedError
from bootwright.hosts.audit_rules import recorded, rules_for
from bootwright.hosts.board_files import parse_board_files
from bootwright.hosts.engine import parse_engine
from bootwright.provision.facts import HostFacts, host_facts
from bootwright.provision.facts_script import host_script
from bootwright.provision.plan import plan_provision, questions_for
from bootwright.remote.sections import parse_sections
from tests.support.host_facts import PROFILE, desired

CASES = Path(__file__).parent.parent / "cases" / "dockerhost"


def text(name: str) -> str:
    return (CASES / f"{name}.txt").read_text(encoding="utf-8")


def case(name: str) -> HostFacts:
    return host_facts(parse_sections(text(name)))


def test_a_bare_board() -> None:
    facts = case("debian-12-bare")
    assert (facts.family, facts.hostname) == ("debian", "odroid")
    assert facts.kernel == facts.default_kernel
    assert facts.kernel in facts.modules
    assert (facts.engine, facts.engine_runs, facts.docker_group) == (None, False, None)
    assert facts.mounts["/var/lib/docker"].encrypted
    assert facts.mounts["/var/lib/containerd"].encrypted
    assert not facts.mounts["/"].encrypted
    assert facts.audit is None
    assert facts.sshd is not None
    assert facts.sshd["passwordauthentication"] == "no"
    assert (facts.kernel_options or {})["OVERLAY_FS"] == "m"
    assert (facts.max_user_namespaces or 0) > 1000
    assert facts.files.links["/etc/localtime"] == "/usr/share/zoneinfo/UTC"
    assert facts.files.text("/etc/hostname") == "odroid\n"
    plan = plan_provision(desired(), facts)
    assert plan.packages is not None
    assert "docker.io" in plan.packages.install
    assert plan.packages.upgrade


def test_a_package_on_hold_is_installed_and_one_by_half_is_not() -> None:
    answer = text("debian-12-provisioned")
    assert answer.count("|ii  docker.io ") == 1
    held = host_facts(parse_sections(answer.replace("|ii  docker.io ", "|hi  docker.io ")))
    assert plan_provision(desired(), held).packages is None
    half = host_facts(parse_sections(answer.replace("|ii  docker.io ", "|iHR docker.io ")))
    packages = plan_provision(desired(), half).packages
    assert packages is not None
    assert packages.install == ("docker.io",)


def test_packages_that_were_begun_are_finished_even_if_none_is_missing() -> None:
    answer = text("debian-12-provisioned")
    begun = host_facts(
        parse_sections(answer.replace("|upgraded ", "|packages-begun yes\n|upgraded ", 1))
    )
    packages = plan_provision(desired(), begun).packages
    assert packages is not None
    assert (packages.install, packages.upgrade) == ((), False)
    assert packages.why == "an earlier run was interrupted"


def test_a_provisioned_board_has_nothing_left_to_do() -> None:
    facts = case("debian-12-provisioned")
    assert facts.engine is not None
    assert facts.engine.version.startswith("20.10.24")
    assert facts.engine.userns
    assert facts.engine.live_restore
    assert facts.accounts["dockremap"] > 0
    assert facts.docker_group == ()
    assert facts.engine_flags[0] == "/usr/sbin/dockerd"
    assert facts.unit("docker.service").enabled == "enabled"
    rules = rules_for(facts.audit or (), "/etc/docker/daemon.json", {})
    assert recorded(rules) == {"w", "a"}
    assert facts.modes["/run/docker.sock"].owner == "root:docker"
    assert facts.modes["/etc/docker"].kind == "directory"
    plan = plan_provision(desired(), facts)
    assert plan.nothing, [(step.name, step.says, step.paths) for step in plan.to_do]
    answered = {check for step in plan.steps for check in step.checks}
    assert {"2.2", "2.9", "2.14", "2.15", "1.1.3", "1.1.18", "3.1", "3.16"} <= answered


@pytest.mark.parametrize("name", [path.stem for path in sorted(CASES.glob("*.txt"))])
def test_an_answer_that_is_cut_short_is_an_error(name: str) -> None:
    whole = text(name)
    with pytest.raises(FailedError, match="cut short"):
        host_facts(parse_sections(whole[: len(whole) // 2]))


@given(st.data())
def test_whatever_a_board_answers_it_is_facts_or_an_error(data: st.DataObject) -> None:
    lines = text("debian-12-provisioned").splitlines()
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "twice", "text", "part"]))
        if change == "drop":
            del lines[at]
        elif change == "twice":
            lines.insert(at, lines[at])
        elif change == "text":
            lines[at] = "|" + data.draw(st.text(max_size=40))
        else:
            lines[at] = lines[at][: len(lines[at]) // 2]
    with contextlib.suppress(BootwrightError):
        plan_provision(desired(), host_facts(parse_sections("\n".join(lines))))


def test_the_script_is_whole_and_short_enough_for_one_argument() -> None:
    script = host_script(questions_for(PROFILE))
    # Every name of the template was filled in.
    assert not re.search(r"@\w+@", script)
    assert len(script) < 100_000  # One argument of a command holds 128 KiB.


@pytest.mark.parametrize("garbage", ["", "====", "AAAA", "not base64 !"])
def test_files_that_are_no_archive(garbage: str) -> None:
    with pytest.raises(FailedError, match="could not read the files"):
        parse_board_files(garbage)


@pytest.mark.parametrize("garbage", ["{", "[1]", '"x"', "7", "[" * 100_000])
def test_an_engine_that_answers_garbage(garbage: str) -> None:
    with pytest.raises(FailedError, match="docker info"):
        parse_engine(garbage)


def test_an_engine_that_does_not_answer() -> None:
    assert parse_engine("") is None
    assert parse_engine('{"ServerErrors": ["Cannot connect"]}') is None


def with_facts(*facts: str, **sections: str) -> HostFacts:
    """Return the facts of the provisioned board with further facts, and other sections."""
    found = text("debian-12-provisioned")
    for name, content in sections.items():
        lines = "".join(f"|{line}\n" for line in content.splitlines())
        found = re.sub(rf"\n== {name}\n(\|.*\n)*", "\n", found)
        found = found.replace("\n== end", f"\n== {name.replace('_', '-')}\n{lines}\n== end")
    more = "".join(f"\n|{fact}" for fact in facts)
    return host_facts(
        parse_sections(found.replace("\n|engine-runs yes", f"\n|engine-runs yes{more}"))
    )


@pytest.mark.parametrize(
    ("audit", "recording", "receiver"),
    [
        ("-w /etc/docker -p wa -k x\nenabled 1\npid 417", True, "auditd"),
        ("No rules\nenabled 0\npid 0", False, ""),
        ("No rules\nenabled 2", True, None),
    ],
)
def test_whether_the_kernel_records_and_for_whom(
    audit: str, recording: bool, receiver: str | None
) -> None:
    facts = with_facts(audit=audit, audit_receiver="auditd")
    assert facts.audit is not None
    assert (facts.audit_recording, facts.audit_receiver) == (recording, receiver)


def test_a_kernel_that_answers_nothing_about_audit() -> None:
    # With audit=0, an auditctl ends with 0 and has listed nothing.
    facts = with_facts(audit="", audit_error="The audit system is disabled")
    assert (facts.audit, facts.audit_recording) == (None, None)
    assert facts.audit_error == "The audit system is disabled"
    assert with_facts("audit-off audit=0").audit_impossible == "audit=0 is on its command line"
    unknown = with_facts(no_audit_watch="yes")
    assert unknown.audit_impossible == "it is built without CONFIG_AUDITSYSCALL"


UNIT = "Id=ssh.service\nActiveState=active\nStateChangeTimestampMonotonic=100000000"

UPTIME, NOW = "uptime 1000.25 1.00", 1796060551


@pytest.mark.parametrize(("changed", "unread"), [(3600, False), (60, True), (-60, False)])
@pytest.mark.parametrize("pid_file", [True, False])
def test_an_sshd_that_has_not_read_its_configuration(
    changed: int, unread: bool, pid_file: bool
) -> None:
    # sshd was started 900 s ago. Its file was changed so many seconds ago.
    times = f"{NOW - 5000} /etc/ssh/sshd_config\n{NOW - changed} /etc/ssh/sshd_config.d/a.conf"
    if pid_file:
        times += f"\n{NOW - 900} /run/sshd.pid"
    facts = with_facts(UPTIME, clock=str(NOW), file_times=times, units=UNIT)
    assert facts.sshd_unread is unread
    # A board that does not report its clock.
    assert not with_facts(UPTIME, file_times=times, units=UNIT).sshd_unread
    # We had it read exactly this.
    read = with_facts(UPTIME, clock=str(NOW), file_times=times, units=UNIT, sshd_read="yes")
    assert not read.sshd_unread


@pytest.mark.parametrize(("changed", "unread"), [("2026", False), ("later", True)])
def test_a_daemon_of_a_board_that_started_in_the_past(changed: str, unread: bool) -> None:
    # It was started 900 s ago, when the clock showed 1970; the clock is right now.
    unit = "Id=docker.service\nActiveState=active\nActiveEnterTimestampMonotonic=100000000"
    time = NOW - 86400 if changed == "2026" else NOW - 60
    times = f"100 /run/docker.pid\n{time} /etc/docker/daemon.json"
    named = (UPTIME, "unread daemon.json")
    facts = with_facts(*named, clock=str(NOW), file_times=times, units=unit)
    assert facts.unread is unread
    assert with_facts(*named).unread


def test_a_reload_by_somebody_does_not_count_as_reading_all_of_daemon_json() -> None:
    # It was started 900 s ago, its file was changed 60 s ago, and it was reloaded 30 s ago.
    unit = UNIT.replace("ssh.service", "docker.service").replace("100000000", "970000000")
    unit += "\nActiveEnterTimestampMonotonic=100000000"
    times = f"{NOW - 900} /run/docker.pid\n{NOW - 60} /etc/docker/daemon.json"
    named = (UPTIME, "unread daemon.json")
    assert with_facts(*named, clock=str(NOW), file_times=times, units=unit).unread


HEALTH = '"Healthcheck":{"Test":["CMD'


def test_health_checks_and_the_space_for_what_they_record() -> None:
    facts = with_facts(
        health_checks=f'{HEALTH}\n],"Interval":10000000000\n{HEALTH}\n{HEALTH}\n],"Interval":0',
        audit_space="Filesystem 1024-blocks Used Available Capacity Mounted on\n"
        "/dev/vda2 4000000 1 2000000 1% /\n5000\t/var/log/audit",
    )
    assert facts.health_checks_s == (10, 30, 30)
    assert facts.audit_space_kib == 2005000
    # Switched off for a container, whose image has an interval.
    off = HEALTH.replace("CMD", "NONE") + '\n],"Interval":1000000000'
    assert with_facts(health_checks=f"{HEALTH}\n{off}").health_checks_s == (30,)
    lacking = with_facts(missing_modules="known\nnft_compat").missing_modules
    assert lacking == frozenset(["nft_compat"])
    unknown = with_facts()
    assert unknown.missing_modules is None
    assert (unknown.health_checks_s, unknown.audit_space_kib) == ((), None)


@pytest.mark.parametrize(
    ("space", "kib"),
    [
        ("//server/my share 4000000 1 2000000 1% /var/log\n5000\t/var/log/audit", 2005000),
        ("server 4000000 1 - - /var/log\n5000\t/var/log/audit", None),
        ("/dev/vda2 4000000 1 2000000 1% /", None),
        ("", None),
    ],
)
def test_a_space_that_is_not_known(space: str, kib: int | None) -> None:
    head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
    assert with_facts(audit_space=head + space).audit_space_kib == kib


def test_what_the_engine_warned_of_when_it_was_proven() -> None:
    facts = with_facts("proven 417 20.10 20.11", "proven-warning No memory limit support")
    assert facts.proven == ("20.10", "20.11")
    assert facts.proven_warnings == ("No memory limit support",)
    found = parse_engine('{"ServerVersion": "28", "Warnings": ["WARNING: No swap  limit"]}')
    assert found is not None
    assert found.warnings == ("No swap limit",)
