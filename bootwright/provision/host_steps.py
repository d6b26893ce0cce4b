"""The steps about the board itself: host name, time, SSH, mounts, who may use Docker."""

from bootwright.core.board_names import BINDS, SSHD_DROP_IN, SSHD_INCLUDE, UNITS, VOLUME
from bootwright.core.errors import RefusedError
from bootwright.core.file_changes import Change, FileChange, SymlinkChange, text_file
from bootwright.provision.actions import (
    Action,
    AddToGroup,
    Check,
    EnableUnit,
    ReloadSshd,
    ReloadSystemd,
    SetHostname,
)
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.facts import HostFacts
from bootwright.provision.steps import Step, differing, kept_mode

HOSTNAME = "/etc/hostname"
HOSTS = "/etc/hosts"
LOCALTIME = "/etc/localtime"
TIMEZONE = "/etc/timezone"
SSHD_CONFIG = "/etc/ssh/sshd_config"

FILES = (HOSTNAME, HOSTS, LOCALTIME, TIMEZONE, SSHD_CONFIG, SSHD_DROP_IN)
"""Files whose content these steps compare; the script that collects facts reports them."""

TIME_UNITS = (
    *("systemd-timesyncd.service", "chrony.service", "chronyd.service", "ntpd.service"),
    *("ntpsec.service", "ntp.service", "openntpd.service", "ntpd-rs.service"),
)
"""Services that keep the clock right; the first one that is installed is started if none runs."""


def mount_files() -> tuple[str, ...]:
    """Return the drop-ins by which Docker starts only where its volume is mounted."""
    return tuple(_drop_in(unit) for units in BINDS.values() for unit in units)


def host_step(desired: DesiredState, facts: HostFacts) -> Step:
    """Set the host name and the time zone, and have something keep the clock right."""
    name = desired.target.hostname
    zone = f"/usr/share/zoneinfo/{desired.target.timezone}"
    changes = list(differing(facts.files, [text_file(HOSTNAME, f"{name}\n")]))
    actions: list[Action] = []
    says = []
    hosts = _with_host(facts.files.text(HOSTS), name)
    changes += differing(facts.files, [text_file(HOSTS, hosts, kept_mode(facts.files, HOSTS))])
    if facts.files.links.get(LOCALTIME, "").split("zoneinfo/")[-1] != desired.target.timezone:
        # A board that has no such zone fails here, and the link is put back.
        actions.append(Check(("test", "-f", zone)))
        changes.append(SymlinkChange(LOCALTIME, zone))
        changes += differing(facts.files, [text_file(TIMEZONE, f"{desired.target.timezone}\n")])
    if facts.hostname != name:
        actions.append(SetHostname(name, facts.hostname))
        says.append(f"the board's host name becomes {name}, not {facts.hostname}")
    keeper = _time_keeper(facts)
    if keeper is not None and facts.unit(keeper).active != "active":
        actions.append(EnableUnit(keeper, start=True))
        says.append(f"keep the clock right by {keeper.removesuffix('.service')}")
    elif keeper is not None and facts.unit(keeper).enabled == "disabled":
        actions.append(EnableUnit(keeper))
        says.append(
            f"start {keeper.removesuffix('.service')}, which keeps the clock right, at every boot"
        )
    return Step("host", changes=tuple(changes), actions=tuple(actions), says=tuple(says))


def _time_keeper(facts: HostFacts) -> str | None:
    """Return the service that keeps the clock right: the one that runs, or one that can run."""
    units = {name: facts.unit(name) for name in TIME_UNITS}
    running = [name for name, unit in units.items() if unit.active == "active"]
    usable = [name for name, unit in units.items() if unit.installed and unit.active != "failed"]
    return next(iter((*running, *usable)), None)


def time_warnings(facts: HostFacts) -> tuple[str, ...]:
    """Return a warning if nothing keeps the board's clock right, and nothing can be started."""
    if _time_keeper(facts) is not None:
        return ()
    there = [name for name in TIME_UNITS if facts.unit(name).load != "not-found"]
    states = ", ".join(
        f"{name} {'has failed' if facts.unit(name).installed else 'is masked'}" for name in there
    )
    return (
        "nothing keeps the board's clock right, so certificates and lists of packages may seem"
        f" not to be valid: {states or 'install systemd-timesyncd there'}",
    )


