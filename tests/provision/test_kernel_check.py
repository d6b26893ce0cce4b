"""What the kernel and the running engine lack, and what an operator is told about it."""

from typing import Any

import pytest

from bootwright.core.errors import RefusedError
from bootwright.provision.facts import HostFacts
from bootwright.provision.plan import plan_provision
from tests.support.host_facts import desired, engine, stock

NFT = ("NFT_COMPAT", "NFT_NAT", "NFT_MASQ")

OLD = ("IP_NF_FILTER", "IP_NF_NAT", "NF_NAT_IPV4")

NO_NFT = "iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Invalid argument"


def lacking(*names: str, **different: Any) -> HostFacts:
    known = stock().kernel_options or {}
    options = {name: "y" for name in known if name not in names}
    return stock(kernel_options=options, **different)


STOPPED: dict[str, Any] = {"engine": None, "engine_runs": False}


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (lacking(*NFT), "the kernel lacks (CONFIG_NFT_COMPAT)"),
        (lacking(*NFT, **STOPPED), "the kernel lacks (CONFIG_NFT_COMPAT)"),
        # The module is there, and does not load.
        (stock(iptables_error=NO_NFT, **STOPPED), NO_NFT),
        (
            stock(kernel_options=None, iptables_error=NO_NFT, iptables_legacy=True, **STOPPED),
            NO_NFT,
        ),
    ],
)
def test_a_kernel_without_nf_tables_is_refused_with_the_way_out(facts: HostFacts, why: str) -> None:
    with pytest.raises(RefusedError) as error:
        plan_provision(desired(), facts)
    assert why in str(error.value)
    assert "update-alternatives --set iptables /usr/sbin/iptables-legacy" in str(error.value)


def test_iptables_for_the_older_tables_is_no_reason_to_refuse() -> None:
    plan = plan_provision(desired(), lacking(*NFT, iptables="legacy"))
    assert plan.to_do
    # Not installed yet.
    assert plan_provision(desired(), lacking(*NFT, iptables="")).to_do
    # The daemon writes no rules.
    own = {"daemon": {"iptables": False, "icc": True, "userland-proxy": True}}
    assert plan_provision(desired(own), lacking(*NFT)).to_do


NEW_BOARD: dict[str, Any] = {
    "iptables": "",
    "tools": stock().tools - {"docker", "dockerd", "auditctl"},
    "packages": {},
    "engine": None,
    "engine_runs": False,
}
"""A board on which neither Docker nor iptables is installed."""


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (lacking(*NFT, **NEW_BOARD), "(CONFIG_NFT_COMPAT)"),
        (
            stock(kernel_options=None, missing_modules=frozenset(["nft_compat"]), **NEW_BOARD),
            "(no module nft_compat, or modprobe.d forbids it)",
        ),
        (
            stock(
                kernel_options={**dict(stock().kernel_options or {}), "NFT_COMPAT": "m"},
                missing_modules=frozenset(["nft_compat", "iptable_nat"]),
                **NEW_BOARD,
            ),
            "(no module nft_compat, or modprobe.d forbids it)",
        ),
    ],
)
def test_nf_tables_are_missed_before_packages_are_installed(facts: HostFacts, why: str) -> None:
    with pytest.raises(RefusedError, match="nothing was changed") as error:
        plan_provision(desired(), facts)
    assert why in str(error.value)
    assert "install the package iptables there and use iptables-legacy" in str(error.value)


@pytest.mark.parametrize(
    "facts",
    [
        stock(**NEW_BOARD),
        stock(kernel_options=None, **NEW_BOARD),
        stock(kernel_options=None, missing_modules=frozenset(["iptable_nat"]), **NEW_BOARD),
        # Built in, so there need not be a file of the module.
        stock(missing_modules=frozenset(["nft_compat"]), **NEW_BOARD),
    ],
)
def test_a_new_board_whose_kernel_can_do_it_gets_its_packages(facts: HostFacts) -> None:
    assert plan_provision(desired(), facts).packages is not None


def test_a_new_board_whose_kernel_has_neither_tables() -> None:
    missing = frozenset(["nft_compat", "iptable_nat", "iptable_filter"])
    facts = stock(kernel_options=None, missing_modules=missing, **NEW_BOARD)
    with pytest.raises(RefusedError, match="install another kernel"):
        plan_provision(desired(), facts)


def test_no_way_out_is_offered_that_does_not_work() -> None:
    neither = stock(kernel_options=None, iptables_error=NO_NFT, **STOPPED)
    with pytest.raises(RefusedError, match="does not have the older tables either"):
        plan_provision(desired(), neither)
    legacy = stock(iptables="legacy", iptables_error="can't initialize table `nat'", **STOPPED)
    with pytest.raises(RefusedError, match=r"does not work on the board.*table `nat'") as error:
        plan_provision(desired(), legacy)
    assert "update-alternatives" not in str(error.value)
    arch = lacking(*NFT, family="arch", packages={"docker": "1:28.3.3-1", "audit": "4"})
    with pytest.raises(RefusedError, match="install the package iptables-legacy"):
        plan_provision(desired(), arch)


def test_a_board_that_is_to_be_restarted_is_asked_after_that() -> None:
    gone: dict[str, Any] = {"modules": ("6.12.1-1-ARCH",), "default_kernel": None}
    error = "can't initialize table `nat'"
    facts = stock(iptables="legacy", iptables_error=error, **gone, **STOPPED)
    assert plan_provision(desired(), facts).reboot
    with pytest.raises(RefusedError, match="does not work on the board") as refused:
        plan_provision(desired(reboot=False), facts)
    assert "are gone (installed: 6.12.1-1-ARCH): restart the board first" in str(refused.value)


@pytest.mark.parametrize("proven", [False, True])
def test_what_the_engine_warns_of_is_reported_at_every_run(proven: bool) -> None:
    texts = ("No memory limit support", "No swap limit support", "IPv4 forwarding is disabled")
    facts = (
        stock(engine=None, proven=("20.10.24", "20.10.24"), proven_warnings=texts)
        if proven
        else stock(engine=engine(warnings=texts))
    )
    memory, others = plan_provision(desired(), facts).warnings
    assert "(docker info: No memory limit support)" in memory
    assert "cgroup_enable=memory" in memory
    assert others == "docker info warns: No swap limit support; IPv4 forwarding is disabled"
