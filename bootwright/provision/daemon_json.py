"""Deciding what ``daemon.json`` holds: the profile, the target's table, the operator's keys."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bootwright.core.config import Docker
from bootwright.core.errors import RefusedError
from bootwright.hosts.profile import EngineKey, Profile, Setting, version_key

DAEMON_JSON = "/etc/docker/daemon.json"

SECCOMP_PROFILE = "/etc/docker/seccomp.json"
"""Where the target's own profile is written to."""

TLS_FOLDER = "/etc/docker/tls"
CA_FILE = f"{TLS_FOLDER}/ca.pem"
CERT_FILE = f"{TLS_FOLDER}/server-cert.pem"
KEY_FILE = f"{TLS_FOLDER}/server-key.pem"

BYTE_ORDER_MARK = "\ufeff"
"""What some editors put before the first character of a file."""

SOCKET = "fd://"
"""The address of the socket that systemd passes to the daemon."""


@dataclass(frozen=True)
class DaemonJson:
    """The decided content of the file.

    Attributes:
        values: its keys and values.
        text: the file; the operator's own text where nothing has to change.
        ours: the keys that come from the profile or the target.
        changed: keys that are new or gone, or have another value.
        notes: what an operator should know: contradictions, deviations, removed keys.
        checks: ids of the benchmark's checks that pass with it.
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
    decided: Mapping[str, Any] | None = None,
) -> DaemonJson:
    """Return what the file is to hold.

    Args:
        profile: its settings come first.
        docker: the target's table, which overrides them; an empty text removes a key.
        existing: the file as it is; empty if there is none.
        ours_before: the keys of it that an earlier run wrote.
        version: the engine's version; empty when it is not known yet.
        decided: keys that another part of the plan decides; they override both.

    Raises:
        RefusedError: the file that is there is not JSON.
    """
    there = read_json(existing)
    notes: list[str] = []
    if existing.startswith(BYTE_ORDER_MARK):
        notes.append(
            f"{DAEMON_JSON} begins with a byte order mark, with which engines before 23.0 do not"
            " start: it is written without it"
        )
        existing = existing.removeprefix(BYTE_ORDER_MARK)
    wanted = {**_wanted(profile, docker, version, notes), **(decided or {})}
    values: dict[str, Any] = {}
    for key, value in there.items():
        if key in wanted:
            continue
        if key in ours_before:
            notes.append(f"{key} is no longer wanted: removed")
        elif setting := _contradicted(profile, key, value):
            notes.append(
                f"your {key} = {json.dumps(value)} contradicts the profile and is removed:"
                f" {setting.why}"
            )
        else:
            values[key] = value
    for key, value in wanted.items():
        if key in there and not _same(there[key], value) and key not in ours_before:
            notes.append(
                f"your {key} = {json.dumps(there[key])} contradicts the profile: it becomes"
                f" {json.dumps(value)}"
            )
    # The operator's order first; new keys follow.
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
        checks=_passed(profile, merged),
    )


def _same(one: object, other: object) -> bool:
    """Return whether two values are the same in JSON, where 0 is not false."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def read_json(text: str) -> dict[str, Any]:
    """Return the keys and values of a board's daemon.json; none if it is empty.

    Raises:
        RefusedError: it is not JSON.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    if not text.strip():
        return {}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            f"{DAEMON_JSON} on the board is not JSON ({error}): correct it there, or remove it;"
            " nothing was changed"
        ) from None
    if not isinstance(values, dict):
        raise RefusedError(
            f"{DAEMON_JSON} on the board holds no JSON object: correct it there, or remove it;"
            " nothing was changed"
        )
    return values


def _wanted(profile: Profile, docker: Docker, version: str, notes: list[str]) -> dict[str, Any]:
    """Return the keys of the profile and the target; deviations are added to ``notes``."""
    own = {key: plain(value) for key, value in docker.daemon.items()}
    wanted = _of_profile(profile, own, version, notes)
    for key, value in own.items():
        setting = profile.setting(key)
        if setting is not None and not agrees(setting, value):
            ids = ", ".join(setting.checks)
            checks = f" (check {ids} is not met)" if ids else ""
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


def _of_profile(
    profile: Profile, own: Mapping[str, Any], version: str, notes: list[str]
) -> dict[str, Any]:
    """Return the keys of the profile that the target does not set itself."""
    wanted: dict[str, Any] = {}
    for setting in profile.daemon.setting:
        value = plain(setting.value)
        if value is None or setting.key in own:
            continue
        if setting.key == "log-opts" and "log-driver" in own:
            # The profile's options are for the profile's driver.
            continue
        if setting.since and version and version_key(version) < version_key(setting.since):
            notes.append(
                f"{setting.key} = {json.dumps(value)} needs engine {setting.since}: left out"
            )
            continue
        wanted[setting.key] = value
    return wanted


def plain(value: object) -> Any:
    """Return a value of a frozen TOML table as JSON has it: with lists in place of tuples."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def agrees(setting: Setting, value: object) -> bool:
    """Return whether the profile allows this value of a key."""
    if setting.value is not None:
        return _same(plain(setting.value), value)
    return not setting.only or any(_same(plain(item), value) for item in setting.only)


def _contradicted(profile: Profile, key: str, value: object) -> Setting | None:
    setting = profile.setting(key)
    return setting if setting is not None and not agrees(setting, value) else None


def _passed(profile: Profile, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the checks that pass with these keys, or because a key is absent."""
    passed: list[str] = []
    for setting in profile.daemon.setting:
        if setting.key in values:
            right = agrees(setting, values[setting.key])
        else:
            right = setting.value is None and bool(setting.only)
        if right:
            passed += setting.checks
    return tuple(passed)


def engine_key(profile: Profile, name: str) -> EngineKey | None:
    """Return what the profile knows of a key of daemon.json; ``None`` if no engine has it."""
    return next((key for key in profile.engine.key if key.name == name), None)


def needs_restart(profile: Profile, daemon: DaemonJson) -> bool:
    """Return whether the changed keys take a restart of the daemon; else SIGHUP is enough.

    A key that was removed keeps its old value until the daemon starts again.
    """
    known = [engine_key(profile, name) for name in daemon.changed if name in daemon.values]
    removed = len(known) < len(daemon.changed)
    return removed or not all(key is not None and key.reload for key in known)
