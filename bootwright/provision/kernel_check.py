"""What the running kernel lacks, and what that costs."""

from dataclasses import dataclass

from bootwright.hosts.profile import KernelOption, Profile
from bootwright.provision.daemon_json import DaemonJson
from bootwright.provision.facts import HostFacts


@dataclass(frozen=True)
class KernelVerdict:
    """What is missing.

    Attributes:
        stops: why the profile cannot be applied at all.
        costs: what does not work, or less well.
        unknown: the board does not tell its kernel's configuration.
    """

    stops: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()
    unknown: bool = False


def judge_kernel(profile: Profile, facts: HostFacts, daemon: DaemonJson) -> KernelVerdict:
    """Return what the kernel of the board lacks for the profile as it is to be applied."""
    there = facts.kernel_options
    if there is None:
        return KernelVerdict(unknown=True)
    needed = {
        option
        for setting in profile.daemon.setting
        if setting.value is not None and setting.key in daemon.values
        for option in setting.kernel
    }
    stops, costs = [], []
    for wish in profile.kernel.option:
        if any(option in there for option in wish.options):
            continue
        if wish.required or needed.intersection(wish.options):
            stops.append(_said(wish))
        else:
            costs.append(_said(wish))
    return KernelVerdict(tuple(stops), tuple(costs))


def _said(wish: KernelOption) -> str:
    names = " or ".join(f"CONFIG_{name}" for name in wish.options)
    return f"the kernel lacks {names} ({wish.need}): {wish.cost}"
