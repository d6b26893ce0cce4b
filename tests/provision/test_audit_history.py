"""auditd's limits are raised so that a day of records is kept, and never lowered."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.core.file_changes import FileChange
from bootwright.core.shell import render
from bootwright.hosts.board_files import BoardFile, BoardFiles
from bootwright.hosts.systemd_units import HostUnit
from bootwright.provision.actions import ReloadAuditd, StartAuditd
from bootwright.provision.audit_history import AUDITD_CONF, day_mib, plan_history
from bootwright.provision.facts import HostFacts
from bootwright.provision.plan import plan_provision
from tests.provision.test_plan import converge, step
from tests.support.host_facts import PROFILE, desired, stock

HISTORY = PROFILE.audit.history

DEBIAN = """\
log_file = /var/log/audit/audit.log
max_log_file = 8
num_logs = 5
##num_logs = 7
max_log_file_action = ROTATE
space_left = 75
"""


def board(
    text: str = DEBIAN, checks: tuple[float, ...] = (), space_mib: int | None = 20_000
) -> HostFacts:
    facts = converge(stock())
    file = BoardFile(text.encode(), 0o640, 0, 4)
    files = BoardFiles({**facts.files.files, AUDITD_CONF: file}, facts.files.links)
    space = None if space_mib is None else space_mib * 1024
    return replace(facts, files=files, health_checks_s=checks, audit_space_kib=space)


def limits(change: FileChange | None) -> tuple[int, int]:
    """Return the size and the number of files that a new auditd.conf has."""
    assert change is not None
    lines = dict(line.split(" = ") for line in change.data.decode().splitlines() if " = " in line)
    assert lines["max_log_file_action"] == "ROTATE"
    assert lines["space_left"] == "75"
    return int(lines["max_log_file"]), int(lines["num_logs"])


def after(facts: HostFacts, change: FileChange) -> HostFacts:
    """Return the facts with the new file in place."""
    file = BoardFile(change.data, change.mode, change.uid, change.gid)
    return replace(
        facts, files=BoardFiles({**facts.files.files, AUDITD_CONF: file}, facts.files.links)
    )


def test_what_a_container_adds_that_is_checked_twice_a_minute() -> None:
    # As it was seen: 90 KB a minute.
    assert day_mib(HISTORY, [30.0]) == pytest.approx(8 + 90_000 * 1440 / 2**20)


def test_a_day_is_kept_whatever_file_was_just_begun() -> None:
    facts = board(checks=(30.0, 10.0))
    change = plan_history(HISTORY, facts).change
    size, files = limits(change)
    assert size * (files - 1) >= day_mib(HISTORY, facts.health_checks_s)
    assert change is not None
    # auditd reads no file of another owner or mode than it had.
    assert (change.mode, change.uid, change.gid) == (0o640, 0, 4)
    assert b"##num_logs = 7\n" in change.data
    # That is all, also if there is a little less space or another check a minute.
    other = replace(after(facts, change), audit_space_kib=19_000 * 1024)
    assert plan_history(HISTORY, other).change is None
    other = replace(other, health_checks_s=(30.0, 10.0, 60.0))
    assert plan_history(HISTORY, other).change is None


def test_without_health_checks_what_is_usual_is_enough() -> None:
    assert plan_history(HISTORY, board()) == plan_history(HISTORY, stock())
    assert plan_history(HISTORY, board()).change is None


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        (DEBIAN.replace("max_log_file = 8", "max_log_file = 500"), True),
        (DEBIAN.replace("ROTATE", "keep_logs"), True),
        (DEBIAN.replace("num_logs = 5", "num_logs = 99"), True),
        # Without rotation, nothing is removed.
        (DEBIAN.replace("num_logs = 5", "num_logs = 0"), True),
        ("", True),
        (DEBIAN.replace("num_logs = 5", "num_logs = 15"), False),
    ],
)
def test_larger_values_of_the_operator_stay(text: str, stays: bool) -> None:
    change = plan_history(HISTORY, board(text, (30.0,))).change
    assert (change is None) is stays
    if change is not None:
        assert limits(change)[1] == 15


def test_auditd_goes_on_when_its_files_are_full() -> None:
    text = DEBIAN.replace("ROTATE", "SUSPEND")
    assert limits(plan_history(HISTORY, board(text)).change) == (8, 5)


def test_no_more_than_a_part_of_the_free_space_and_that_is_reported() -> None:
    facts = board(checks=(5.0,), space_mib=1000)
    plan = plan_history(HISTORY, facts)
    size, files = limits(plan.change)
    assert size * files <= 250
    (warning,) = plan.warnings
    assert "not 24 h" in warning
    assert plan.change is not None
    # The space that the files take is counted as free, so it stays as it is.
    again = plan_history(HISTORY, replace(after(facts, plan.change), audit_space_kib=1_100_000))
    assert (again.change, len(again.warnings)) == (None, 1)
    # Nothing can be done on a card that is full.
    full = plan_history(HISTORY, board(checks=(5.0,), space_mib=100))
    assert (full.change, len(full.warnings)) == (None, 1)


def test_a_size_that_is_written_in_capitals_is_found(tmp_path: Path) -> None:
    conf = tmp_path / "auditd.conf"
    conf.write_text("MAX_LOG_FILE = 19\n")
    programs = "systemctl() { :; }\nsleep() { :; }\ncat() { echo 'max log size = 19456 KB'; }\n"
    script = render("provision/shell/actions.sh", sshd_read_file="", sshd_pid_file="")
    for shell in (["dash"], ["busybox", "sh"]):
        argv = [*shell, "-c", f"{programs}{script}reload_auditd {conf}"]
        assert subprocess.run(argv).returncode == 0


@pytest.mark.parametrize(
    ("text", "space_mib"),
    [(DEBIAN, None), (DEBIAN.replace("/var/log/audit/", "/data/"), 20_000)],
)
def test_nothing_is_raised_without_knowing_the_space(text: str, space_mib: int | None) -> None:
    plan = plan_history(HISTORY, board(text, (5.0,), space_mib))
    assert plan.change is None
    (warning,) = plan.warnings
    assert "how much space is free for its files is not known" in warning


def test_a_file_that_an_auditd_with_32_bits_cannot_write_is_not_asked_for() -> None:
    facts = board(checks=(30.0,) * 200, space_mib=2_000_000)
    size, files = limits(plan_history(HISTORY, facts).change)
    assert size <= 1024
    assert size * (files - 1) >= day_mib(HISTORY, facts.health_checks_s)


def test_other_lines_stay_byte_by_byte() -> None:
    conf = b"# Gr\xf6\xdfe\f max_log_file = 3\nmax_log_file = 8\nnum_logs = 5\n"
    conf += b"max_log_file_action = ROTATE"
    facts = board(checks=(30.0,))
    changed = BoardFiles({AUDITD_CONF: BoardFile(conf, 0o640, 0, 0)}, {})
    change = plan_history(HISTORY, replace(facts, files=changed)).change
    assert change is not None
    first, _, _, last = change.data.split(b"\n")
    assert (first, last) == tuple(conf.split(b"\n")[::3])
    # A file that needs nothing is not written for the sake of its last line.
    full = replace(facts, files=changed, audit_space_kib=1)
    assert plan_history(HISTORY, full).change is None


@pytest.mark.parametrize("active", ["active", "inactive", "failed"])
def test_the_plan_shows_it_and_auditd_reads_it(active: str) -> None:
    facts = board(checks=(30.0,))
    unit = HostUnit("loaded", active, "enabled")
    facts = replace(facts, units={**facts.units, "auditd.service": unit})
    audit = step(plan_provision(desired(), facts), "audit")
    if active == "failed":
        assert not audit.changed
        return
    assert audit.paths == (AUDITD_CONF,)
    running = (ReloadAuditd(AUDITD_CONF),)
    assert audit.actions == (running if active == "active" else (StartAuditd(),))
    assert audit.says[0].startswith("auditd keeps 10 files of ")


@pytest.mark.parametrize(
    ("state", "well"),
    [
        ("max log size = 19456 KB", True),
        # From audit 4.1 on.
        ("max log size = 19456 KiB", True),
        ("max log size = 8192 KB", False),
        ("max log size = 8192 KiB", False),
        # auditd before 2.8 reports nothing; with write_logs = no the sizes are left out.
        ("", True),
        ("writing to logs = no", True),
    ],
)
def test_auditd_has_read_its_configuration_when_its_report_shows_it(
    tmp_path: Path, state: str, well: bool
) -> None:
    conf = tmp_path / "auditd.conf"
    conf.write_text(DEBIAN.replace("max_log_file = 8", "max_log_file = 19"))
    programs = f"""
    systemctl() {{ signals="$signals $3"; }}
    sleep() {{ :; }}
    cat() {{ [ -z "{state}" ] || printf 'current log size = 12 KB\\n%s\\n' "{state}"; }}
    """
    script = render("provision/shell/actions.sh", sshd_read_file="", sshd_pid_file="")
    call = f"reload_auditd {conf} && echo $signals"
    done = subprocess.run(
        ["dash", "-c", f"{programs}{script}{call}"], capture_output=True, text=True
    )
    if well:
        assert done.stdout.startswith("auditd.service --signal=HUP --signal=CONT")
    else:
        assert done.returncode == 1
        assert f"auditd does not read {conf} again" in done.stdout
