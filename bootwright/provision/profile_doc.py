"""The hardening profile as a document: ``docs/profile.md``, printed by ``inv profile``."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bootwright.hosts.profile import EngineKey, Profile, Setting
from bootwright.provision.daemon_json import engine_key, plain

SCHEMA = "bootwright.profile/1"

_HEAD = """\
# The profile {name}

What `inv provision` makes of a board, generated from `profiles/{name}/` by `inv profile`.
**Check** is the id of docker-bench-security 1.6.0 (CIS Docker Benchmark 1.6.0); *1.11.0* that of
CIS Docker 1.11.0 Benchmark v1.0.0 (2016).
"""


def profile_markdown(profile: Profile) -> str:
    """Return the document."""
    parts = [
        _HEAD.format(name=profile.name),
        "## daemon.json\n",
        _table(
            ("key", "value", "check", "*1.11.0*", "needs", "why"),
            [
                (
                    f"`{item.key}`",
                    _value(item),
                    _ids(item.checks),
                    _ids(item.cis_1_11),
                    _needs(profile, item),
                    item.why,
                )
                for item in profile.daemon.setting
            ],
        ),
        'A target changes a value in its table `docker.daemon`; `""` takes a key out. Keys that'
        " stand in\ndaemon.json already and contradict nothing are kept.\n",
        "## Left unmet on purpose\n",
        _table(
            ("check", "*1.11.0*", "unless the target sets", "reason"),
            [
                (_ids(item.checks), _ids(item.cis_1_11), f"`{item.key}`", item.reason)
                for item in profile.daemon.waiver
            ],
        ),
        "## Keys that an engine no longer knows\n",
        "A daemon that finds one does not start, so they are refused beforehand.\n",
        _table(
            ("key", "gone since", "what became of it"),
            [
                (f"`{key.name}`", key.until or "", key.removed)
                for key in profile.engine.key
                if key.until
            ],
        ),
        "## Audit rules\n",
        _table(
            ("check", "*1.11.0*", "path", "recorded", "why"),
            [
                (
                    _ids(item.checks),
                    _ids(item.cis_1_11),
                    _paths(item.paths),
                    f"{item.permissions}{', and below' if item.recursive else ''}",
                    item.why,
                )
                for item in profile.audit.watch
            ],
        ),
        "A path is watched where it exists: `r` reading, `w` writing, `x` execution, `a` owner and"
        " mode.\n",
        f"auditd keeps at least {profile.audit.history.hours} h of records: `max_log_file` and"
        " `num_logs` are raised for it, never lowered,\nas far as all files together take at most"
        f" {profile.audit.history.most_percent} % of the free space. A day counts as"
        f" {profile.audit.history.other_mib} MiB, and\n{profile.audit.history.health_check_bytes}"
        " bytes for each health check of a container.\n",
        "## Owners and modes\n",
        _table(
            ("check", "path", "owner", "mode", "why"),
            [
                (
                    _ids(item.checks),
                    _paths(item.paths),
                    item.owner,
                    f"{item.mode}{'' if item.exact else ' or less'}",
                    item.why,
                )
                for item in profile.files.file
            ],
        ),
        "## The kernel\n",
        "Any option of a line is enough. Without a **required** one, or one that a setting needs,"
        " nothing is\nchanged; for the others there is a warning that says what they cost.\n",
        _table(
            ("option", "for", "without it"),
            [
                (
                    " or ".join(f"`{option}`" for option in item.options),
                    f"**{item.need}**, required" if item.required else item.need,
                    item.cost,
                )
                for item in profile.kernel.option
            ],
        ),
        "## Packages\n",
        _table(
            ("Debian", "Arch Linux", "why"),
            [(item.debian or "-", item.arch or "-", item.why) for item in profile.host.package],
        ),
        "## sshd\n",
        _table(
            ("directive", "value", "why"),
            [(f"`{item.directive}`", item.value, item.why) for item in profile.host.ssh],
        ),
        "`permitrootlogin` is `prohibit-password` where the target logs in as root, else `no`.\n",
    ]
    return "\n".join(parts)


@dataclass(frozen=True)
class ProfileResult:
    """The profile that boards are provisioned by."""

    profile: Profile

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return {"schema": SCHEMA, **self.profile.model_dump(mode="json")}

    def lines(self) -> list[str]:
        """Return it as the lines of ``docs/profile.md``."""
        return profile_markdown(self.profile).splitlines()


def _value(setting: Setting) -> str:
    if setting.value is not None:
        return f"`{json.dumps(plain(setting.value))}`"
    allowed = " or ".join(f"`{json.dumps(plain(item))}`" for item in setting.only)
    return f"unset, or {allowed}" if allowed else "unset"


def _needs(profile: Profile, setting: Setting) -> str:
    key: EngineKey | None = engine_key(profile, setting.key)
    since = setting.since or (key.since if key else None)
    needs = [f"engine {since}"] if since else []
    needs += [f"`{option}`" for option in setting.kernel]
    return ", ".join(needs)


def _ids(checks: Sequence[str]) -> str:
    return ", ".join(checks)


def _paths(paths: Sequence[str]) -> str:
    return "<br>".join(f"`{path}`" for path in paths)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
