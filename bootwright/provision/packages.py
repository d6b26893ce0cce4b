"""Deciding which packages a board needs, and the script that installs them."""

from dataclasses import dataclass

from bootwright.core.shell import Value, render
from bootwright.core.tools import Family
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.facts import HostFacts
from bootwright.provision.facts_script import PACKAGES_BEGUN, UPGRADED
from bootwright.provision.transaction import KEEP_AUDIT_RULES, hold_script
from bootwright.remote.job_script import JOB_FUNCTIONS
from bootwright.remote.sections import Section

LEAST_FREE_MIB = 500
"""MiB that have to be free on ``/``: Docker takes about 330 on armhf, and its archives 70."""

RULES = "/run/bootwright-audit-rules"
"""The kernel's audit rules before packages were changed; there until the job has ended well."""

LOCK_S = 900
"""Seconds that a job waits for other processes that work on packages, such as unattended upgrades:
these take some minutes on a slow card."""


@dataclass(frozen=True)
class PackagesPlan:
    """The packages that are to be installed and brought up to date.

    Attributes:
        family: which package manager does it.
        install: packages that are missing.
        optional: missing packages that the distribution may not have.
        upgrade: bring all other packages up to date as well; always so with pacman.
        why: the reason, in words for the operator.
    """

    family: Family
    install: tuple[str, ...]
    optional: tuple[str, ...]
    upgrade: bool
    why: str

    def describe(self) -> str:
        """Return it as a line."""
        what = ["bring all packages up to date"] if self.upgrade else []
        optional = (f"{name} (where it exists)" for name in self.optional)
        if names := (*self.install, *optional):
            what.append(f"install {', '.join(names)}")
        return f"{' and '.join(what) or 'finish what was begun'} ({self.why})"


def plan_packages(desired: DesiredState, facts: HostFacts) -> PackagesPlan | None:
    """Return what has to be done to packages; ``None`` if nothing."""
    assert facts.family is not None
    missing = [
        package
        for package in desired.profile.host.package
        if (package.only_for != "logs" or desired.logs is not None)
        and (name := package.name(facts.family))
        and facts.packages.keys().isdisjoint((name, *package.instead))
    ]
    install = tuple(p.name(facts.family) or "" for p in missing if not p.optional)
    upgrade = desired.upgrade or not facts.upgraded
    if not install and not upgrade and not facts.packages_begun:
        return None
    if desired.upgrade:
        why = "asked for"
    elif facts.packages_begun:
        why = "an earlier run was interrupted"
    elif upgrade:
        why = "never done by bootwright on this board"
    else:
        why = "missing"
    return PackagesPlan(
        facts.family,
        install,
        tuple(p.name(facts.family) or "" for p in missing if p.optional),
        upgrade or facts.family == "arch",
        why,
    )


def packages_script(plan: PackagesPlan, *, hold_containers: bool = False) -> str:
    """Return the job's script; it may be run again at any time, also after an interruption.

    Args:
        plan: what to do.
        hold_containers: have running containers go on while the Docker daemon is restarted; see
            :func:`bootwright.provision.transaction.hold_script`.
    """
    variables: dict[str, Value] = {
        "needed_mib": LEAST_FREE_MIB if plan.install else LEAST_FREE_MIB // 4,
        "packages": plan.install,
        "upgraded_file": UPGRADED,
        "begun_file": PACKAGES_BEGUN,
        "lock_s": LOCK_S,
        "rules_file": RULES,
        "transaction": ".",
    }
    script = hold_script() if hold_containers else render(*JOB_FUNCTIONS)
    if plan.family == "arch":
        file = "provision/shell/packages_pacman.sh"
    else:
        file = "provision/shell/packages_apt.sh"
        variables |= {"optional": plan.optional, "upgrade": plan.upgrade}
    shared = (KEEP_AUDIT_RULES, "provision/shell/packages.sh")
    return script + render(*shared, file, **variables)


def package_warnings(sections: tuple[Section, ...]) -> tuple[str, ...]:
    """Return what the operator should know after the job: a sentence each."""
    lines = {section.name: [line for line in section.lines if line] for section in sections}
    missing = lines.get("missing")
    fetched = [f"could not be fetched: {', '.join(missing)}"] if missing else []
    return (*fetched, *lines.get("warning", []))


def needs_reboot(facts: HostFacts) -> str:
    """Return why the board has to be restarted; empty if it need not be."""
    if facts.modules and facts.kernel not in facts.modules:
        newest = ", ".join(facts.modules)
        return f"the modules of the running kernel {facts.kernel} are gone (installed: {newest})"
    if facts.default_kernel is not None and facts.default_kernel != facts.kernel:
        return f"kernel {facts.default_kernel} is installed, {facts.kernel} runs"
    return ""


def new_kernel(facts: HostFacts) -> str:
    """Return the kernel that runs after a restart; several if the board does not tell which."""
    return facts.default_kernel or ",".join(facts.modules)
