"""The settings of a board's Docker daemon: from its command line, daemon.json, or the default.

Sources: moby's ``daemon/config``; for the command line :mod:`bootwright.hosts.dockerd_options`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import Evaluation, short
from bootwright.hosts.dockerd_options import parse_flags, typed

DEFAULTS: Mapping[str, Any] = {
    "authorization-plugins": [],
    "cgroup-parent": "",
    "data-root": "/var/lib/docker",
    "debug": False,
    "default-ulimits": {},
    "experimental": False,
    "hosts": [],
    "icc": True,
    "insecure-registries": [],
    "iptables": True,
    "live-restore": False,
    "log-driver": "json-file",
    "log-level": "info",
    "log-opts": {},
    "no-new-privileges": False,
    "registry-mirrors": [],
    "seccomp-profile": "",
    "storage-driver": "",
    "storage-opts": [],
    "tls": False,
    "tlscacert": "",
    "tlscert": "",
    "tlskey": "",
    "tlsverify": False,
    "userland-proxy": True,
    "userns-remap": "",
}
"""The engine's defaults of the keys that are evaluated."""

MAX_LINE_CHARACTERS = 16_384
"""The most characters of a command line; real ones are many times shorter."""

_TABLES = (
    *("builder", "cluster-store-opts", "default-network-opts", "default-ulimits", "features"),
    *("log-opts", "runtimes"),
)
"""Keys of daemon.json whose value is a table: flatOptions in moby's ``daemon/config``."""


@dataclass(frozen=True)
class Configured:
    """The configured value of a key, and where it is set.

    ``source`` is ``command line``, ``docker.service``, ``daemon.json`` or ``default``;
    ``unknown`` is the reason why the value is not known; empty if it is.
    """

    key: str
    value: Any
    source: str
    unknown: str = ""

    def __str__(self) -> str:
        return f"{self.key} = {json.dumps(self.value)} ({self.source})"


def installed(facts: AuditFacts) -> bool:
    """Return whether the board has a Docker daemon."""
    return "dockerd" in facts.tools or facts.engine_owner is not None or facts.info is not None


def why_no_engine(facts: AuditFacts) -> str:
    """Return why no engine answers; empty if one does."""
    if facts.info is not None:
        return ""
    if not installed(facts):
        return "Docker is not installed"
    if facts.engine_owner is None:
        return "the daemon does not run"
    return f"the daemon does not answer: {facts.troubles.get('info', 'docker info failed')}"


def configured(facts: AuditFacts, key: str) -> Configured:
    """Return the configured value of a key of :data:`DEFAULTS`."""
    default = DEFAULTS[key]
    words, source = facts.flags, "command line"
    if facts.engine_owner is None and "docker.service" in facts.units:
        # The command that systemd would start; variables in it are not expanded.
        words, source = tuple(facts.units["docker.service"].command.split()), "docker.service"
    if sum(map(len, words)) > MAX_LINE_CHARACTERS:
        return Configured(key, default, source, "the daemon's command line is too long")
    flags = parse_flags(words)
    if key in flags:
        return Configured(key, typed(flags[key], default), source)
    if facts.daemon_json is None and (why := _unread(facts)):
        return Configured(key, default, "default", why)
    values = facts.daemon_json or {}
    if key == "data-root" and values.get(key) is None and "graph" in values:
        # Its name before 17.05, which engines before 23.0 still read.
        return Configured(key, values["graph"], "daemon.json")
    if outer := _nested(values, key):
        why = f"it is in the table {outer!r} of {facts.settings}; dockerd reads keys there too"
        return Configured(key, default, "daemon.json", why)
    if key in values and values[key] is not None:
        return Configured(key, values[key], "daemon.json")
    return Configured(key, default, "default")


def _nested(values: Mapping[str, Any], key: str) -> str:
    """Return the unknown table of daemon.json that contains a key; empty if none does.

    dockerd reads the keys in a table that it does not know as if they were at the top, in an
    undefined order: configValuesSet in moby's ``daemon/config/config.go``.
    """
    for outer, value in values.items():
        if outer not in _TABLES and isinstance(value, Mapping) and key in value:
            return short(outer, 40)
    return ""


def _unread(facts: AuditFacts) -> str:
    """Return why daemon.json is not known; empty if there is none."""
    if trouble := facts.troubles.get("daemon-json"):
        return f"{facts.settings}: {trouble}"
    return "" if facts.root else f"{facts.settings} could not be read without root's rights"


@dataclass(frozen=True)
class InForce:
    """The value of a key that the running engine uses and reports.

    Attributes:
        evidence: the value, and what reports it.
        right: whether the check is met.
        agrees: whether it equals the configured value.
    """

    evidence: str
    right: bool
    agrees: bool = True


def evaluate_configured(facts: AuditFacts, setting: Configured, right: bool) -> Evaluation:
    """Return the evaluation of a key that engines do not report.

    Args:
        facts: the facts about the board.
        setting: the configured value.
        right: whether the configured value meets the check.
    """
    if not installed(facts):
        return Evaluation("skipped", why_no_engine(facts))
    if setting.unknown:
        return Evaluation("skipped", f"{setting.key}: {setting.unknown}")
    note = "; the daemon does not run" if facts.engine_owner is None else ""
    return Evaluation("pass" if right else "warn", f"{setting}{note}")


def evaluate_in_force(
    facts: AuditFacts, setting: Configured, right: bool, in_force: InForce | None
) -> Evaluation:
    """Return the evaluation of a key that engines report.

    The reported value decides. If nothing is reported, a wrong configuration gives ``warn``, and a
    right one gives ``skipped``, because the running engine may use another value.

    Args:
        facts: the facts about the board.
        setting: the configured value.
        right: whether the configured value meets the check.
        in_force: the value that the engine reports; ``None`` if it reports none.
    """
    if in_force is None or not installed(facts):
        evaluation = evaluate_configured(facts, setting, right)
        why = why_no_engine(facts) or "the engine does not report the value that it uses"
        if evaluation.result != "pass":
            return evaluation
        return Evaluation("skipped", f"{setting}, but {why}")
    waits = (
        "" if in_force.agrees or setting.unknown else f"; {setting} takes effect after a restart"
    )
    return Evaluation("pass" if in_force.right else "warn", f"{in_force.evidence}{waits}")
