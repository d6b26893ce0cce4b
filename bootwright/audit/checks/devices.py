"""Which devices of the board a container may use: check 5.18.

The form of rules: docker run(1), ``--device-cgroup-rule``; the kernel's
``Documentation/admin-guide/cgroup-v1/devices.rst``.
"""

from bootwright.audit.inspected import Container
from bootwright.audit.model import Evaluation, Subject


def devices(_: Subject, container: Container) -> Evaluation:
    """Evaluate 5.18: devices of the container, and rules that allow it more (with mknod)."""
    wide = wide_rules(container)
    if wide:
        return Evaluation("warn", f"any device, by the rule {', '.join(wide)}")
    if container.privileged:
        return Evaluation("info", "privileged: it has all devices")
    has = [*container.devices, *(f"rule {rule}" for rule in container.device_rules)]
    if container.device_requests:
        has.append(f"{container.device_requests} requested by name of the driver")
    return Evaluation("info", ", ".join(has)) if has else Evaluation("pass", "no device")


def wide_rules(container: Container) -> tuple[str, ...]:
    """Return a container's device rules that match all devices, or all of one type."""
    return tuple(rule for rule in container.device_rules if _is_wide(rule))


def _is_wide(rule: str) -> bool:
    kind, _, rest = rule.partition(" ")
    return kind not in ("b", "c") or rest.startswith("*")
