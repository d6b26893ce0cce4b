"""Which options the running kernel lacks, and what does not work without them."""

from dataclasses import dataclass

from bootwright.hosts.profile import KernelOption, Profile
from bootwright.provision.daemon_json import DaemonJson
from bootwright.provision.facts import HostFacts


@dataclass(frozen=True)
class KernelProblems:
    """What the kernel lacks, a sentence for each option.

    Attributes:
        stops: without these the profile cannot be applied.
        costs: without these something works less well, or not at all.
        unknown: the kernel's configuration could not be read.
    """

    stops: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()
    unknown: bool = False


def check_kernel(profile: Profile, facts: HostFacts, daemon: DaemonJson) -> KernelProblems:
    """Return what the kernel of the board lacks for the profile as it is to be applied."""
    present = facts.kernel_options
    if present is None:
        return KernelProblems(unknown=True)
    needed = {
        option
        for setting in profile.daemon.setting
        if setting.value is not None and setting.key in daemon.values
        for option in setting.kernel
    }
    stops, costs = [], []
    for wanted in profile.kernel.option:
        if any(option in present for option in wanted.options):
            continue
        if wanted.required or needed.intersection(wanted.options):
            stops.append(_sentence(wanted))
        else:
            costs.append(_sentence(wanted))
    return KernelProblems(tuple(stops), tuple(costs))


def _sentence(lacking: KernelOption) -> str:
    names = " or ".join(f"CONFIG_{name}" for name in lacking.options)
    return f"the kernel lacks {names} ({lacking.need}): {lacking.cost}"
