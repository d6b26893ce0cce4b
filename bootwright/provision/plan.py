"""The plan of ``inv provision`` for one board: configuration and facts in, frozen steps out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bootwright.core.board_names import BINDS
from bootwright.core.errors import FailedError, RefusedError
from bootwright.hosts.profile import Profile, ProfileWaiver
from bootwright.provision import audit_steps, docker_steps, host_steps, log_relay
from bootwright.provision.audit_history import AUDITD_CONF
from bootwright.provision.daemon_json import (
    DAEMON_JSON,
    KEY_FILE,
    DaemonJson,
    plan_daemon_json,
    read_json,
)
from bootwright.provision.daemon_validation import DaemonConfig, cannot_start
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.docker_steps import engine_version
from bootwright.provision.facts import HostFacts
from bootwright.provision.facts_script import DATA_ROOT, Questions
from bootwright.provision.kernel_check import (
    NFT_OPTION,
    check_iptables,
    check_kernel,
    engine_warnings,
)
from bootwright.provision.packages import PackagesPlan, needs_reboot, new_kernel, plan_packages
from bootwright.provision.steps import Step, written_files
from bootwright.provision.transaction import Transaction

_PARENTS = ("/var", "/var/lib", DATA_ROOT)


@dataclass(frozen=True)
class ProvisionPlan:
    """What is to be done to a board.

    Attributes:
        packages: what is done to packages first; ``None`` if nothing. The rest is planned again
            after it.
        reboot: why the board has to be restarted after that; empty if it need not be.
        steps: every step, also those without anything to do.
        daemon: the content of daemon.json.
        hidden: what makes containers and images seem to be gone, since Docker then uses another
            folder: user namespaces or a storage driver; empty if nothing does.
        warnings: what an operator should act on.
        notes: what an operator may want to know.
        waived: checks that are left unmet on purpose.
    """

    packages: PackagesPlan | None
    reboot: str
    steps: tuple[Step, ...]
    daemon: DaemonJson
    hidden: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    waived: tuple[ProfileWaiver, ...]

    @property
    def to_do(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.changed)

    @property
    def hides_data(self) -> bool:
        """Whether containers and images will seem to be gone."""
        return bool(self.hidden)

    @property
    def nothing(self) -> bool:
        """Whether the board is as it should be."""
        return not (self.packages or self.reboot or self.to_do)


def questions_for(profile: Profile) -> Questions:
    """Return what the script that collects facts has to report for this profile."""
    names = (name for p in profile.host.package for name in (p.debian, p.arch, *p.instead) if name)
    options = (name for option in profile.kernel.option for name in option.options)
    watched = (path for watch in profile.audit.watch for path in watch.paths)
    patterns = (path for file in profile.files.file for path in file.paths)
    return Questions(
        packages=tuple(dict.fromkeys((*names, log_relay.RIVAL))),
        kernel=tuple(dict.fromkeys((*options, NFT_OPTION))),
        paths=tuple(dict.fromkeys((*_PARENTS, *watched, *patterns))),
        files=tuple(
            dict.fromkeys(
                (
                    *host_steps.FILES,
                    AUDITD_CONF,
                    *host_steps.mount_files(),
                    *docker_steps.FILES,
                    *log_relay.FILES,
                )
            )
        ),
        secret_files=(KEY_FILE, log_relay.KEY_FILE),
    )


def plan_provision(desired: DesiredState, facts: HostFacts) -> ProvisionPlan:
    """Return what has to be done, all of it checked as far as possible before any change.

    Raises:
        RefusedError: the desired state would not work, or would endanger data.
        FailedError: the board cannot be worked with as it is.
    """
    check_host(facts)
    log_relay.check_rival(desired, facts)
    packages = plan_packages(desired, facts)
    version = engine_version(facts)
    ours = tuple(facts.files.text(docker_steps.OUR_KEYS).split())
    relayed = log_relay.daemon_keys(desired.target)
    existing, docker = facts.files.text(DAEMON_JSON), desired.target.docker
    daemon = plan_daemon_json(desired.profile, docker, existing, ours, version, relayed)
    tls = docker_steps.tls_step(desired, facts)
    steps = [
        host_steps.host_step(desired, facts),
        host_steps.ssh_step(desired, facts),
        host_steps.mount_step(desired, facts),
        host_steps.users_step(desired, facts),
        docker_steps.userns_step(daemon, facts),
        tls,
        docker_steps.daemon_step(desired, facts, daemon, new_certificate=tls.changed),
    ]
    # The relay starts before the daemon, whose containers log to it, and is removed after it.
    relay = log_relay.logs_step(desired, facts)
    steps.insert(len(steps) if desired.logs is None else len(steps) - 1, relay)
    written = {file.path for file in written_files(steps)}
    audit, audit_warnings = audit_steps.audit_step(desired, facts, written)
    steps += [audit, docker_steps.modes_step(desired.profile, facts)]
    kernel = check_kernel(desired.profile, facts, daemon)
    reboot = _reboot(desired, facts)
    # Without the modules of the running kernel, iptables does not work until the restart.
    stops = [*kernel.stops, *(() if reboot else check_iptables(facts, daemon))]
    if stops and not reboot and (why := needs_reboot(facts)):
        stops.append(f"{why}: restart the board first")
    lines = docker_steps.command_lines(daemon, facts) or ((),)
    for flags in lines:
        configured = DaemonConfig(
            values=daemon.values,
            version=version,
            flags=flags,
            next_flags=lines[-1],
            seccomp=desired.seccomp,
            files=frozenset(written),
        )
        stops += cannot_start(desired.profile, configured, facts)
    if stops:
        stops = list(dict.fromkeys(stops))
        why = "".join(f"\n  {line}" for line in stops)
        raise RefusedError(f"this cannot work, so nothing was changed:{why}")
    return ProvisionPlan(
        packages=packages,
        reboot=reboot,
        steps=tuple(steps),
        daemon=daemon,
        hidden=tuple(_hidden(daemon, facts)),
        warnings=(
            *_warnings(desired, facts, kernel.costs, kernel.unknown),
            *engine_warnings(facts),
            *(host_steps.time_warnings(facts) if packages is None else ()),
            *audit_warnings,
        ),
        notes=daemon.notes,
        waived=tuple(
            waiver
            for waiver in desired.profile.daemon.waiver
            if waiver.key not in {**docker.daemon, **relayed}
        ),
    )


def check_host(facts: HostFacts) -> None:
    """Raise unless the board can be provisioned.

    Raises:
        FailedError: its distribution is not supported, or its root file system is read-only.
        RefusedError: Docker's data would not be encrypted.
    """
    if facts.family is None:
        raise FailedError(
            f"{facts.os_name or 'the board'} is neither Debian with apt nor Arch Linux with pacman"
        )
    lacking = [name for name in ("systemctl", "systemd-run") if name not in facts.tools]
    if lacking:
        raise FailedError(f"the board lacks {' and '.join(lacking)}: only systemd is supported")
    root = facts.mounts.get("/")
    if root is not None and "ro" in root.options:
        raise FailedError(
            "the board's root file system is read-only: find out why (dmesg), then"
            " mount -o remount,rw /"
        )
    for place in BINDS:
        data = facts.mounts.get(place)
        if data is None or not data.encrypted:
            what = "is not mounted" if data is None else "is mounted from an unencrypted device"
            raise RefusedError(
                f"{place} {what}: Docker is only set up on the encrypted volume; open it with"
                " inv unlock"
            )
    if facts.engine_runs and facts.engine is None and not facts.proven:
        raise FailedError(
            "the Docker daemon runs and does not answer"
            f" ({facts.engine_error or 'no answer in 30 s'}): see journalctl -u docker there"
        )
    # Behind a link, auditd's limits stay as they are.
    kept = {host_steps.LOCALTIME, docker_steps.DEFAULTS, AUDITD_CONF, *log_relay.LINKS}
    for path in sorted(facts.files.links.keys() - kept):
        raise RefusedError(
            f"{path} is a symbolic link to {facts.files.links[path]}, which would be replaced:"
            " make it a regular file"
        )


def _reboot(desired: DesiredState, facts: HostFacts) -> str:
    why = needs_reboot(facts)
    tried = facts.rebooted_for == new_kernel(facts)
    return "" if tried or not desired.reboot else why


def _hidden(daemon: DaemonJson, facts: HostFacts) -> Iterator[str]:
    """Yield what makes Docker use another folder, if there are containers or images."""
    remapped = bool(daemon.values.get("userns-remap"))
    switched = f"user namespaces switched {'on' if remapped else 'off'}"
    engine = facts.engine
    if engine is None:
        # Containers are stored below data-root, with user namespaces below its folder UID.GID.
        folders = facts.stored_containers
        if any(path.startswith(f"{DATA_ROOT}/containers/") == remapped for path in folders):
            yield switched
        return
    if not engine.containers and not engine.images:
        return
    before = read_json(facts.files.text(DAEMON_JSON)).get("userns-remap")
    if engine.userns != remapped:
        yield switched
    elif remapped and before not in (None, "", daemon.values["userns-remap"]):
        yield f"user namespaces of {daemon.values['userns-remap']} in place of those of {before}"
    driver = daemon.values.get("storage-driver") or engine.storage_driver
    if driver != engine.storage_driver:
        yield (
            f"the storage driver {driver} in place of {engine.storage_driver} (to keep that, set"
            f' daemon.storage-driver = "{engine.storage_driver}" in the target)'
        )


def _warnings(
    desired: DesiredState, facts: HostFacts, costs: tuple[str, ...], unknown: bool
) -> list[str]:
    warnings = list(costs)
    if unknown:
        warnings.append(
            "could not read the kernel's configuration (no /proc/config.gz, no"
            f" /boot/config-{facts.kernel}): whether it lacks an option shows only when a"
            " container is started"
        )
    if (why := needs_reboot(facts)) and not _reboot(desired, facts):
        again = " although it was restarted for it" if desired.reboot else ": restart it"
        warnings.append(f"{why}{again}")
    if facts.sshd_matches:
        warnings.append(
            f"sshd has Match blocks ({'; '.join(facts.sshd_matches)}): other settings apply to"
            " connections that match; make sure that they allow no passwords"
        )
    if facts.failed_units:
        warnings.append(f"units that failed on the board: {', '.join(facts.failed_units)}")
    warnings += log_relay.relay_warnings(log_relay.daemon_keys(desired.target), facts)
    date, _, missing = facts.upgraded.partition(" ")
    if missing.strip():
        warnings.append(
            f"the packages of {date} are without {missing.strip()}, which could not be fetched"
            " then; --upgrade tries again"
        )
    return warnings


def versions_of(facts: HostFacts) -> dict[str, Any]:
    """Return the versions of Docker's ``client`` and ``server``; ``None`` where there is none.

    Before 23.0 the engine does not report the client's version, and to start the client takes a
    second on the board. Its version is that of its package, ``docker-cli``, or the server's.
    """
    if facts.engine is None and facts.proven:
        client, server = facts.proven[0], facts.proven[-1]
        return {"client": client, "server": server}
    package = facts.packages.get("docker-cli") or engine_version(facts)
    client = (facts.engine.client_version if facts.engine else "") or package
    return {"client": client or None, "server": facts.engine.version if facts.engine else None}


def would_end_containers(plan: ProvisionPlan, facts: HostFacts) -> bool:
    """Tell whether an upgrade of Docker, which restarts the daemon, would end containers."""
    engine = facts.engine
    wanted = plan.daemon.values.get("live-restore") is True
    return engine is not None and engine.running > 0 and not engine.live_restore and wanted


def interim_text(facts: HostFacts) -> str:
    """Return the board's daemon.json with live-restore switched on."""
    existing = read_json(facts.files.text(DAEMON_JSON))
    return json.dumps({**existing, "live-restore": True}, indent=2) + "\n"


def transaction_of(
    plan: ProvisionPlan, facts: HostFacts, confirm_s: int, change_id: str
) -> Transaction:
    """Return the plan's steps as one change, with what a container has to print as proof."""
    in_swarm = facts.engine is not None and facts.engine.swarm not in ("", "inactive")
    values = plan.daemon.values
    keep = values.get("live-restore") is True and not in_swarm and not plan.hides_data
    proof = []
    if values.get("userns-remap"):
        proof.append("^uid_map: 0 [1-9]")
    if values.get("no-new-privileges") is True:
        proof.append("^NoNewPrivs: 1")
    if values.get("seccomp-profile") != "unconfined":
        proof.append("^Seccomp: 2")
    return Transaction(
        steps=plan.to_do,
        interim=interim_text(facts),
        id=change_id,
        keep_containers=keep,
        hides_data=plan.hides_data,
        proof=tuple(proof),
        confirm_s=confirm_s,
    )
