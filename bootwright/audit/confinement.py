"""What holds a container's processes back in the kernel: checks 5.2, 5.3, 5.4, 5.22 and 5.26.

How the engine takes security options apart: moby's ``daemon/daemon_unix.go`` (parseSecurityOpt),
``daemon/create.go`` (generateSecurityOpt); its capabilities: ``oci/caps/defaults.go``.
"""

from bootwright.audit.engine import security_option, security_options
from bootwright.audit.model import Judgement, Subject
from bootwright.audit.settings import configured
from bootwright.facts.audithost import AuditFacts
from bootwright.facts.inspected import Container
from bootwright.profile import version_key

DEFAULT_CAPABILITIES = frozenset(
    (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
"""What the engine gives every container."""

NO_NEW_PRIVILEGES = "no-new-privileges"

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
"""How Go reads true."""


def container_options(container: Container) -> tuple[tuple[str, str], ...]:
    """Return a container's security options as names and values, as the engine reads them."""
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


def apparmor(subject: Subject, container: Container) -> Judgement:
    """Judge 5.2: a profile, and a kernel that enforces it."""
    # An empty list is one that could not be read.
    if subject.facts.lsm and "apparmor" not in subject.facts.lsm:
        return Judgement("warn", "AppArmor is off in the board's kernel")
    if ("apparmor", "unconfined") in container_options(container):
        return Judgement("warn", "apparmor=unconfined")
    profile = container.apparmor.strip()
    if profile in ("", "unconfined"):
        return Judgement("warn", "AppArmor: unconfined" if profile else "no AppArmor profile")
    return Judgement("pass", f"AppArmor profile {profile}")


def selinux(subject: Subject, container: Container) -> Judgement:
    """Judge 5.3: a label that SELinux enforces.

    A daemon that uses SELinux labels each container itself, unless an option disables that.
    """
    if not subject.facts.selinux:
        return Judgement("warn", "SELinux does not enforce on the board")
    if security_option(subject.facts, "selinux") is None:
        return Judgement("warn", "the daemon does not use SELinux (selinux-enabled)")
    if container.privileged:
        return Judgement("warn", "privileged: it has no label")
    labels = [value for name, value in container_options(container) if name == "label"]
    for label in labels:
        if label == "disable" or label.startswith(("type:spc_t", "type:unconfined")):
            return Judgement("warn", f"label={label}")
    said = ", ".join(f"label={label}" for label in labels)
    return Judgement("pass", said or "the daemon gives it a label")


def capabilities(_: Subject, container: Container) -> Judgement:
    """Judge 5.4: capabilities beyond those that the engine gives every container."""
    if container.privileged:
        return Judgement("warn", "privileged: it has all capabilities")
    names = {name.strip().upper().removeprefix("CAP_") for name in container.cap_add}
    more = sorted(names - DEFAULT_CAPABILITIES)
    if more:
        return Judgement("warn", f"it adds {', '.join(more)}")
    return Judgement("pass", "the engine's capabilities or fewer")


def seccomp(subject: Subject, container: Container) -> Judgement:
    """Judge 5.22: a filter of system calls, the engine's or the container's own."""
    if container.privileged:
        return Judgement("warn", "privileged, which switches seccomp off")
    own = [value for name, value in container_options(container) if name == "seccomp"]
    if any(value.strip().lower() == "unconfined" for value in own):
        return Judgement("warn", "seccomp=unconfined")
    without = no_seccomp(subject.facts)
    if without and not (own and security_option(subject.facts, "seccomp")):
        return Judgement("warn", without)
    return Judgement("pass", "a seccomp profile of its own" if own else "the engine's profile")


def no_seccomp(facts: AuditFacts) -> str:
    """Return why the engine filters no system calls; empty if it does or does not tell."""
    if security_options(facts) is None:
        return ""
    option = security_option(facts, "seccomp")
    if option is None:
        return "the engine has no seccomp"
    if option.get("profile") == "unconfined":
        return "the daemon's seccomp profile is unconfined"
    return ""


def new_privileges(subject: Subject, container: Container) -> Judgement:
    """Judge 5.26: the container's last option, else the default of the daemon that runs."""
    own = [value for name, value in container_options(container) if name == NO_NEW_PRIVILEGES]
    if own and own[-1] in _TRUE:
        return Judgement("pass", NO_NEW_PRIVILEGES)
    if own:
        return Judgement("warn", f"no-new-privileges={own[-1]}, whatever the daemon's default is")
    facts = subject.facts
    if security_option(facts, NO_NEW_PRIVILEGES) is not None:
        return Judgement("pass", "the daemon's default")
    setting = configured(facts, NO_NEW_PRIVILEGES)
    if setting.value is not True and setting.unknown:
        return Judgement("skipped", f"the daemon's default: {setting.unknown}")
    if setting.value is not True:
        return Judgement("warn", "neither the container nor the daemon sets no-new-privileges")
    # The option is among those that docker info tells of from 23.0 on.
    if version_key(facts.engine_version) >= (23,):
        return Judgement("warn", f"{setting} waits for a restart of the daemon")
    return Judgement("pass", f"the daemon's default: {setting}")
