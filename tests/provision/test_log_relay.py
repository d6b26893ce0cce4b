"""What is planned for a board whose logs are shipped."""

import base64
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bootwright.core.config import Logs
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.file_changes import FileChange, Removal
from bootwright.core.secret import Secret
from bootwright.hosts.board_files import BoardFile, BoardFiles
from bootwright.logs.relay_names import SERVICE, SOCKET
from bootwright.provision.desired_state import TlsFiles
from bootwright.provision.facts import HostFacts, host_facts
from bootwright.provision.log_relay import (
    CONFIG,
    KEY_FILE,
    LAST_WORDS,
    LAST_WORDS_SCRIPT,
    LINKS,
    SOCKET_UNIT,
    StartRelay,
)
from bootwright.provision.packages import packages_script, plan_packages
from bootwright.provision.plan import ProvisionPlan, plan_provision
from bootwright.provision.result import step_results
from bootwright.remote.sections import Section
from tests.provision.test_plan import converge, step
from tests.support.host_facts import desired, engine, stock

FILES = TlsFiles(b"ca\n", b"certificate\n", Secret(b"the private key\n"))


def shipping(server: str = "192.0.2.20", **more: Any) -> dict[str, Any]:
    target = desired().target.model_copy(update={"logs": Logs(server=server, **more)})
    return {"target": target, "logs": FILES}


def planned(facts: HostFacts, **want: Any) -> ProvisionPlan:
    return plan_provision(desired(**want), facts)


def text_of(plan: ProvisionPlan, path: str) -> str:
    found = [item for item in step(plan, "logs").changes if item.path == path]
    assert isinstance(found[0], FileChange)
    return found[0].data.decode()


def test_a_board_without_a_server_has_no_relay() -> None:
    plan = planned(stock())
    assert step(plan, "logs") == step(plan, "logs").__class__("logs")
    assert plan.daemon.values["log-driver"] == "local"
    assert "log-driver" in {waiver.key for waiver in plan.waived}


def test_a_server_gets_all_of_it_and_a_second_run_nothing() -> None:
    want = shipping()
    plan = planned(stock(), **want)
    relay = step(plan, "logs")
    assert relay.checks == ("2.13",)
    assert "log-driver" not in {waiver.key for waiver in plan.waived}
    assert plan.daemon.values["log-driver"] == "syslog"
    options = plan.daemon.values["log-opts"]
    assert options["syslog-address"] == f"unixgram://{SOCKET}"
    assert set(options) == {
        *("syslog-address", "syslog-format", "tag", "cache-max-size", "cache-max-file"),
    }
    assert plan.notes == ()
    config = text_of(plan, CONFIG)
    assert 'url("https://192.0.2.20:6515/v1/records")' in config
    assert "disk-buf-size(268435456)" in config
    # The relay is there before the daemon logs to it.
    names = [step.name for step in plan.steps]
    assert names.index("logs") < names.index("daemon")
    assert relay.actions[-1] == StartRelay((SOCKET_UNIT, LAST_WORDS), restart=True)
    keys = [item for item in relay.changes if item.path == KEY_FILE]
    assert isinstance(keys[0], FileChange)
    assert keys[0].mode == 0o400
    assert "the private key" not in repr(plan)
    assert planned(converge(stock(), **want), **want).nothing


def test_no_server_any_more_takes_it_away_after_the_daemon_has_let_go() -> None:
    board = converge(stock(), **shipping())
    plan = planned(board)
    relay = step(plan, "logs")
    gone = {item.path for item in relay.changes if isinstance(item, Removal)}
    assert {CONFIG, KEY_FILE, *LINKS} <= gone
    shown = {line for result in step_results(plan, board.files) for line in result.says}
    assert {f"remove {CONFIG}", "write /etc/docker/daemon.json"} <= shown
    assert plan.daemon.values["log-driver"] == "local"
    names = [step.name for step in plan.steps]
    assert names.index("daemon") < names.index("logs")
    assert planned(converge(board)).nothing


def test_a_new_certificate_restarts_the_relay_alone() -> None:
    board = converge(stock(), **shipping())
    renewed = TlsFiles(b"ca\n", b"another\n", Secret(b"another key\n"))
    plan = planned(board, **{**shipping(), "logs": renewed})
    (only,) = plan.to_do
    assert only.name == "logs"
    assert only.actions == (StartRelay((), restart=True),)


def test_a_relay_that_does_not_run_is_started() -> None:
    board = converge(stock(), **shipping())
    units = {name: unit for name, unit in board.units.items() if name != SERVICE}
    (only,) = planned(replace(board, units=units), **shipping()).to_do
    assert (only.name, only.changes) == ("logs", ())


def test_the_relay_leaves_a_volume_closed_that_somebody_opens_over_ssh() -> None:
    unit = f"/etc/systemd/system/{SERVICE}"
    serial = text_of(planned(stock(), **shipping()), unit)
    assert "RequiresMountsFor=/mnt/docker-data\n" in serial
    assert "AssertPathIsMountPoint=/mnt/docker-data\n" in serial
    assert "StateDirectory=bootwright/logs\n" in serial
    want = shipping()
    over_ssh = want["target"].model_copy(update={"unlock": "ssh"})
    ssh = text_of(planned(stock(), **{**want, "target": over_ssh}), unit)
    # Either would have systemd open the volume at boot, and wait for it.
    assert "RequiresMountsFor" not in ssh
    assert "AssertPath" not in ssh
    assert "After=mnt-docker\\x2ddata.mount\n" in ssh
    assert "ConditionPathIsMountPoint=/mnt/docker-data\n" in ssh


