"""Findings about the board: dangers that the benchmark does not detect.

A finding is not a check: it does not change the score and cannot be waived.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from bootwright.audit.checks import containerfindings
from bootwright.audit.checks.confinement import why_no_seccomp
from bootwright.audit.checks.engine import engine_value, security_option
from bootwright.audit.checks.settings import configured
from bootwright.audit.model import Evaluation, Finding, Subject
from bootwright.hosts.dockerd_options import is_tcp
from bootwright.hosts.profile import version_key

AUTHORIZATION_FIXED = (29, 3, 1)
"""The first engine in which CVE-2026-34040 is fixed."""


def findings(subject: Subject, results: Mapping[str, Evaluation]) -> tuple[Finding, ...]:
    """Return the findings about a board and its containers.

    Args:
        subject: the facts and the profile.
        results: the evaluations by the check's id; a finding names those of its checks that pass.
    """
    passed = {check for check, evaluation in results.items() if evaluation.result == "pass"}
    found = (find(subject) for find in _FINDERS)
    return tuple(
        replace(finding, checks=tuple(check for check in finding.checks if check in passed))
        for finding in found
        if finding is not None
    )


def _content_trust(subject: Subject) -> Finding | None:
    if subject.facts.content_trust != "1":
        return None
    return Finding(
        "dead-content-trust",
        "Content trust is on, but does not protect any more",
        "DOCKER_CONTENT_TRUST=1; notary.docker.io ends on 2026-12-08, and newer docker commands "
        "do not know the variable",
        "name images by digest, and verify their signatures with cosign or notation before use",
        ("4.5",),
    )


def _authorization(subject: Subject) -> Finding | None:
    plugins = engine_value(subject.facts, "Plugins", "Authorization")
    version = version_key(subject.facts.engine_version)
    if not isinstance(plugins, list) or not plugins:
        return None
    if not version or version >= AUTHORIZATION_FIXED:
        return None
    return Finding(
        "authorization-bypass",
        "The authorization plugin can be bypassed",
        f"engine {subject.facts.engine_version} with {', '.join(map(str, plugins))}; "
        "CVE-2026-34040 is fixed in 29.3.1 (a distribution may have fixed its own version)",
        "install engine 29.3.1 or newer, and give access to the API only to users who may be root",
        ("2.12",),
    )


def _tls_key(subject: Subject) -> Finding | None:
    key = subject.facts.tls.get("tlskey")
    if key is None or not key.mode & 0o077:
        return None
    return Finding(
        "readable-tls-key",
        "Other users than the owner can read the private key of the API",
        f"{key.mode:04o} {key.owner} {key.path}",
        f"chmod 0400 {key.path}, and make a new key if others have accounts on the board",
        ("2.7", "3.13", "3.14"),
        (key.path,),
    )


def _open_api(subject: Subject) -> Finding | None:
    hosts, verify = configured(subject.facts, "hosts"), configured(subject.facts, "tlsverify")
    addresses = [str(host) for host in hosts.value] if isinstance(hosts.value, list) else []
    open_to = [host for host in addresses if is_tcp(host)] if verify.value is not True else []
    open_to += [place for place in subject.facts.listening or () if place.endswith(":2375")]
    if not open_to:
        return None
    return Finding(
        "open-tcp-api",
        "Everybody who can connect to the API over TCP has root's rights on the board",
        f"{', '.join(open_to)} without client certificates",
        "close it and use ssh:// (docker context create), or set tlsverify with a CA of your own",
        ("2.7",),
        tuple(open_to),
    )


def _docker_group(subject: Subject) -> Finding | None:
    members = subject.facts.docker_group
    if not members:
        return None
    return Finding(
        "docker-group",
        "Members of the group docker have root's rights",
        f"docker, or the group of its socket: {', '.join(members)}",
        "keep only users who may be root anyway: gpasswd --delete USER docker",
        ("1.1.2", "3.15", "3.16"),
        members,
    )


def _second_daemon(subject: Subject) -> Finding | None:
    if subject.facts.daemons < 2:
        return None
    return Finding(
        "second-daemon",
        "More than one Docker daemon runs as root, but only one was audited",
        f"{subject.facts.daemons} dockerd processes outside of containers",
        "stop those that docker.service has not started, and find out who started them",
        ("2.1", "2.2", "2.7", "2.9"),
    )


def _seccomp(subject: Subject) -> Finding | None:
    without = why_no_seccomp(subject.facts)
    if not without:
        return None
    return Finding(
        "seccomp-off",
        "Containers may use all system calls",
        without,
        "remove seccomp-profile from daemon.json; the kernel needs SECCOMP_FILTER",
        ("2.17", "5.22"),
    )


def _rootless(subject: Subject) -> Finding | None:
    if security_option(subject.facts, "rootless") is None:
        return None
    return Finding(
        "rootless",
        "The engine runs without root: several checks do not apply as written",
        f"name=rootless; the daemon's user is {subject.facts.engine_owner}",
        "consider this for 2.9 and section 3: its files belong to its user",
        (),
    )


_FINDERS: tuple[Callable[[Subject], Finding | None], ...] = (
    _open_api,
    _second_daemon,
    _tls_key,
    _docker_group,
    _authorization,
    _seccomp,
    *containerfindings.FINDERS,
    _content_trust,
    _rootless,
)
"""The functions that find each finding; the most serious ones first."""
