"""Section 2: how the Docker daemon is configured.

Values that the running engine reports are used first; others are from its command line and
daemon.json. Sources: docker(1) ``info``; moby's ``daemon/info_unix.go``, ``opts/hosts.go``,
``registry/config.go`` and ``daemon/logger``; docker-bench-security 1.6.0.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from bootwright.audit.checks import logshipping
from bootwright.audit.checks.addresses import host_of, is_loopback
from bootwright.audit.checks.confinement import USUAL_PROFILES, unknown_profile
from bootwright.audit.checks.engine import security_option, security_options
from bootwright.audit.checks.settings import (
    InForce,
    configured,
    evaluate_configured,
    evaluate_in_force,
    installed,
    why_no_engine,
)
from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import CheckResult, Evaluation, Evaluator, Item, Subject
from bootwright.hosts.dockerd_options import is_tcp
from bootwright.hosts.profile import version_key

ENABLE_ICC = "com.docker.network.bridge.enable_icc"

_OWN_NETWORKS = {"127.0.0.0/8", "::1/128"}
"""Loopback networks, which every engine accepts as insecure registries."""

_API_PORTS = (":2375", ":2376")
"""Docker's ports in the registry of IANA, without and with TLS."""

_REPORTED_FROM = (23, 0)
"""The first engine whose ``docker info`` reports no-new-privileges."""

_CGROUPS = {"systemd": "system.slice", "cgroupfs": "/docker"}
"""The engine's own cgroup-parent, by its cgroup driver."""


def rootless(subject: Subject) -> Evaluation:
    """2.1: the daemon does not run as root; if it does, a person has to decide whether it must."""
    owner = subject.facts.engine_owner
    if owner is None:
        return Evaluation(
            "skipped", why_no_engine(subject.facts) or "the user of the daemon is not known"
        )
    if owner == 0:
        return Evaluation("manual", "the daemon runs as root")
    return Evaluation("pass", f"the daemon runs as the user with the id {owner}")


def default_bridge(subject: Subject) -> Evaluation:
    """2.2: containers on the default bridge do not reach each other.

    The bridge keeps its former option while containers outlive a restart of the daemon
    (moby's ``daemon/daemon_unix.go``), whatever its configuration says.
    """
    facts = subject.facts
    setting = configured(facts, "icc")
    options = next((net.options for net in facts.networks or () if net.name == "bridge"), {})
    icc, in_force = options.get(ENABLE_ICC), None
    if icc is not None:
        agrees = (icc != "false") == (setting.value is not False)
        in_force = InForce(f"icc = {icc} (network bridge)", icc == "false", agrees)
    return evaluate_in_force(facts, setting, setting.value is False, in_force)


def log_level(subject: Subject) -> Evaluation:
    """2.3: the log level of the daemon is info; ``debug`` would override it."""
    facts = subject.facts
    level, debug = configured(facts, "log-level"), configured(facts, "debug")
    on, in_force = (facts.info or {}).get("Debug"), None
    if isinstance(on, bool):
        evidence = f"debug = {json.dumps(on)} (docker info)"
        in_force = InForce(evidence, not on, on == (debug.value is True))
    found = evaluate_configured(facts, level, str(level.value).lower() == "info")
    beside = evaluate_in_force(facts, debug, debug.value is False, in_force)
    return beside if found.result == "pass" and beside.result != "pass" else found


def iptables(subject: Subject) -> Evaluation:
    """2.4: the engine manages its packet filter itself."""
    setting = configured(subject.facts, "iptables")
    return evaluate_configured(subject.facts, setting, setting.value is True)


def insecure_registries(subject: Subject) -> Evaluation:
    """2.5: registries and their mirrors are used only with TLS, except on the board itself."""
    facts = subject.facts
    setting = configured(facts, "insecure-registries")
    mirrors = configured(facts, "registry-mirrors")
    wanted = set(_texts(setting.value)) - _OWN_NETWORKS
    plain = _plain(mirrors.value)
    registry = (facts.info or {}).get("RegistryConfig")
    if not isinstance(registry, Mapping):
        found = evaluate_configured(facts, mirrors, not plain) if plain else None
        return found or evaluate_in_force(facts, setting, not wanted, None)
    indexes = _table(registry.get("IndexConfigs"))
    used = set(_texts(registry.get("InsecureRegistryCIDRs"))) - _OWN_NETWORKS
    used |= {name for name, index in indexes.items() if _table(index).get("Secure") is False}
    lists = (registry.get("Mirrors"), *(_table(one).get("Mirrors") for one in indexes.values()))
    used_plain = set().union(*map(_plain, lists))
    reported = f"without TLS: {json.dumps(sorted(used | used_plain))} (docker info)"
    in_force = InForce(reported, not used | used_plain, (used, used_plain) == (wanted, plain))
    differs = mirrors if used == wanted else setting
    evaluation = evaluate_in_force(facts, differs, not wanted | plain, in_force)
    items = [Item(name, "warn", "an insecure registry") for name in sorted(used)]
    items += [Item(name, "warn", "a mirror without TLS") for name in sorted(used_plain)]
    return replace(evaluation, items=tuple(items))


