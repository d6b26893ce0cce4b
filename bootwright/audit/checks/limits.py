"""Limits for a container's use of memory, CPU and processes: checks 5.11, 5.12 and 5.29.

A limit above what the board has does not count.
"""

from bootwright.audit.checks.engine import engine_value
from bootwright.audit.facts import AuditFacts
from bootwright.audit.inspected import Container
from bootwright.audit.model import Evaluation, Subject

DEFAULT_SHARES = 1024
"""The CPU shares of a container without ``--cpu-shares``."""

USUAL_PERIOD = 100_000
"""The default period of a CPU quota, in microseconds: that of the kernel."""

MAX_PIDS = 4_194_304
"""The most processes that any kernel can have: proc(5), ``pid_max``."""


def memory(subject: Subject, container: Container) -> Evaluation:
    """Evaluate 5.11: memory is limited."""
    if container.memory <= 0:
        return Evaluation("warn", "memory is not limited")
    if engine_value(subject.facts, "MemoryLimit") is False:
        return Evaluation("warn", "the board's kernel does not limit memory")
    has, limit = _number(subject.facts, "MemTotal"), f"at most {container.memory // 2**20} MiB"
    if has and container.memory > has:
        return Evaluation("warn", f"{limit}, which is more than the board's {has // 2**20} MiB")
    return Evaluation("pass", limit)


def cpu(subject: Subject, container: Container) -> Evaluation:
    """Evaluate 5.12: the container has its own CPU shares, or a CPU limit."""
    facts = subject.facts
    limited, limit = _cpus(container)
    beyond = _beyond(facts, container)
    weighed = container.cpu_shares > 0 and container.cpu_shares != DEFAULT_SHARES
    if limited and not beyond and engine_value(facts, "CpuCfsQuota") is not False:
        return Evaluation("pass", limit)
    if weighed and engine_value(facts, "CPUShares") is not False:
        return Evaluation("pass", f"{container.cpu_shares} CPU shares")
    if limited and beyond:
        return Evaluation("warn", f"{limit}, which is more than the board has")
    if limited or weighed:
        return Evaluation("warn", "the board's kernel does not limit the CPU")
    shares = f"{DEFAULT_SHARES} CPU shares, as every container has"
    return Evaluation("warn", shares if container.cpu_shares > 0 else "the CPU is not limited")


def pids(subject: Subject, container: Container) -> Evaluation:
    """Evaluate 5.29: the number of processes is limited."""
    if container.pids_limit is None or container.pids_limit <= 0:
        return Evaluation("warn", "processes are not limited")
    if engine_value(subject.facts, "PidsLimit") is False:
        return Evaluation("warn", "the board's kernel does not limit processes")
    limit = f"at most {container.pids_limit} processes"
    if container.pids_limit >= MAX_PIDS:
        return Evaluation("warn", f"{limit}, more than any kernel allows")
    return Evaluation("pass", limit)


def _cpus(container: Container) -> tuple[bool, str]:
    """Return whether CPU time is limited, and how."""
    if container.nano_cpus > 0:
        return True, f"at most {container.nano_cpus / 1e9:g} CPUs"
    return container.cpu_quota > 0, f"a CPU quota of {container.cpu_quota} µs"


def _beyond(facts: AuditFacts, container: Container) -> bool:
    """Return whether the limit is higher than the board's number of CPUs."""
    has = _number(facts, "NCPU")
    if not has:
        return False
    if container.nano_cpus > 0:
        return container.nano_cpus > has * 10**9
    period = container.cpu_period if container.cpu_period > 0 else USUAL_PERIOD
    return container.cpu_quota > has * period


def _number(facts: AuditFacts, name: str) -> int:
    """Return a number of ``docker info``; 0 if it is not known."""
    value = engine_value(facts, name)
    return value if type(value) is int and value > 0 else 0
