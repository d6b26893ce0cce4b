"""What the keys of a target are on a board that was booted from its card."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import target_keys as keys
from tests.support.hostboard import Board
from tests.support.network_files import FOLDER, card_files
from tests.support.stages import APT_PROXY, board_at

pytestmark = pytest.mark.emulator

VLAN_LINK = f"vlan{keys.VLAN}"


@pytest.fixture(scope="module")
def board(own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """One for all tests here: each leaves it as it was."""
    with board_at("locked", tmp_path_factory.mktemp("board")) as found:
        yield found


def links_of(shown: str) -> dict[str, dict[str, Any]]:
    """Return the network interfaces that ``ip -j address`` shows, by name."""
    return {link["ifname"]: link for link in json.loads(shown)}


def addresses_of(link: dict[str, Any]) -> list[str]:
    """Return the IPv4 addresses of an interface, each with the length of its network."""
    return [
        f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["family"] == "inet"
    ]


def test_the_address_the_router_and_the_name_server(board: Board) -> None:
    routes = json.loads(board.sh("ip -j -4 route show default"))
    assert [(route["gateway"], route["protocol"]) for route in routes] == [(keys.GATEWAY, "static")]
    port = routes[0]["dev"]
    # A second one would be from DHCP.
    assert addresses_of(links_of(board.sh("ip -j address"))[port]) == [f"{keys.ADDRESS}/24"]
    # What is asked, and the answer of "mdns = true" for a name that only the board itself has.
    shown = board.sh(f"resolvectl dns {port}; resolvectl mdns {port}; resolvectl mdns")
    assert f": {keys.NAME_SERVER}\n" in shown
    assert f"Link 2 ({port}): yes" in shown and "Global: yes" in shown
    board.sh("grep -q '^nameserver 127.0.0.53$' /etc/resolv.conf")


def test_the_vlan_is_beside_the_network_without_one(board: Board) -> None:
    links = links_of(board.sh("ip -j -d address"))
    vlan = links[VLAN_LINK]
    assert addresses_of(vlan) == [f"{keys.VLAN_ADDRESS}/24"]
    assert addresses_of(links[vlan["link"]]) == [f"{keys.ADDRESS}/24"]
    info = vlan["linkinfo"]
    assert (info["info_kind"], info["info_data"]["id"]) == ("vlan", keys.VLAN)
    assert info["info_data"]["protocol"] == "802.1Q"
    assert "UP" in vlan["flags"] and vlan["address"] == links[vlan["link"]]["address"]
    # The board is online, which the hook and Docker's network wait for.
    board.sh("/usr/lib/systemd/systemd-networkd-wait-online --timeout=60")


OTHER_FILES = f"""
cd {FOLDER}
cp -a . /run/kept-network
port=$(ip -j -4 route show default | grep -o '"dev":"[^"]*"' | cut -d '"' -f 4)
has() {{
    ip -o -4 address show dev "$1" | grep -qF "$2"
}}
# For 30 s at most.
wait_for() {{
    for _ in $(seq 150); do
        ! "$@" || break
        sleep 0.2
    done
}}
as_before() {{
    has "$port" {keys.ADDRESS}/ && has {VLAN_LINK} {keys.VLAN_ADDRESS}/
}}
in_the_vlan() {{
    has {VLAN_LINK} {keys.ADDRESS}/ && ! has "$port" inet
}}
put_back() {{
    rm -f {FOLDER}/*
    cp -a /run/kept-network/. {FOLDER}
    rm -r /run/kept-network
    networkctl reload
    wait_for as_before
}}
trap put_back EXIT
tar -x
networkctl reload
wait_for in_the_vlan
echo "$port"
ip -j address
ip -j -4 route show default
"""
"""Uses other files for a moment, in which the board is not reached: no VLAN leads to here."""


def test_all_of_the_network_in_a_vlan(board: Board, tmp_path: Path) -> None:
    lines = f'address = ["{keys.ADDRESS}/24"]\ngateway = "{keys.GATEWAY}"\nvlan = {keys.VLAN}'
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, text in card_files(tmp_path, lines).items():
            entry = tarfile.TarInfo(Path(path).relative_to(FOLDER).name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    port, addresses, routes = board.sh(OTHER_FILES, packed.getvalue()).splitlines()
    links = links_of(addresses)
    assert addresses_of(links[VLAN_LINK]) == [f"{keys.ADDRESS}/24"]
    assert addresses_of(links[port]) == []
    assert [(one["dev"], one["gateway"]) for one in json.loads(routes)] == [
        (VLAN_LINK, keys.GATEWAY)
    ]


def test_the_time_servers(board: Board) -> None:
    shown = board.sh(
        "systemctl is-active systemd-timesyncd; timedatectl show-timesync -p SystemNTPServers"
    )
    assert shown == f"active\nSystemNTPServers={' '.join(keys.TIME_SERVERS)}\n"


def test_services_logins_and_apt_use_the_proxy(board: Board) -> None:
    service, login, apt = board.sh(
        'tr "\\0" "\\n" </proc/"$(systemctl show -p MainPID --value systemd-timesyncd)"/environ\n'
        "echo ==; env; echo ==\n"
        # The tests' own source of packages comes after the target's proxy.
        f"mv {APT_PROXY} /run/; apt-config dump; mv /run/{Path(APT_PROXY).name} {APT_PROXY}"
    ).split("==\n")
    direct = f"localhost,127.0.0.1,::1,odroid,{','.join(keys.NO_PROXY)}"
    wanted = {"http_proxy": keys.PROXY, "https_proxy": keys.PROXY, "no_proxy": direct}
    lines = {f"{form}={value}" for name, value in wanted.items() for form in (name, name.upper())}
    assert lines <= set(service.splitlines())
    assert lines <= set(login.splitlines())
    assert f'Acquire::http::Proxy "{keys.PROXY}";' in apt.splitlines()
    assert f'Acquire::https::Proxy "{keys.PROXY}";' in apt.splitlines()


def test_the_first_boot_has_run_its_script_once_with_a_network(board: Board) -> None:
    # It is started in every boot; one that is still running is waited for.
    board.sh("systemctl start bootwright-first-boot")
    assert len(board.sh(f"cat {keys.FIRST_BOOT_MARK}").splitlines()) == 1
    shown = board.sh("journalctl -o cat -u bootwright-first-boot")
    assert f"default via {keys.GATEWAY} dev " in shown
    assert f"the proxy is {keys.PROXY}" in shown
    assert board.sh("systemctl show -p Result --value bootwright-first-boot") == "success\n"


def test_the_package_is_installed_and_works(board: Board) -> None:
    if not keys.has_package():
        pytest.skip(f"{keys.ROOTFS_VARIABLE} names a root file system without it")
    status = f"dpkg-query -W -f '${{db:Status-Status}}\\n' {keys.PACKAGE}"
    shown = board.sh(f"{status}; {keys.PACKAGE} --version")
    assert shown.startswith("installed\ntree v")