def _plain(mirrors: object) -> set[str]:
    """Return the mirrors in a list that are used without TLS and are not on the board itself."""
    found = (one for one in _texts(mirrors) if one.lower().startswith("http://"))
    # The engine appends a slash.
    return {one.rstrip("/") for one in found if not is_loopback(host_of(one))}


def storage_driver(subject: Subject) -> Evaluation:
    """2.6: the storage driver in use is not aufs."""
    facts = subject.facts
    setting = configured(facts, "storage-driver")
    driver, in_force = _text(facts.info, "Driver"), None
    if driver:
        agrees = setting.value in ("", driver)
        in_force = InForce(f"storage-driver = {driver} (docker info)", driver != "aufs", agrees)
    return evaluate_in_force(facts, setting, setting.value != "aufs", in_force)


def remote_api(subject: Subject) -> Evaluation:
    """2.7: if the API listens on TCP, both sides need a certificate.

    systemd may open a TCP socket for the daemon; this can only be detected by Docker's ports.
    """
    facts = subject.facts
    hosts, verify, tls = (configured(facts, key) for key in ("hosts", "tlsverify", "tls"))
    if not installed(facts):
        return Evaluation("skipped", why_no_engine(facts))
    if hosts.unknown:
        return Evaluation("skipped", f"hosts: {hosts.unknown}")
    addresses = [host for host in _texts(hosts.value) if is_tcp(host)]
    if not addresses and any(host.startswith("fd:") for host in _texts(hosts.value)):
        addresses = _taken(facts)
    if not addresses:
        return Evaluation("info", f"the API listens on no TCP address: {hosts}")
    where = f"the API listens on {', '.join(addresses)}"
    if verify.unknown:
        return Evaluation("skipped", f"{where}; tlsverify: {verify.unknown}")
    if verify.value is True:
        return Evaluation("pass", f"{where}; {verify}", _each(addresses, "pass", str(verify)))
    # Also tlsverify = false switches TLS on: moby's cmd/dockerd/daemon.go.
    if tls.value is True or verify.source != "default":
        items = _each(addresses, "warn", "TLS without client certificates")
        return Evaluation(
            "warn", f"{where} with TLS, but without client certificates; {verify}", items
        )
    return Evaluation("warn", f"{where} without TLS", _each(addresses, "warn", "without TLS"))


def _each(subjects: Iterable[str], result: CheckResult, evidence: str) -> tuple[Item, ...]:
    return tuple(Item(subject, result, evidence) for subject in subjects)


def _taken(facts: AuditFacts) -> list[str]:
    """Return the addresses with Docker's ports that are listened on, maybe by systemd."""
    return [address for address in facts.listening or () if address.endswith(_API_PORTS)]


def default_ulimits(subject: Subject) -> Evaluation:
    """2.8: there are default limits for containers; without any the result is ``info``."""
    setting = configured(subject.facts, "default-ulimits")
    found = evaluate_configured(subject.facts, setting, bool(setting.value))
    if found.result != "warn":
        return found
    return Evaluation("info", found.evidence, _each([setting.key], "info", str(setting)))


def userns(subject: Subject) -> Evaluation:
    """2.9: root in a container is not root on the board; a rootless daemon meets this too."""
    facts = subject.facts
    setting = configured(facts, "userns-remap")
    security, in_force = _security(facts), None
    if "name=rootless" in security:
        in_force = InForce("name=rootless (docker info)", right=True)
    elif security:
        on = "name=userns" in security
        evidence = "name=userns (docker info)" if on else "no name=userns (docker info)"
        in_force = InForce(evidence, on, on == bool(setting.value))
    return evaluate_in_force(facts, setting, bool(setting.value), in_force)


def cgroup_parent(subject: Subject) -> Evaluation:
    """2.10: containers are below the engine's default cgroup."""
    facts = subject.facts
    setting = configured(facts, "cgroup-parent")
    own = _CGROUPS.get(_text(facts.info, "CgroupDriver"), "")
    return evaluate_configured(facts, setting, setting.value in ("", own))


def base_size(subject: Subject) -> Evaluation:
    """2.11: the size of devicemapper's base device is not set."""
    setting = configured(subject.facts, "storage-opts")
    names = [option.partition("=")[0].strip().lower() for option in _texts(setting.value)]
    return evaluate_configured(subject.facts, setting, "dm.basesize" not in names)