def test_a_log_driver_of_the_targets_own_is_kept() -> None:
    plan = planned(
        stock(),
        logs=FILES,
        target=desired({"daemon": {"log-driver": "journald"}}).target.model_copy(
            update={"logs": Logs(server="192.0.2.20")}
        ),
    )
    assert plan.daemon.values["log-driver"] == "journald"
    assert step(plan, "logs").changes


@pytest.mark.parametrize("transport", ["tls", "tcp", "udp"])
def test_other_transports(transport: str) -> None:
    config = text_of(planned(stock(), **shipping(transport=transport, port=1514)), CONFIG)
    assert f'transport("{transport}")' in config
    assert "port(1514)" in config
    assert ("cert-file(" in config) == (transport == "tls")


def test_an_address_of_ipv6_is_written_as_urls_want_it() -> None:
    config = text_of(planned(stock(), **shipping("2001:db8::20")), CONFIG)
    assert 'url("https://[2001:db8::20]:6515/v1/records")' in config


def test_a_queue_that_is_too_small_is_refused() -> None:
    with pytest.raises(InputError, match=r"targets\.odroid\.logs: queue: at least 1\.0 MiB"):
        planned(stock(), **shipping(queue="512KiB"))


def test_packages_are_for_who_ships_logs_only() -> None:
    packages = dict.fromkeys(
        ("docker.io", "docker-cli", "auditd", "apparmor", "ca-certificates", "systemd-timesyncd"),
        "1",
    )
    board = stock(packages=packages)
    assert plan_packages(desired(), board) is None
    plan = plan_packages(desired(**shipping()), board)
    assert plan is not None
    assert plan.install == ("syslog-ng-core", "syslog-ng-mod-http")
    assert "/etc/systemd/system/syslog-ng.service" in packages_script(plan)


def test_containers_that_keep_their_old_driver_are_told() -> None:
    board = stock(engine=engine(containers=2))
    (said,) = [text for text in planned(board, **shipping()).warnings if "create them anew" in text]
    assert said.startswith(
        "2 containers keep the log driver that they were created with (json-file)"
    )
    assert not any("create them anew" in text for text in planned(board).warnings)


def test_another_syslog_daemon_is_not_taken_away() -> None:
    board = stock()
    rival = replace(board, packages={"rsyslog": "8", "docker.io": "1"})
    with pytest.raises(RefusedError, match="apt-get remove rsyslog"):
        planned(rival, **shipping())
    assert planned(rival).packages is not None
    both = replace(board, packages={**board.packages, "rsyslog": "8"})
    assert planned(both, **shipping()).packages is None


FIGURES = """\
SourceName;SourceId;SourceInstance;State;Type;Number
dst.http;collector#0;http,https://192.0.2.20:6515/v1/records;a;dropped;3312
dst.http;collector#0;http,https://192.0.2.20:6515/v1/records;a;queued;12691
global;scratch_buffers_count;;a;queued;7
"""


def test_what_the_relay_tells_is_reported() -> None:
    sections = [
        Section("host", ("kernel 6.1.0", "os-ID debian")),
        Section("relay", tuple(FIGURES.splitlines())),
        Section("files", (base64.b64encode(bytes(10240)).decode(),)),
    ]
    facts = host_facts(sections)
    assert (facts.relay_dropped, facts.relay_queued) == (3312, 12691)
    board = replace(converge(stock(), **shipping()), relay_dropped=3312, relay_queued=12691)
    warnings = planned(board, **shipping()).warnings
    assert any("3312 log records were lost" in text for text in warnings)
    assert any("12691 log records wait" in text for text in warnings)


def test_containers_end_with_docker_by_a_file_that_only_covers_daemon_json(tmp_path: Path) -> None:
    """The script is run on files of the test's own, with the commands of a board around it."""
    script = text_of(planned(stock(), **shipping()), LAST_WORDS_SCRIPT)
    written = planned(stock(), **shipping()).daemon.text
    (tmp_path / "daemon.json").write_text(written)
    script = script.replace("/etc/docker/daemon.json", str(tmp_path / "daemon.json"))
    script = script.replace("/run/bootwright-daemon.json", str(tmp_path / "shown"))
    tools = {
        "systemctl": f'[ "$1" = is-system-running ] && echo stopping || echo "$@" >>{tmp_path}/did',
        "mount": f'echo "$@" >>{tmp_path}/did',
        "docker": "echo false",
    }
    for name, text in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", script], check=True, env=env)
    assert (tmp_path / "daemon.json").read_text() == written
    shown = json.loads((tmp_path / "shown").read_text())
    assert shown == {**json.loads(written), "live-restore": False, "shutdown-timeout": 60}
    assert (tmp_path / "did").read_text().splitlines() == [
        f"--bind {tmp_path}/shown {tmp_path}/daemon.json",
        "kill --kill-who=main --signal=HUP docker.service",
    ]
    # Somebody restarts the unit: nothing happens.
    (tmp_path / "did").unlink()
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho running\n")
    subprocess.run(["sh", "-c", script], check=True, env=env)
    assert not (tmp_path / "did").exists()


def test_who_takes_the_relay_away_is_reported_of_containers_that_log_to_it() -> None:
    board = stock(engine=engine(containers=2))
    relay = BoardFiles({CONFIG: BoardFile(b"", 0o644, 0, 0)}, {})
    there = replace(board, files=relay)
    says = step(planned(there), "logs").says
    assert any("create anew the containers" in text for text in says), says
    none = replace(there, engine=engine(containers=0))
    assert not any("create anew" in text for text in step(planned(none), "logs").says)
