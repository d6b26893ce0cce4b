"""What the running kernel lacks, and what does not work without it."""

from dataclasses import dataclass

from bootwright.hosts.profile import KernelOption, Profile
from bootwright.provision.daemon_json import DaemonJson
from bootwright.provision.facts import HostFacts

NFT_OPTION = "NFT_COMPAT"
"""The kernel's option for the rules of iptables in nf_tables; it depends on nf_tables itself."""

_OLD_TABLES = (("IP_NF_FILTER",), ("IP_NF_NAT", "NF_NAT_IPV4"))
"""The options for the older tables filter and nat: one of each."""

_MEMORY = "No memory limit support"
"""How the engine says that the kernel does not limit the memory of containers."""


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
        if any(option in present for option in wanted.options) or wanted.need == "audit":
            # What is left out without audit is reported by its own step.
            continue
        if wanted.required or needed.intersection(wanted.options):
            stops.append(_sentence(wanted))
        else:
            costs.append(_sentence(wanted))
    return KernelProblems(tuple(stops), tuple(costs))


def _sentence(lacking: KernelOption) -> str:
    names = " or ".join(f"CONFIG_{name}" for name in lacking.options)
    return f"the kernel lacks {names} ({lacking.need}): {lacking.cost}"


def check_iptables(facts: HostFacts, daemon: DaemonJson) -> tuple[str, ...]:
    """Return why the daemon could not write its rules for the network, a sentence each.

    iptables is one of two programs: for the kernel's nf_tables, or for its older tables.
    """
    values = daemon.values
    if values.get("iptables") is False or values.get("firewall-backend") == "nftables":
        return ()
    options = facts.kernel_options
    lacks_nft = options is not None and NFT_OPTION not in options
    if not {"iptables", "dockerd"} & facts.tools:
        return _check_coming_iptables(facts)
    if facts.iptables == "nf_tables" and (lacks_nft or facts.iptables_error):
        why = f"CONFIG_{NFT_OPTION}" if lacks_nft else f"iptables reports: {facts.iptables_error}"
        return (
            f"iptables on the board is the one for nf_tables, which the kernel lacks ({why}), so"
            f" the Docker daemon does not start. {_instead_of_nft(facts)}",
        )
    if facts.iptables_error:
        return (
            "iptables does not work on the board, so the Docker daemon does not start:"
            f" {facts.iptables_error}",
        )
    return ()


def _check_coming_iptables(facts: HostFacts) -> tuple[str, ...]:
    """Return why the iptables that Docker's package brings would not work, as far as is known.

    On Debian that is the one for nf_tables, unless somebody has chosen the other one.
    """
    options, missing = facts.kernel_options, facts.missing_modules or frozenset()
    if options is not None and NFT_OPTION not in options:
        why = f"CONFIG_{NFT_OPTION}"
    elif "nft_compat" in missing and (options is None or options[NFT_OPTION] == "m"):
        why = "no module nft_compat, or modprobe.d forbids it"
    else:
        return ()
    if _has_old_tables(facts) and facts.family != "debian":
        return ()
    way = _instead_of_nft(facts).replace("use", "install the package iptables there and use", 1)
    return (
        "Docker needs iptables, and its package brings the one for nf_tables, which the kernel"
        f" lacks ({why}), so the Docker daemon would not start. {way}",
    )


def _has_old_tables(facts: HostFacts) -> bool:
    options, missing = facts.kernel_options, facts.missing_modules
    if options is None:
        return missing is not None and not {"iptable_nat", "iptable_filter"} & missing
    return all(any(option in options for option in one_of) for one_of in _OLD_TABLES)


def _instead_of_nft(facts: HostFacts) -> str:
    if not _has_old_tables(facts) and not facts.iptables_legacy:
        return "The kernel does not have the older tables either: install another kernel"
    if facts.family == "arch":
        return (
            "The kernel has the older tables: install the package iptables-legacy there in place"
            " of the one for nf_tables, then run it again"
        )
    return (
        "The kernel has the older tables: use iptables-legacy there (update-alternatives --set"
        " iptables /usr/sbin/iptables-legacy, and update-alternatives --set ip6tables"
        " /usr/sbin/ip6tables-legacy), then run it again"
    )


def engine_warnings(facts: HostFacts) -> tuple[str, ...]:
    """Return what the running engine warns of, a sentence each."""
    found = list(facts.engine_warnings)
    warnings = []
    if _MEMORY in found:
        found.remove(_MEMORY)
        warnings.append(
            "the memory of containers cannot be limited (check 5.11), so one of them can take the"
            f" board down (docker info: {_MEMORY}): if the kernel can do it, add"
            " cgroup_enable=memory to its command line (on Raspberry Pi OS in"
            " /boot/firmware/cmdline.txt) and restart the board"
        )
    if found:
        warnings.append(f"docker info warns: {'; '.join(found)}")
    return tuple(warnings)
