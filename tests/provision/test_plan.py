"""What is planned for a board: its steps, from its facts and a target's desired."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from bootwright.core.errors import FailedError, RefusedError
from bootwright.core.file_changes import FileChange, Removal, SymlinkChange
from bootwright.core.secret import Secret
from bootwright.hosts.audit_rules import WatchedPath
from bootwright.hosts.board_files import BoardFiles
from bootwright.hosts.file_modes import PathMode
from bootwright.hosts.systemd_units import HostUnit
from bootwright.logs.relay_names import SERVICE
from bootwright.provision.actions import (
    Check,
    RestartDocker,
)
from bootwright.provision.audit_steps import AUDIT_RULES
from bootwright.provision.desired_state import TlsFiles
from bootwright.provision.docker_steps import OUR_KEYS, SERVICE_DROP_IN, service_command
from bootwright.provision.facts import HostFacts, Mounted
from bootwright.provision.log_relay import LAST_WORDS, SOCKET_UNIT, StartRelay, StopRelay
from bootwright.provision.packages import needs_reboot, plan_packages
from bootwright.provision.plan import ProvisionPlan, plan_provision, versions_of
from bootwright.provision.steps import Step, diff_of, written_files
from tests.support.host_facts import DATA, PROFILE, board_file, desired, engine, stock


def step(plan: ProvisionPlan, name: str) -> Step:
    return next(step for step in plan.steps if step.name == name)


def converge(facts: HostFacts, **want: Any) -> HostFacts:
    """Return the facts after a plan for them was carried out, as far as files go."""
    plan = plan_provision(desired(**want), facts)
    files, links, modes = dict(facts.files.files), dict(facts.files.links), dict(facts.modes)
    digests = dict(facts.digests)
    watched = list(facts.audit or ())
    for item in (item for step in plan.steps for item in step.changes):
        if isinstance(item, FileChange):
            files[item.path] = board_file(item.data.decode(), item.mode)
            modes.setdefault(item.path, PathMode(item.path, item.mode, "root:root", "regular file"))
            if isinstance(item.content, Secret):
                digests[item.path] = sha256(item.data).hexdigest()
        elif isinstance(item, SymlinkChange):
            links[item.path] = item.target
        elif isinstance(item, Removal):
            for there in (files, links, digests):
                there.pop(item.path, None)
    for fix in (fix for step in plan.steps for fix in step.fixes):
        modes[fix.was.path] = replace(fix.was, mode=fix.mode, owner=fix.owner)
    rules = files[AUDIT_RULES].text.splitlines() if AUDIT_RULES in files else []
    for rule in rules:
        words = rule.replace("path=", "path= ").replace("perm=", "perm= ").split()
        if rule.startswith("-w"):
            watched.append(WatchedPath(words[1], frozenset(words[3])))
        elif rule.startswith("-a"):
            watched.append(WatchedPath(words[4], frozenset(words[7])))
    running = engine(
        live_restore=True,
        log_driver=plan.daemon.values["log-driver"],
        security=("name=seccomp,profile=default", "name=userns"),
    )
    units = dict(facts.units)
    units["docker.service"] = replace(
        facts.unit("docker.service"), active="active", enabled="enabled"
    )
    for action in step(plan, "logs").actions:
        if isinstance(action, StartRelay):
            names = (*action.start, *([SERVICE] if action.restart else []))
            units |= dict.fromkeys(names, HostUnit("loaded", "active"))
        elif isinstance(action, StopRelay):
            names = (SERVICE, SOCKET_UNIT, LAST_WORDS)
            units |= dict.fromkeys(names, HostUnit("loaded", "inactive"))
    units["systemd-timesyncd.service"] = HostUnit("loaded", "active", "enabled")
    return replace(
        facts,
        files=BoardFiles(files, links),
        modes=modes,
        digests=digests,
        audit=tuple(watched) if rules else facts.audit,
        engine=running,
        engine_runs=True,
        units=units,
        accounts={**facts.accounts, "dockremap": 998},
        hostname=want.get("hostname", "odroid"),
        sshd={**(facts.sshd or {}), "passwordauthentication": "no"},
    )


def test_a_stock_board_gets_all_of_it_and_a_converged_one_nothing() -> None:
    first = plan_provision(desired(), stock())
    assert [item.name for item in first.to_do] == ["mount", "userns", "daemon", "audit"]
    assert first.packages is None
    after = plan_provision(desired(), converge(stock()))
    assert after.nothing, [(item.name, item.says, item.paths) for item in after.to_do]
    assert after.warnings == ()
    assert after.notes == ()


@pytest.mark.parametrize(
    "different",
    [
        {"unread": True},
        {"engine": engine(live_restore=False, log_driver="local", security=("name=userns",))},
        {"engine": None, "engine_runs": False},
        {"audit": ()},
        {"modes": {"/etc/docker": PathMode("/etc/docker", 0o777, "root:root", "directory")}},
        {"accounts": {}},
        {"sshd": {"passwordauthentication": "yes", "permitrootlogin": "without-password"}},
        {"sshd": {"passwordauthentication": "no", "permitrootlogin": "yes"}},
        {"hostname": "alarm"},
        {"sshd_unread": True},
    ],
    ids=lambda different: next(iter(different)),
)
def test_whatever_somebody_changed_since_is_mended(different: dict[str, Any]) -> None:
    facts = converge(stock())
    modes = {**facts.modes, **different.get("modes", {})}
    plan = plan_provision(desired(), replace(facts, **{**different, "modes": modes}))
    assert len(plan.to_do) == 1, [item.name for item in plan.to_do]


def test_an_edited_file_is_mended_and_its_diff_shows_how() -> None:
    facts = converge(stock())
    files = dict(facts.files.files)
    path = "/etc/docker/daemon.json"
    files[path] = board_file(files[path].text.replace('"icc": false', '"icc": true'))
    changed = replace(facts, files=BoardFiles(files, facts.files.links))
    plan = plan_provision(desired(), changed)
    daemon = step(plan, "daemon")
    assert '-  "icc": true,' in diff_of(changed.files, daemon)
    assert '+  "icc": false,' in diff_of(changed.files, daemon)
    assert daemon.actions[-1] == RestartDocker()


def test_on_a_board_without_docker_everything_is_planned_and_checked_beforehand() -> None:
    packages = {name: v for name, v in stock().packages.items() if name != "docker.io"}
    bare = stock(
        packages=packages,
        engine=None,
        engine_runs=False,
        engine_flags=(),
        units={},
        docker_group=None,
        upgraded="",
    )
    plan = plan_provision(desired(), bare)
    assert plan.packages is not None
    assert (plan.packages.install, plan.packages.upgrade) == (("docker.io",), True)
    with pytest.raises(RefusedError, match="nothing was changed") as error:
        plan_provision(desired({"daemon": {"disable-legacy-registry": True}}), bare)
    assert "v1 registry" in str(error.value)


def test_the_running_daemon_and_the_next_start_are_both_checked() -> None:
    moved = "/usr/sbin/dockerd -H fd:// --data-root=/srv/docker"
    unit = stock().units["docker.service"]
    for facts in (
        stock(engine_flags=tuple(moved.split())),
        stock(units={**stock().units, "docker.service": replace(unit, command=moved)}),
        # Not read by the daemon that runs, which was started before.
        stock({"/etc/default/docker": "#DOCKER_OPTS=\nDOCKER_OPTS='-D -g /srv/docker'\n"}),
    ):
        with pytest.raises(RefusedError) as error:
            plan_provision(desired(), facts)
        assert str(error.value).count("/srv/docker is not on the encrypted volume") == 1


def test_an_address_in_docker_opts_is_in_the_way_of_one_in_daemon_json() -> None:
    want = desired({"api": "tcp://192.0.2.10:2376"}, tls=TLS)
    with pytest.raises(RefusedError, match="hosts: the daemon is started with a flag for it"):
        plan_provision(want, stock({"/etc/default/docker": 'DOCKER_OPTS="-H tcp://:2375"\n'}))
    plan_provision(want, stock({"/etc/default/docker": 'DOCKER_OPTS="--debug"\n'}))
    continued = 'DOCKER_OPTS="--debug \\\n  -H tcp://:2375"\n'
    with pytest.raises(RefusedError, match="hosts: the daemon is started with a flag for it"):
        plan_provision(want, stock({"/etc/default/docker": continued}))


def test_a_flag_that_was_removed_from_the_unit_takes_a_restart_of_docker() -> None:
    running = (*stock().engine_flags, "--icc=true")
    with pytest.raises(RefusedError) as error:
        plan_provision(desired(), stock(engine_flags=running))
    assert "icc: the daemon is started with a flag" in str(error.value)
    assert "restart Docker" in str(error.value)
    assert "remove the flag" not in str(error.value)
    unit = replace(stock().units["docker.service"], command=" ".join(running))
    units = {**stock().units, "docker.service": unit}
    with pytest.raises(RefusedError, match="remove the flag there") as error:
        plan_provision(desired(), stock(engine_flags=running, units=units))
    assert "restart Docker" not in str(error.value)


def test_a_wrong_type_in_daemon_json_is_refused_and_not_our_bug() -> None:
    for value in ("5", '"opa"', "[1]"):
        own = stock({"/etc/docker/daemon.json": f'{{"authorization-plugins": {value}}}'})
        with pytest.raises(RefusedError, match=r"authorization-plugins: .* is no list of texts"):
            plan_provision(desired(), own)


def test_upgrades_happen_once_and_when_asked_for() -> None:
    assert plan_packages(desired(), stock()) is None
    never = plan_packages(desired(), stock(upgraded=""))
    assert never is not None
    assert never.upgrade
    asked = plan_packages(desired(upgrade=True), stock())
    assert asked is not None
    assert asked.upgrade
    # With pacman always everything: a partial upgrade is not supported.
    arch = stock(family="arch", packages={"audit": "4.0-1"})
    missing = plan_packages(desired(), arch)
    assert missing is not None
    assert missing.install == ("docker", "ca-certificates")
    assert missing.upgrade


def test_what_could_not_be_fetched_then_is_said_at_every_run() -> None:
    plan = plan_provision(desired(), stock(upgraded="2026-11-25 bookworm-security"))
    assert "without bookworm-security" in plan.warnings[0]
    assert "--upgrade" in plan.warnings[0]


@pytest.mark.parametrize(
    ("different", "why"),
    [
        ({}, ""),
        ({"modules": ("6.12.1-1-ARCH",), "default_kernel": None}, "are gone"),
        ({"default_kernel": "6.1.0-51-armmp-lpae"}, "6.1.0-51-armmp-lpae is installed"),
        ({"modules": (), "default_kernel": None}, ""),
    ],
)
def test_a_new_kernel_needs_a_restart(different: dict[str, Any], why: str) -> None:
    facts = stock(**different)
    assert why in needs_reboot(facts)
    assert bool(needs_reboot(facts)) == bool(why)
    plan = plan_provision(desired(), facts)
    assert bool(plan.reboot) == bool(why)
    if why:
        quiet = plan_provision(desired(reboot=False), facts)
        assert not quiet.reboot
        assert any(why in warning for warning in quiet.warnings)


def test_a_kernel_that_never_comes_up_is_not_tried_for_ever() -> None:
    facts = stock(default_kernel="6.1.0-51-armmp-lpae", rebooted_for="6.1.0-51-armmp-lpae")
    plan = plan_provision(desired(), facts)
    assert not plan.reboot
    assert any("although it was restarted for it" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("different", "error", "said"),
    [
        ({"family": None}, FailedError, "neither Debian"),
        ({"tools": frozenset({"apt-get"})}, FailedError, "systemctl"),
        ({"mounts": {"/": Mounted(("ro",), None)}}, FailedError, "read-only"),
        ({"mounts": {"/": Mounted(("rw",), None)}}, RefusedError, "not mounted.*inv unlock"),
        (
            {"mounts": {"/var/lib/docker": Mounted(("rw",), None), "/var/lib/containerd": DATA}},
            RefusedError,
            "unencrypted device",
        ),
        ({"mounts": {"/var/lib/docker": DATA}}, RefusedError, "/var/lib/containerd is not mounted"),
        (
            {"engine": None, "engine_error": "context deadline exceeded"},
            FailedError,
            "does not answer .context deadline exceeded",
        ),
        ({"sshd": None, "sshd_error": "no hostkeys"}, RefusedError, "no hostkeys"),
        ({"kernel_options": {}}, RefusedError, "the kernel lacks CONFIG_"),
        ({"audit_locked": True}, RefusedError, "-e 2"),
    ],
)
def test_a_board_that_cannot_be_worked_with(
    different: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        plan_provision(desired(), stock(**different))


def test_a_file_that_is_a_link_is_not_replaced() -> None:
    facts = stock()
    links = {**facts.files.links, "/etc/docker/daemon.json": "/srv/daemon.json"}
    linked = replace(facts, files=BoardFiles(facts.files.files, links))
    with pytest.raises(RefusedError, match=r"daemon\.json is a symbolic link to /srv/daemon\.json"):
        plan_provision(desired(), linked)


def test_a_kernel_that_does_not_tell_is_a_warning() -> None:
    plan = plan_provision(desired(), stock(kernel_options=None))
    assert any("could not read the kernel's configuration" in warning for warning in plan.warnings)


def test_a_missing_option_counts_only_where_it_is_needed() -> None:
    known = dict(stock().kernel_options or {})
    del known["USER_NS"]
    with pytest.raises(RefusedError, match="CONFIG_USER_NS"):
        plan_provision(desired(), stock(kernel_options=known))
    plan = plan_provision(
        desired({"daemon": {"userns-remap": ""}}),
        stock(kernel_options=known, max_user_namespaces=None),
    )
    assert any("CONFIG_USER_NS" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("different", "hides_data"),
    [
        ({}, False),
        ({"engine": engine(images=1)}, True),
        ({"engine": engine(containers=1)}, True),
        ({"engine": engine(images=3, security=("name=userns", "name=seccomp"))}, False),
        (
            {
                "engine": None,
                "engine_runs": False,
                "stored_containers": ("/var/lib/docker/containers/0123/",),
            },
            True,
        ),
        (
            {
                "engine": None,
                "engine_runs": False,
                "stored_containers": ("/var/lib/docker/165536.165536/containers/0123/",),
            },
            False,
        ),
    ],
)
def test_data_that_will_seem_to_vanish(different: dict[str, Any], hides_data: bool) -> None:
    assert plan_provision(desired(), stock(**different)).hides_data == hides_data


TLS = TlsFiles(b"ca\n", b"certificate\n", Secret(b"the private key\n"))


def test_the_remote_api_only_with_certificates() -> None:
    want: dict[str, Any] = {"docker": {"api": "tcp://192.0.2.10:2376"}, "tls": TLS}
    plan = plan_provision(desired(**want), stock())
    tls, daemon = step(plan, "tls"), step(plan, "daemon")
    assert [(item.path, getattr(item, "mode", 0)) for item in tls.changes] == [
        ("/etc/docker/tls/ca.pem", 0o444),
        ("/etc/docker/tls/server-cert.pem", 0o444),
        ("/etc/docker/tls/server-key.pem", 0o400),
    ]
    drop_in = next(item for item in daemon.changes if item.path == SERVICE_DROP_IN)
    assert isinstance(drop_in, FileChange)
    text = drop_in.data.decode()
    assert "ExecStart=\nExecStart=/usr/sbin/dockerd --containerd=" in text
    assert "-H" not in text
    shown = "".join(diff_of(stock().files, item) for item in plan.to_do)
    assert "the private key" not in shown + repr(plan)
    assert "/etc/docker/tls/server-key.pem: ***" in shown
    after = converge(stock(), **want)
    assert plan_provision(desired(**want), after).nothing
    # Another key for the same board: the daemon has to be started again.
    other = replace(TLS, certificate=b"new\n", key=Secret(b"another key\n"))
    renewed = plan_provision(desired(docker=want["docker"], tls=other), after)
    assert [item.name for item in renewed.to_do] == ["tls", "daemon"]
    assert step(renewed, "daemon").actions == (RestartDocker(),)


@pytest.mark.parametrize(
    "vendor",
    [
        "/usr/bin/dockerd -H fd:// --containerd=/run/c.sock",
        "/usr/bin/dockerd --host=fd:// --containerd=/run/c.sock",
        "/usr/bin/dockerd --host fd:// --containerd=/run/c.sock",
        "/usr/bin/dockerd -Hfd:// --containerd=/run/c.sock",
        "/usr/bin/dockerd --containerd=/run/c.sock",
    ],
)
def test_the_address_is_taken_off_the_command_line(vendor: str) -> None:
    plan = plan_provision(desired({"api": "tcp://192.0.2.10:2376"}, tls=TLS), stock())
    assert service_command(plan.daemon, vendor) == "/usr/bin/dockerd --containerd=/run/c.sock"
    assert service_command(plan_provision(desired(), stock()).daemon, vendor) == ""


def test_an_operators_keys_are_told_from_ours() -> None:
    own = stock({"/etc/docker/daemon.json": '{"dns": ["192.0.2.53"]}\n'})
    plan = plan_provision(desired(), own)
    record = next(item for item in step(plan, "daemon").changes if item.path == OUR_KEYS)
    assert isinstance(record, FileChange)
    assert "icc" in record.data.decode().split()
    assert "dns" not in record.data.decode().split()


UNIT = "/etc/systemd/system/docker.service"


def test_data_in_other_folders_vanishes_too() -> None:
    remapped = engine(images=1, security=("name=userns", "name=seccomp"))
    other = stock({"/etc/docker/daemon.json": '{"userns-remap": "mia"}'}, engine=remapped)
    ids = "user namespaces of default in place of those of mia"
    assert plan_provision(desired(), other).hidden == (ids,)
    same = stock({"/etc/docker/daemon.json": '{"userns-remap": "default"}'}, engine=remapped)
    assert not plan_provision(desired(), same).hides_data
    driver = engine(images=1, security=remapped.security, storage_driver="btrfs")
    (why,) = plan_provision(desired(), stock(engine=driver)).hidden
    assert why.startswith("the storage driver overlay2 in place of btrfs")
    assert 'daemon.storage-driver = "btrfs"' in why
    both = plan_provision(desired(), stock(engine=engine(images=1, storage_driver="btrfs")))
    assert both.hidden == ("user namespaces switched on", why)


def test_a_private_file_stays_private_and_its_bytes_what_they_are() -> None:
    path, hosts = "/etc/docker/daemon.json", b"127.0.0.1 localhost\n192.0.2.7 m\xfcller\n"
    text = '{"proxies": {"http-proxy": "http://user:word@192.0.2.1"}}'
    facts = stock({path: text}, engine=engine(version="28.3.3"))
    files = dict(facts.files.files)
    files[path] = replace(files[path], mode=0o600)
    files["/etc/hosts"] = replace(files["/etc/hosts"], content=hosts)
    plan = plan_provision(desired(), replace(facts, files=BoardFiles(files, facts.files.links)))
    laid = {item.path: item for item in written_files(plan.steps)}
    assert laid[path].mode == 0o600
    assert laid["/etc/hosts"].data == hosts.replace(
        b"localhost\n", b"localhost\n127.0.1.1 odroid\n"
    )
    after = {**files, "/etc/hosts": replace(files["/etc/hosts"], content=laid["/etc/hosts"].data)}
    again = plan_provision(desired(), replace(facts, files=BoardFiles(after, facts.files.links)))
    assert "/etc/hosts" not in {item.path for item in written_files(again.steps)}


def test_an_engine_of_dockers_own_packages_is_not_replaced() -> None:
    packages = {name: "1" for name in stock().packages if name != "docker.io"}
    assert plan_packages(desired(), stock(packages=packages)) is not None
    own = {**packages, "docker-ce": "5:28.3.3-1"}
    assert plan_packages(desired(), stock(packages=own)) is None


def test_modes_are_never_widened() -> None:
    path = "/etc/docker/daemon.json"
    facts = stock(
        modes={
            path: PathMode(path, 0o600, "root:root", "regular file"),
            "/etc/docker": PathMode("/etc/docker", 0o775, "root:docker", "directory"),
            "/run/docker.sock": PathMode("/run/docker.sock", 0o666, "root:root", "socket"),
            # Masked: a link to /dev/null, which chmod would follow.
            UNIT: PathMode(UNIT, 0o777, "root:root", "symbolic link"),
        }
    )
    fixes = {fix.was.path: fix for fix in step(plan_provision(desired(), facts), "modes").fixes}
    assert path not in fixes
    assert UNIT not in fixes
    assert (fixes["/etc/docker"].mode, fixes["/etc/docker"].owner) == (0o755, "root:root")
    assert (fixes["/run/docker.sock"].mode, fixes["/run/docker.sock"].owner) == (
        0o660,
        "root:docker",
    )


def test_the_report_of_waivers_ends_where_a_target_decides() -> None:
    waived = {check for w in plan_provision(desired(), stock()).waived for check in w.checks}
    assert waived == {"2.12", "2.13"}
    own = desired(
        {"daemon": {"log-driver": "syslog", "log-opts": {"syslog-address": "udp://192.0.2.5:514"}}}
    )
    assert {check for w in plan_provision(own, stock()).waived for check in w.checks} == {"2.12"}


def test_every_setting_of_the_profile_says_why() -> None:
    assert all(len(item.why) > 40 for item in PROFILE.daemon.setting)


def test_an_engine_that_can_checks_the_file_before_the_restart() -> None:
    old = step(plan_provision(desired(), stock()), "daemon").actions
    new = step(plan_provision(desired(), stock(engine=engine(version="28.3.3"))), "daemon").actions
    validate = Check(("dockerd", "--validate", "--config-file=/etc/docker/daemon.json"))
    assert validate not in old
    assert new.index(validate) < new.index(RestartDocker())


def test_an_engine_that_was_proven_need_not_be_asked_again() -> None:
    facts = replace(converge(stock()), engine=None, proven=("20.10.24", "20.10.24+dfsg1"))
    plan = plan_provision(desired(), facts)
    assert plan.nothing
    assert versions_of(facts) == {"client": "20.10.24", "server": "20.10.24+dfsg1"}
    # What is to be changed still is.
    changed = plan_provision(desired({"daemon": {"icc": True}}), facts)
    assert step(changed, "daemon").actions[-1] == RestartDocker()
