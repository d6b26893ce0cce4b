"""Whether the logs of containers are sent to another machine: check 2.13.

The log drivers and their destinations: moby's ``daemon/logger``.
"""

from collections.abc import Mapping
from typing import Any

from bootwright.audit.checks.addresses import host_of, is_elsewhere
from bootwright.audit.checks.engine import engine_value
from bootwright.audit.checks.settings import InForce, configured, evaluate_in_force
from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import Evaluation, Subject
from bootwright.logs.relay_names import SERVICE as RELAY_SERVICE
from bootwright.logs.relay_names import SOCKET as RELAY_SOCKET

KEPT_HERE = ("json-file", "local", "journald", "none")
"""Log drivers that keep logs on the board."""

_SENT_AWAY = ("awslogs", "gcplogs", "logentries")
"""Log drivers that always send logs away."""

_ADDRESS = {
    "syslog": "syslog-address",
    "gelf": "gelf-address",
    "fluentd": "fluentd-address",
    "splunk": "splunk-url",
}
"""Log drivers that send to an address, with the option for the address."""


def remote_logging(subject: Subject) -> Evaluation:
    """2.13: logs of containers are sent to another machine, directly or by the board's relay."""
    facts = subject.facts
    setting = configured(facts, "log-driver")
    options = configured(facts, "log-opts")
    reported, in_force = engine_value(facts, "LoggingDriver"), None
    driver = reported if isinstance(reported, str) else ""
    if (driver or setting.value) not in (*KEPT_HERE, *_SENT_AWAY, *_ADDRESS):
        why = (
            f"log-driver = {driver or setting.value} is a plugin: where it sends logs is not known"
        )
        return Evaluation("skipped", why)
    sends = options.value if isinstance(options.value, Mapping) else {}
    right, _ = _sent(str(setting.value), sends, facts)
    if driver:
        agrees = driver == setting.value
        right_now, where = _sent(driver, sends, facts)
        if driver in _ADDRESS and (not agrees or options.unknown):
            # The known options are those of another driver.
            right_now, where = False, "; the destination is not known"
        in_force = InForce(f"log-driver = {driver} (docker info){where}", right_now, agrees)
    return evaluate_in_force(facts, setting, right, in_force)


def _sent(driver: str, options: Mapping[str, Any], facts: AuditFacts) -> tuple[bool, str]:
    """Return whether a log driver sends logs to another machine, and a text about where to."""
    if driver in _SENT_AWAY:
        return True, ""
    if driver not in _ADDRESS:
        return False, ", which keeps logs on the board"
    option = _ADDRESS[driver]
    address = options.get(option)
    if not isinstance(address, str) or not address:
        return False, f" without {option}: to the board itself, if anywhere"
    if address == f"unixgram://{RELAY_SOCKET}":
        relay = _relay_runs(facts)
        return relay, f"; {option} = {address}, the board's relay{'' if relay else ', is down'}"
    away = not address.startswith(("unix:", "unixgram:")) and is_elsewhere(
        host_of(address), facts.hostname
    )
    return away, f"; {option} = {address}{'' if away else ', on the board itself'}"


def _relay_runs(facts: AuditFacts) -> bool:
    # If systemd reports no such unit, there is none.
    unit = facts.units.get(RELAY_SERVICE)
    return unit is not None and unit.active == "active"
