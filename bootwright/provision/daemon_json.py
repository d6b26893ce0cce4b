"""Deciding what ``daemon.json`` holds: the profile, the target's desired, the operator's keys."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bootwright.core.config import Docker
from bootwright.core.errors import RefusedError
from bootwright.hosts.profile import EngineKey, Profile, Setting, version_key

DAEMON_JSON = "/etc/docker/daemon.json"

SECCOMP_PROFILE = "/etc/docker/seccomp.json"
"""Where the target's own profile is laid."""

TLS_FOLDER = "/etc/docker/tls"
CA_FILE = f"{TLS_FOLDER}/ca.pem"
CERT_FILE = f"{TLS_FOLDER}/server-cert.pem"
KEY_FILE = f"{TLS_FOLDER}/server-key.pem"

SOCKET = "fd://"
"""The socket that systemd hands over."""


@dataclass(frozen=True)
class DaemonJson:
    """The decision.

    Attributes:
        values: what the file says.
        text: the file; the operator's own text where nothing has to change.
        ours: the keys that are the profile's or the target's.
        changed: keys whose value is another one now, or that are new or gone.
        notes: what an operator should know: contradictions, deviations, removed keys.
        checks: the checks that are answered.
    """

    values: Mapping[str, Any]
    text: str
    ours: tuple[str, ...]
    changed: tuple[str, ...]
    notes: tuple[str, ...]
    checks: tuple[str, ...]


def plan_daemon_json(
    profile: Profile,
    docker: Docker,
    existing: str,
    ours_before: tuple[str, ...],
    version: str,
    settled: Mapping[str, Any] | None = None,
) -> DaemonJson:
    """Return what the file is to hold.

    Args:
        profile: whose settings are the beginning.
        docker: the target's desired, laid over them; an empty text takes a key out.
        existing: the file as it is; empty if there is none.
        ours_before: the keys of it that an earlier run put there.
        version: the engine's version; empty when it is not known yet.
        settled: keys that another part of the plan decides, over the profile's.

    Raises:
        RefusedError: the file that is there is not JSON.
    """
    there = read_json(existing)
    notes: list[str] = []
    wanted = {**_wanted(profile, docker, version, notes), **(settled or {})}
    values: dict[str, Any] = {}
    for key, value in there.items():
        if key in wanted:
            continue
        if key in ours_before:
            notes.append(f"{key} is no longer wanted: taken out")
        elif stand := _contradicted(profile, key, value):
            notes.append(
                f"your {key} = {json.dumps(value)} contradicts the profile and is taken out:"
                f" {stand.why}"
            )
        else:
            values[key] = value
    for key, value in wanted.items():
        if key in there and not _same(there[key], value) and key not in ours_before:
            notes.append(
                f"your {key} = {json.dumps(there[key])} contradicts the profile: it becomes"
                f" {json.dumps(value)}"
            )
    # In the operator's order first; ours follow.
    merged = {key: wanted.get(key, values.get(key)) for key in there if key in {*values, *wanted}}
    merged |= {key: value for key, value in wanted.items() if key not in merged}
    changed = tuple(
        key
        for key in {**there, **merged}
        if (key in there) != (key in merged) or not _same(there.get(key), merged.get(key))
    )
    text = existing if existing and not changed else json.dumps(merged, indent=2) + "\n"
    return DaemonJson(
        values=merged,
        text=text,
        ours=tuple(sorted(wanted)),
        changed=changed,
        notes=tuple(notes),
        checks=_answered(profile, merged),
    )


def _same(one: object, other: object) -> bool:
    """Tell whether two values are the same in JSON, where 0 is not false."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def read_json(text: str) -> dict[str, Any]:
    """Return what a board's daemon.json says; nothing if it is empty.

    Raises:
        RefusedError: it is not JSON.
    """
    if not text.strip():
        return {}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            f"{DAEMON_JSON} on the board is not JSON ({error}): mend it there, or remove it;"
            " nothing was changed"
        ) from None
    if not isinstance(values, dict):
        raise RefusedError(
            f"{DAEMON_JSON} on the board holds no JSON object: mend it there, or remove it;"
            " nothing was changed"
        )
    return values


def _wanted(profile: Profile, docker: Docker, version: str, notes: list[str]) -> dict[str, Any]:
    own = {key: plain(value) for key, value in docker.daemon.items()}
    wanted: dict[str, Any] = {}
    for setting in profile.daemon.setting:
        value = plain(setting.value)
        if value is None or setting.key in own:
            continue
        if setting.key == "log-opts" and "log-driver" in own:
            # They are those of the profile's driver.
            continue
        if setting.since and version and version_key(version) < version_key(setting.since):
            notes.append(f"{setting.key} = {json.dumps(value)} needs engine {setting.since}: left")
            continue
        wanted[setting.key] = value
    for key, value in own.items():
        stand = profile.setting(key)
        if stand is not None and not agrees(stand, value):
            checks = f" (check {', '.join(stand.checks)} is not met)" if stand.checks else ""
            notes.append(f"the target sets {key} = {json.dumps(value)}{checks}")
        if value != "":
            wanted[key] = value
    if docker.seccomp_profile is not None:
        wanted["seccomp-profile"] = SECCOMP_PROFILE
    if docker.api is not None:
        wanted |= {
            "hosts": [SOCKET, docker.api],
            "tlsverify": True,
            "tlscacert": CA_FILE,
            "tlscert": CERT_FILE,
            "tlskey": KEY_FILE,
        }
    return wanted


def plain(value: object) -> Any:
    """Return a value of a frozen TOML table as JSON knows it: lists, not tuples."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def agrees(setting: Setting, value: object) -> bool:
    """Tell whether a key's value is one that the profile can live with."""
    if setting.value is not None:
        return _same(plain(setting.value), value)
    return not setting.only or any(_same(plain(item), value) for item in setting.only)


def _contradicted(profile: Profile, key: str, value: object) -> Setting | None:
    stand = profile.setting(key)
    return stand if stand is not None and not agrees(stand, value) else None


def _answered(profile: Profile, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the checks of settings that the file, or its silence, answers."""
    answered: list[str] = []
    for setting in profile.daemon.setting:
        if setting.key in values:
            right = agrees(setting, values[setting.key])
        else:
            right = setting.value is None and bool(setting.only)
        if right:
            answered += setting.checks
    return tuple(answered)


def engine_key(profile: Profile, name: str) -> EngineKey | None:
    """Return what is known of a key of daemon.json, in any engine."""
    return next((key for key in profile.engine.key if key.name == name), None)


def needs_restart(profile: Profile, daemon: DaemonJson) -> bool:
    """Tell whether what changed takes a restart; else SIGHUP is enough.

    A key that was taken out keeps its old value until the daemon starts again.
    """
    known = [engine_key(profile, name) for name in daemon.changed if name in daemon.values]
    gone = len(known) < len(daemon.changed)
    return gone or not all(key is not None and key.reload for key in known)