def authorization(subject: Subject) -> Evaluation:
    """2.12: an authorization plugin decides on each request."""
    facts = subject.facts
    setting = configured(facts, "authorization-plugins")
    wanted = set(_texts(setting.value))
    plugins, in_force = (facts.info or {}).get("Plugins"), None
    if isinstance(plugins, Mapping):
        found = set(_texts(plugins.get("Authorization")))
        evidence = f"authorization-plugins = {json.dumps(sorted(found))} (docker info)"
        in_force = InForce(evidence, bool(found), found == wanted)
    return evaluate_in_force(facts, setting, bool(wanted), in_force)


def no_new_privileges(subject: Subject) -> Evaluation:
    """2.14: processes in containers cannot gain privileges, by default."""
    facts = subject.facts
    setting = configured(facts, "no-new-privileges")
    if facts.info is not None and version_key(facts.engine_version) < _REPORTED_FROM:
        return evaluate_configured(facts, setting, setting.value is True)
    security, in_force = _security(facts), None
    if security:
        on = "name=no-new-privileges" in security
        evidence = f"{'' if on else 'no '}name=no-new-privileges (docker info)"
        in_force = InForce(evidence, on, on == (setting.value is True))
    return evaluate_in_force(facts, setting, setting.value is True, in_force)


def live_restore(subject: Subject) -> Evaluation:
    """2.15: containers keep running while the daemon restarts; not possible in swarm mode."""
    facts = subject.facts
    setting = configured(facts, "live-restore")
    on, in_force = (facts.info or {}).get("LiveRestoreEnabled"), None
    if isinstance(on, bool):
        evidence = f"live-restore = {json.dumps(on)} (docker info)"
        in_force = InForce(evidence, on, on == (setting.value is True))
    swarm = _table((facts.info or {}).get("Swarm")).get("LocalNodeState")
    if on is False and swarm == "active":
        why = "swarm mode is on, which excludes live-restore"
        return Evaluation("info", why, _each([setting.key], "info", why))
    return evaluate_in_force(facts, setting, setting.value is True, in_force)


def userland_proxy(subject: Subject) -> Evaluation:
    """2.16: the kernel forwards published ports, without a proxy process."""
    setting = configured(subject.facts, "userland-proxy")
    return evaluate_configured(subject.facts, setting, setting.value is False)


def seccomp(subject: Subject) -> Evaluation:
    """2.17: the default seccomp profile is the engine's, or one that the hardening profile lists.

    A person has to decide about any other one, because it is not known what it denies.
    """
    facts = subject.facts
    setting = configured(facts, "seccomp-profile")
    option, in_force, unknown = security_option(facts, "seccomp"), None, ""
    if security_options(facts):
        profile, wanted = (option or {}).get("profile", ""), str(setting.value)
        agrees = profile == wanted or (profile in USUAL_PROFILES and wanted in USUAL_PROFILES)
        reported = "no name=seccomp" if option is None else f"name=seccomp,profile={profile}"
        in_force = InForce(f"{reported} (docker info)", profile not in ("", "unconfined"), agrees)
        unknown = unknown_profile(subject)
    found = evaluate_in_force(facts, setting, setting.value != "unconfined", in_force)
    if found.result != "pass" or not unknown:
        return found
    return Evaluation("manual", f"{found.evidence}: what {unknown} denies is not known")


def experimental(subject: Subject) -> Evaluation:
    """2.18: experimental features are off."""
    facts = subject.facts
    setting = configured(facts, "experimental")
    on, in_force = (facts.info or {}).get("ExperimentalBuild"), None
    if isinstance(on, bool):
        evidence = f"experimental = {json.dumps(on)} (docker info)"
        in_force = InForce(evidence, not on, on == (setting.value is True))
    return evaluate_in_force(facts, setting, setting.value is False, in_force)


def _text(info: Mapping[str, Any] | None, name: str) -> str:
    value = (info or {}).get(name)
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list; a value that is not a list is returned as JSON."""
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(map(str, value))
    return (json.dumps(value),)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _security(facts: AuditFacts) -> tuple[str, ...]:
    """Return the engine's security options; none if it does not report them."""
    return _texts((facts.info or {}).get("SecurityOptions"))


EVALUATORS: Mapping[str, Evaluator] = {
    "2.1": rootless,
    "2.2": default_bridge,
    "2.3": log_level,
    "2.4": iptables,
    "2.5": insecure_registries,
    "2.6": storage_driver,
    "2.7": remote_api,
    "2.8": default_ulimits,
    "2.9": userns,
    "2.10": cgroup_parent,
    "2.11": base_size,
    "2.12": authorization,
    "2.13": logshipping.remote_logging,
    "2.14": no_new_privileges,
    "2.15": live_restore,
    "2.16": userland_proxy,
    "2.17": seccomp,
    "2.18": experimental,
}
