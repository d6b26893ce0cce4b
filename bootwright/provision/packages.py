"""Deciding which packages a board needs, and the script that installs them.

Sources: apt-get(8), apt.conf(5), dpkg(1); pacman(8), pacman-key(8), and the Arch wiki's "System
maintenance" (no partial upgrades; the keyring first).
"""

import shlex
from dataclasses import dataclass

from bootwright.core.board_names import STATE
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.facts import Family, HostFacts
from bootwright.provision.facts_script import UPGRADED
from bootwright.remote.job_script import JOB_PRELUDE
from bootwright.remote.sections import Section

LEAST_FREE_MIB = 500
"""MiB that have to be free on ``/``: Docker takes about 330 on armhf, and its archives 70."""

_COMMON = r"""
stop() {
    section failed
    printf '%s\n' "$1" "$said" | quoted
    exit 1
}
try() {
    what=$1
    shift
    progress "$what"
    said=$("$@" 2>&1 </dev/null) && return
    said=$(printf '%s\n' "$said" | tail -n 15)
    stop "$what"
}
free=$(df -Pk / | awk 'NR == 2 { print int($4 / 1024) }')
said="$free MiB are free on /, and @least@ are needed"
[ "$free" -ge @least@ ] || stop "look for space"
missing=
"""

_APT = r"""
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
apt() {
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef \
        -o Dpkg::Options::=--force-confold "$@"
}
# What an interrupted run left half done.
try "finish what was left half done" dpkg --force-confdef --force-confold --configure -a
progress "fetch the lists of packages"
rounds=0 waits=0
until said=$(apt update --error-on=any 2>&1 </dev/null); do
    case $said in
    *"ould not get lock"*)
        # The system's own timer is at it; this lock has no timeout.
        waits=$((waits + 1))
        [ "$waits" -lt 60 ] && sleep 5 && continue
        ;;
    esac
    rounds=$((rounds + 1))
    if [ "$rounds" -eq 3 ]; then
        # One list that cannot be had, such as of a mirror that is being updated, is no reason
        # to do without the others; what is missing is told. None at all is one.
        missing=$(printf '%s\n' "$said" |
            sed -n 's,^E: Failed to fetch [^ ]*/dists/\([^ /]*\)/.*,\1,p' | sort -u)
        if [ -z "$missing" ] || ! printf '%s\n' "$said" | grep -q '^\(Hit\|Get\):'; then
            said=$(printf '%s\n' "$said" | tail -n 15)
            stop "fetch the lists of packages"
        fi
        break
    fi
    sleep "$rounds"
done
"""

_APT_UPGRADE = r"""
# New packages may come in, such as a kernel; none is ever removed.
try "bring everything up to date" apt --with-new-pkgs upgrade
"""

_APT_INSTALL = r"""
more=
for name in @optional@; do
    apt-cache show --no-all-versions "$name" >/dev/null 2>&1 && more="$more $name"
done
# The relay is a service of our own; theirs would keep everything on the plain root as well.
vendors=/lib/systemd/system/syslog-ng.service
case " @packages@ " in
*" syslog-ng-core "*)
    [ -e "$vendors" ] || ln -sf /dev/null /etc/systemd/system/syslog-ng.service
    ;;
esac
# Word splitting is meant: plain names.
try "install" apt --no-remove --no-install-recommends install @packages@ $more
"""

_PACMAN = r"""
lock=/var/lib/pacman/db.lck
if [ -e "$lock" ]; then
    said="pacman is at work on the board; wait for it to end"
    for file in /proc/[0-9]*/comm; do
        read -r name <"$file" 2>/dev/null && [ "$name" = pacman ] && stop "look for other work"
    done
    progress "take away the lock of a pacman that was interrupted"
    rm -f "$lock"
fi
# Beside the board's own key it holds others once it was filled, and no mark if that has ended.
half=/etc/pacman.d/gnupg.half
if [ -e "$half" ] || [ "$(pacman-key --list-keys 2>/dev/null | grep -c '^pub')" -le 1 ]; then
    : >"$half"
    try "make the keyring" pacman-key --init
    try "fill the keyring" pacman-key --populate
    rm -f "$half"
fi
try "fetch the lists of packages" pacman -Sy --noconfirm
# The keyring first: with an old one, new packages look forged.
keyrings=$(pacman -Qq | grep -e '-keyring$')
[ -z "$keyrings" ] || try "bring the keyring up to date" pacman -S --noconfirm --needed $keyrings
"""

_PACMAN_ALL = r"""
# Always everything at once: a partial upgrade is not supported.
try "bring everything up to date and install" pacman -Su --noconfirm --needed @packages@
"""

_DONE = r"""
mkdir -p @state@
printf '%s %s\n' "$(date -u +%Y-%m-%d)" "$(echo $missing)" >@upgraded@.new
mv -f @upgraded@.new @upgraded@
section missing
printf '%s\n' "$missing" | quoted
"""


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
        return f"{' and '.join(what)} ({self.why})"


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
    if not install and not upgrade:
        return None
    if desired.upgrade:
        why = "asked for"
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


def packages_script(plan: PackagesPlan) -> str:
    """Return the job's script; it may be run again at any time, also after an interruption."""
    if plan.family == "debian":
        body = _APT + (_APT_UPGRADE if plan.upgrade else "") + _APT_INSTALL
    else:
        body = _PACMAN + _PACMAN_ALL
    values = {
        "@least@": str(LEAST_FREE_MIB if plan.install else LEAST_FREE_MIB // 4),
        "@packages@": shlex.join(plan.install),
        "@optional@": shlex.join(plan.optional),
        "@state@": STATE,
        "@upgraded@": UPGRADED,
    }
    script = JOB_PRELUDE + _COMMON + body + _DONE
    for name, value in values.items():
        script = script.replace(name, value)
    return script


def missing_lists(sections: tuple[Section, ...]) -> tuple[str, ...]:
    """Return the lists of packages that could not be fetched."""
    return tuple(
        line for section in sections if section.name == "missing" for line in section.lines if line
    )


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
