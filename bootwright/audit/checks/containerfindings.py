"""Findings about containers: dangers that the benchmark does not detect."""

from collections.abc import Callable, Iterable, Mapping

from bootwright.audit.checks.containers import privileged
from bootwright.audit.checks.devices import wide_rules
from bootwright.audit.checks.engine import engine_value, security_option
from bootwright.audit.checks.logshipping import KEPT_HERE, remote_logging
from bootwright.audit.checks.mounts import (
    SENSITIVE,
    board_path,
    engine_sockets,
    sensitive_mounts,
    within,
)
from bootwright.audit.inspected import Container
from bootwright.audit.model import Finding, Subject, short
from bootwright.core.board_names import MOUNT

_TAKEOVER_FOLDERS = ("/root", "/home", "/var/spool/cron", MOUNT)
"""A container that can write such a folder, or a parent of it, can take over an account of the
board."""

_TAKEOVER_SUBFOLDERS = ("/root", "/var/spool/cron", f"{MOUNT}/var/lib/docker")
"""Folders of which also any file or subfolder is enough for that."""

_MAX_NAMES = 20
"""How many names a finding's evidence has."""


def _no_logs(subject: Subject) -> Finding | None:
    driver = engine_value(subject.facts, "LoggingDriver")
    without_logs = _names(subject, lambda container: container.log_driver == "none")
    if driver != "none" and not without_logs:
        return None
    evidence = ["the daemon's log driver is none"] if driver == "none" else []
    if without_logs:
        evidence.append(f"log driver none: {_listed(without_logs)}")
    return Finding(
        "no-logs",
        "Logs of containers are stored nowhere",
        "; ".join(evidence),
        "use the log driver local or one that sends logs away, and create the containers again",
        ("2.13",),
        without_logs,
    )


def _logs_stay(subject: Subject) -> Finding | None:
    """Find containers with another log driver than the daemon's, which sends logs away."""
    kept = [name for name in KEPT_HERE if name != "none"]
    names = _names(subject, lambda container: container.log_driver in kept)
    if not names or remote_logging(subject).result != "pass":
        return None
    return Finding(
        "logs-stay-here",
        "Logs of some containers stay on the board, although the daemon sends logs away",
        f"created with another log driver, or before the daemon's was set: {_listed(names)}",
        "create them again without --log-driver: a container keeps the log driver of its creation",
        ("2.13",),
        names,
    )


def _stopped(subject: Subject) -> Finding | None:
    evaluators = (privileged, sensitive_mounts, engine_sockets(subject.facts))
    found = {}
    for container in subject.facts.containers or ():
        if container.runs:
            continue
        bad = [
            one
            for one in (evaluate_one(subject, container) for evaluate_one in evaluators)
            if one.result == "warn"
        ]
        if bad:
            found[container.name] = f"{container.name}: {', '.join(one.evidence for one in bad)}"
    if not found:
        return None
    return Finding(
        "dangerous-stopped-container",
        "A stopped container can control the board when it is started",
        _joined_evidence(found),
        "remove it with docker rm, or create it again with fewer rights; the benchmark evaluates"
        " running containers only",
        ("5.5", "5.6", "5.32"),
        tuple(sorted(found)),
    )


def _not_remapped(subject: Subject) -> Finding | None:
    names = _names(subject, lambda container: container.userns_mode == "host")
    if not names or security_option(subject.facts, "userns") is None:
        return None
    return Finding(
        "opts-out-of-userns",
        "Root in a container is root on the board, although the daemon remaps users",
        f"--userns host: {_listed(names)}",
        "start it without --userns host",
        ("2.9", "5.31"),
        names,
    )


def _open_paths(subject: Subject) -> Finding | None:
    names = _names(subject, lambda container: container.unconfined_paths)
    if not names:
        return None
    return Finding(
        "system-paths-open",
        "A container sees all of /proc and /sys, some of it writable",
        f"--security-opt systempaths=unconfined: {_listed(names)}",
        "create it again without that option",
        ("5.5", "5.6"),
        names,
    )


def _any_device(subject: Subject) -> Finding | None:
    rules = {
        container.name: f"{container.name}: {', '.join(wide_rules(container))}"
        for container in subject.facts.containers or ()
        if wide_rules(container)
    }
    if not rules:
        return None
    return Finding(
        "any-device",
        "A container can access any device of the board, by a device file that it makes itself",
        _joined_evidence(rules),
        "give it the devices that it needs by --device, instead of a --device-cgroup-rule",
        ("5.5", "5.6"),
        tuple(sorted(rules)),
    )


def _folders(subject: Subject) -> Finding | None:
    reported_root = engine_value(subject.facts, "DockerRootDir")
    named = isinstance(reported_root, str) and reported_root.startswith("/")
    root = board_path(str(reported_root)) if named else "/var/lib/docker"
    found = {}
    for container in subject.facts.containers or ():
        for mount in container.mounts:
            path = board_path(mount.source)
            held = _held_by(path, root) if mount.writable else ""
            if held:
                place = f"{container.name}: {path}"
                found[place] = f"{place} is writable and contains or belongs to {held}"
    if not found:
        return None
    return Finding(
        "powerful-mount",
        "A container can write to a folder by which it can take over the board",
        _joined_evidence(found),
        "mount only the folder that it needs, and read-only if that is enough",
        ("5.6",),
        tuple(sorted(found)),
    )


def _held_by(path: str, root: str) -> str:
    """Return the folder by which a container that can write ``path`` takes over the board.

    Empty if there is none. Volumes of the engine are harmless, although they are in its data root.
    """
    volumes = f"{root.rstrip('/')}/volumes"
    if path in ("", *SENSITIVE) or (within(path, volumes) and path != volumes):
        return ""
    inside = next((folder for folder in (*_TAKEOVER_FOLDERS, root) if within(folder, path)), "")
    if inside:
        return inside
    around = next((folder for folder in (*_TAKEOVER_SUBFOLDERS, root) if within(path, folder)), "")
    return around or (".ssh" if "/.ssh/" in f"{path}/" else "")


def _unhealthy(subject: Subject) -> Finding | None:
    names = _names(subject, lambda container: container.runs and container.health == "unhealthy")
    if not names:
        return None
    return Finding(
        "unhealthy-container",
        "The health check of a container fails",
        f"unhealthy: {_listed(names)}",
        "docker inspect --format '{{json .State.Health}}' shows why",
        ("5.27",),
        names,
    )


def _names(subject: Subject, wanted: Callable[[Container], bool]) -> tuple[str, ...]:
    containers = subject.facts.containers or ()
    return tuple(sorted(container.name for container in containers if wanted(container)))


def _joined_evidence(found: Mapping[str, str]) -> str:
    return _listed((found[name] for name in sorted(found)), "; ")


def _listed(names: Iterable[str], between: str = ", ") -> str:
    text = [short(name) for name in names]
    more = f" and {len(text) - _MAX_NAMES} more" if len(text) > _MAX_NAMES else ""
    return between.join(text[:_MAX_NAMES]) + more


FINDERS: tuple[Callable[[Subject], Finding | None], ...] = (
    _not_remapped,
    _open_paths,
    _any_device,
    _stopped,
    _folders,
    _no_logs,
    _logs_stay,
    _unhealthy,
)
"""The functions that find each finding; the most serious ones first."""
