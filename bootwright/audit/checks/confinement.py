"""How the kernel confines a container's processes: checks 5.2, 5.3, 5.4, 5.22 and 5.26.

How the engine parses security options: moby's ``daemon/daemon_unix.go`` (parseSecurityOpt),
``daemon/create.go`` (generateSecurityOpt); its capabilities: ``oci/caps/defaults.go``.
"""

import json

from bootwright.audit.checks.engine import security_option, security_options
from bootwright.audit.facts import AuditFacts
from bootwright.audit.inspected import Container
from bootwright.audit.model import Evaluation, Subject

DEFAULT_CAPABILITIES = frozenset(
    (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
"""The capabilities that the engine gives every container."""

NO_NEW_PRIVILEGES = "no-new-privileges"

BUILTIN = "builtin"
"""The name of the engine's own seccomp profile, from 23.0 on."""

USUAL_PROFILES = ("", BUILTIN, "default")
"""The names of an engine's own profile; ``default`` before 23.0."""

ALLOWING = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
"""The actions of a seccomp profile that allow a system call; seccomp_rule_add(3)."""

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
"""The texts that Go parses as true."""


def container_options(container: Container) -> tuple[tuple[str, str], ...]:
    """Return a container's security options as names and values, parsed as the engine does."""
    found = []
    for option in container.security:
        if option == NO_NEW_PRIVILEGES:
            found.append((option, "true"))
        elif option == "disable":
            found.append(("label", option))
        else:
            name, _, value = option.partition("=" if "=" in option else ":")
            found.append((name, value))
    return tuple(found)


def apparmor(subject: Subject, container: Container) -> Evaluation:
    """Evaluate 5.2: the container has an AppArmor profile, and the kernel enforces it."""
    # An empty list means that it could not be read.
    if subject.facts.lsm and "apparmor" not in subject.facts.lsm:
        return Evaluation("warn", "AppArmor is off in the board's kernel")
    if ("apparmor", "unconfined") in container_options(container):
        return Evaluation("warn", "apparmor=unconfined")
    profile = container.apparmor.strip()
    if profile in ("", "unconfined"):
        return Evaluation("warn", "AppArmor: unconfined" if profile else "no AppArmor profile")
    return Evaluation("pass", f"AppArmor profile {profile}")


def selinux(subject: Subject, container: Container) -> Evaluation:
    """Evaluate 5.3: the container has a label that SELinux enforces.

    A daemon that uses SELinux gives each container a label, unless an option disables that.
    """
    if not subject.facts.selinux:
        return Evaluation("warn", "SELinux is not in enforcing mode on the board")
    if security_option(subject.facts, "selinux") is None:
        return Evaluation("warn", "the daemon does not use SELinux (selinux-enabled)")
    if container.privileged:
        return Evaluation("warn", "privileged: it has no label")
    labels = [value for name, value in container_options(container) if name == "label"]
    for label in labels:
        if label == "disable" or label.startswith(("type:spc_t", "type:unconfined")):
            return Evaluation("warn", f"label={label}")
    text = ", ".join(f"label={label}" for label in labels)
    return Evaluation("pass", text or "the daemon gives it a label")


def capabilities(_: Subject, container: Container) -> Evaluation:
    """Evaluate 5.4: the container has no more capabilities than the engine's default."""
    if container.privileged:
        return Evaluation("warn", "privileged: it has all capabilities")
    names = {name.strip().upper().removeprefix("CAP_") for name in container.cap_add}
    more = sorted(names - DEFAULT_CAPABILITIES)
    if more:
        return Evaluation("warn", f"it adds {', '.join(more)}")
    return Evaluation("pass", "the engine's default capabilities, or fewer")


def seccomp(subject: Subject, container: Container) -> Evaluation:
    """Evaluate 5.22: system calls are filtered by the engine's or the container's own profile."""
    if container.privileged:
        return Evaluation("warn", "privileged, which switches seccomp off")
    own = [value for name, value in container_options(container) if name == "seccomp"]
    without = why_no_seccomp(subject.facts)
    if without and not (own and security_option(subject.facts, "seccomp")):
        return Evaluation("warn", without)
    evaluated = [_own_profile(value.strip()) for value in own if value != BUILTIN]
    for result in ("warn", "skipped", "pass"):
        for evaluation in evaluated:
            if evaluation.result == result:
                return evaluation
    profile = unknown_profile(subject) if not own else ""
    if profile:
        return Evaluation("skipped", f"the daemon's profile {profile}: what it denies is not known")
    return Evaluation("pass", "the engine's profile")


def _own_profile(text: str) -> Evaluation:
    """Evaluate a container's own seccomp profile, which is the option's value, in JSON.

    runc ignores a profile without a default action and without rules: see SetupSeccomp in its
    ``libcontainer/specconv/spec_linux.go``.
    """
    if text.lower() == "unconfined":
        return Evaluation("warn", "seccomp=unconfined")
    try:
        profile = json.loads(text)
    except (ValueError, RecursionError):
        profile = None
    rules = profile.get("syscalls") or [] if isinstance(profile, dict) else None
    if not isinstance(profile, dict) or not isinstance(rules, list):
        return Evaluation("skipped", "a seccomp profile of its own, which is not understood")
    default = profile.get("defaultAction") or ALLOWING[0]
    if default not in ALLOWING:
        return Evaluation("pass", "a seccomp profile of its own")
    if not any(map(_denies, rules)):
        return Evaluation("warn", "a seccomp profile of its own, which denies nothing")
    return Evaluation("pass", "a seccomp profile of its own, which denies some system calls")


def _denies(rule: object) -> bool:
    if not isinstance(rule, dict) or not (rule.get("names") or rule.get("name")):
        return False
    return isinstance(rule.get("action"), str) and rule["action"] not in ALLOWING


def why_no_seccomp(facts: AuditFacts) -> str:
    """Return why the engine does not filter system calls; empty if it does, or if not known."""
    if security_options(facts) is None:
        return ""
    option = security_option(facts, "seccomp")
    if option is None:
        return "the engine has no seccomp"
    if option.get("profile") == "unconfined":
        return "the daemon's seccomp profile is unconfined"
    return ""


def unknown_profile(subject: Subject) -> str:
    """Return the daemon's seccomp profile if the hardening profile does not list it; else empty."""
    used = (security_option(subject.facts, "seccomp") or {}).get("profile", "")
    setting = subject.profile.setting("seccomp-profile")
    known = setting.only if setting is not None else ()
    return "" if used in (*known, *USUAL_PROFILES) else used


def new_privileges(_: Subject, container: Container) -> Evaluation:
    """Evaluate 5.26: the container was created with no-new-privileges.

    This is set by its last option, or by the daemon's default on the day of its creation. A later
    change of the default does not change the container.
    """
    own = [value for name, value in container_options(container) if name == NO_NEW_PRIVILEGES]
    option = f"no-new-privileges={own[-1]}" if own else ""
    has = container.no_new_privileges
    if has is None and not own:
        return Evaluation("skipped", "the options of its creation are not known")
    if has is None:
        has = own[-1] in _TRUE
    if has:
        return Evaluation("pass", option or "created with the daemon's default, no-new-privileges")
    return Evaluation(
        "warn", option or "created without no-new-privileges; today's default does not change it"
    )