def _with_host(text: str, name: str) -> str:
    """Return ``/etc/hosts`` with the board's name, which sudo resolves at each call."""
    lines = text.splitlines()
    if any(name in line.split("#")[0].split()[1:] for line in lines):
        return text
    kept = [line for line in lines if line.split()[:1] != ["127.0.1.1"]]
    place = next((n + 1 for n, line in enumerate(kept) if line.split()[:1] == ["127.0.0.1"]), 0)
    return "".join(f"{line}\n" for line in (*kept[:place], f"127.0.1.1 {name}", *kept[place:]))


def ssh_step(desired: DesiredState, facts: HostFacts) -> Step:
    """Allow keys only; root only with a key, and not at all where the target has another user.

    Raises:
        RefusedError: the settings of the board's sshd could not be read.
    """
    if facts.sshd is None:
        raise RefusedError(
            "could not read the settings of the board's sshd: "
            f"{facts.sshd_error or 'sshd -T failed'}"
        )
    as_root = desired.login == "root"
    wanted = {item.directive.lower(): item.value for item in desired.profile.host.ssh}
    wanted["permitrootlogin"] = "without-password" if as_root else "no"
    # sshd(8) accepts both words; which one sshd -T prints depends on its version.
    spelt = {"prohibit-password": "without-password"}
    wrong = {
        name: found
        for name, value in wanted.items()
        # An sshd without this directive does not have the feature either.
        if (found := facts.sshd.get(name)) is not None and spelt.get(found, found) != value
    }
    checks = tuple(check for item in desired.profile.host.ssh for check in item.checks)
    if not wrong and facts.sshd_unread:
        says = ("have sshd read its configuration, which was changed since it started",)
        return Step("ssh", checks, actions=(Check(("sshd", "-t")), ReloadSshd()), says=says)
    if not wrong:
        return Step("ssh", checks)
    target = desired.target.model_copy(update={"user": desired.login})
    drop_in = desired.renderer.render("sshd.conf.j2", {"target": target})
    config = SSHD_INCLUDE + facts.files.text(SSHD_CONFIG).removeprefix(SSHD_INCLUDE)
    return Step(
        "ssh",
        checks,
        changes=differing(facts.files, [text_file(SSHD_DROP_IN, drop_in), _config(facts, config)]),
        actions=(Check(("sshd", "-t")), ReloadSshd()),
        says=tuple(
            f"sshd: {name} {found} → {wanted[name]}" for name, found in sorted(wrong.items())
        ),
    )


def _config(facts: HostFacts, text: str) -> FileChange:
    return text_file(SSHD_CONFIG, text, kept_mode(facts.files, SSHD_CONFIG))


def mount_step(desired: DesiredState, facts: HostFacts) -> Step:
    """Have Docker and containerd start only where their data is mounted."""
    values = {"target": desired.target, "volume": VOLUME}
    wanted: list[Change] = [
        text_file(
            _drop_in(unit),
            desired.renderer.render("mounted-only.conf.j2", {**values, "bind": bind}),
        )
        for bind, units in BINDS.items()
        for unit in units
    ]
    changes = differing(facts.files, wanted)
    if changes:
        return Step("mount", ("1.1.1",), changes, actions=(ReloadSystemd(),))
    if any(facts.unit(unit).need_reload for units in BINDS.values() for unit in units):
        says = ("have systemd read its units, which were changed since it did",)
        return Step("mount", ("1.1.1",), actions=(ReloadSystemd(),), says=says)
    return Step("mount", ("1.1.1",))


def _drop_in(unit: str) -> str:
    return f"{UNITS}/{unit}.d/50-{VOLUME}.conf"


def users_step(desired: DesiredState, facts: HostFacts) -> Step:
    """Put the trusted user into the group ``docker``, if the target names one.

    Raises:
        RefusedError: the board has no such account.
    """
    user = desired.target.docker.trusted_user
    if user is None or user in (facts.docker_group or ()):
        return Step("users", ("1.1.2",))
    if user not in facts.accounts:
        raise RefusedError(
            f"docker.trusted_user: the board has no account {user!r}; make it there first"
        )
    return Step(
        "users",
        ("1.1.2",),
        actions=(AddToGroup(user, "docker"),),
        says=(f"{user} may use Docker, and so can become root on the board",),
    )
