"""What a target's network, packages and first boot become on the card, and what systemd reads."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bootwright.card.overlays import read_first_boot
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.paths import checkout
from bootwright.rootfs.facts import RootfsFacts
from tests.support.namespace import need_namespaces
from tests.support.network_files import FOLDER, card_files
from tests.support.rootfs_facts import FACTS

ROOT = checkout()
NETWORKD = Path("/lib/systemd/systemd-networkd")


def test_without_settings_the_board_uses_dhcp_and_nothing_else_is_written(tmp_path: Path) -> None:
    files = card_files(tmp_path, "")
    assert set(files) == {f"{FOLDER}/10-bootwright.network", f"{FOLDER}/10-bootwright.link"}
    assert files[f"{FOLDER}/10-bootwright.network"] == (
        "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n"
    )


def test_static_addresses(tmp_path: Path) -> None:
    files = card_files(
        tmp_path,
        'address = ["192.0.2.10/24", "2001:db8::10/64"]\ngateway = "192.0.2.1"\n'
        'dns = ["192.0.2.53", "2001:db8::53"]',
    )
    assert files[f"{FOLDER}/10-bootwright.network"] == (
        "[Match]\nName=en* eth*\n\n[Network]\nAddress=192.0.2.10/24\nAddress=2001:db8::10/64\n"
        "Gateway=192.0.2.1\nDNS=192.0.2.53\nDNS=2001:db8::53\n"
    )


def test_in_a_vlan_the_untagged_network_is_not_used(tmp_path: Path) -> None:
    files = card_files(tmp_path, "vlan = 42\nmdns = true")
    wired = files[f"{FOLDER}/10-bootwright.network"]
    assert "VLAN=vlan42\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n" in wired
    assert "DHCP" not in wired and "RequiredForOnline=no" in wired
    assert (
        "Name=vlan42\nKind=vlan\n\n[VLAN]\nId=42\n" in files[f"{FOLDER}/10-bootwright-vlan.netdev"]
    )
    assert files[f"{FOLDER}/10-bootwright-vlan.network"] == (
        "[Match]\nName=vlan42\n\n[Network]\nDHCP=yes\nMulticastDNS=yes\n"
    )
    assert files["/etc/systemd/resolved.conf.d/10-bootwright.conf"].endswith("MulticastDNS=yes\n")


def test_beside_a_vlan_with_addresses_of_its_own_the_untagged_network_is_used(
    tmp_path: Path,
) -> None:
    files = card_files(
        tmp_path,
        'address = ["192.0.2.10/24"]\ngateway = "192.0.2.1"\nvlan = 42\n'
        'vlan_address = ["198.51.100.10/24"]\nmdns = true',
    )
    assert files[f"{FOLDER}/10-bootwright.network"] == (
        "[Match]\nName=en* eth*\n\n[Network]\nAddress=192.0.2.10/24\nGateway=192.0.2.1\n"
        "MulticastDNS=yes\nVLAN=vlan42\n"
    )
    assert files[f"{FOLDER}/10-bootwright-vlan.network"] == (
        "[Match]\nName=vlan42\n\n[Network]\nAddress=198.51.100.10/24\nMulticastDNS=yes\n"
    )
    assert "Id=42\n" in files[f"{FOLDER}/10-bootwright-vlan.netdev"]


def test_time_servers_and_a_proxy(tmp_path: Path) -> None:
    files = card_files(
        tmp_path,
        'ntp = ["a.example", "192.0.2.4"]\nproxy = "http://proxy.example:3128"\n'
        'no_proxy = [".lab.example"]',
        more='[logs]\nserver = "192.0.2.20"\n',
    )
    assert files["/etc/systemd/timesyncd.conf.d/10-bootwright.conf"] == (
        "[Time]\nNTP=a.example 192.0.2.4\n"
    )
    direct = "localhost,127.0.0.1,::1,odroid,192.0.2.20,.lab.example"
    login = files["/etc/environment"].splitlines()
    assert {"HTTPS_PROXY=http://proxy.example:3128", f"no_proxy={direct}"} <= set(login)
    setting = files["/etc/systemd/system.conf.d/10-bootwright-proxy.conf"].splitlines()[-1]
    assert shlex.split(setting.removeprefix("DefaultEnvironment=")) == login
    assert "proxy.example" in files["/etc/apt/apt.conf.d/10bootwright-proxy"]
    arch = card_files(tmp_path, 'proxy = "http://proxy.example:3128"', rootfs="archlinuxarm")
    assert not any("apt" in path for path in arch)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('address = ["192.0.2.10"]', "write it like 192.0.2.10/24"),
        ('address = ["192.0.2.10/255.255.255.0"]', "write it like 192.0.2.10/24"),
        ('address = ["192.0.2.0/24"]', "the network or its broadcast address"),
        ('address = ["fe80::1%eth0/64"]', "write it like 192.0.2.10/24"),
        ('dns = ["fe80::1%x\\nDNSSEC=no"]', "is not an IP address"),
        ('gateway = "192.0.2.1"', "192.0.2.1 is in no network of address"),
        ('address = ["192.0.2.10/24"]\ngateway = "192.0.3.1"', "is in no network of address"),
        ('dns = ["dns.example"]', "'dns.example' is not an IP address"),
        ("vlan = 4095", "network.vlan: Input should be less than or equal to 4094"),
        ("vlan = true", "network.vlan: Input should be a valid integer; write it like: vlan = 42"),
        ('vlan_address = ["192.0.2.10/24"]', "vlan_address: it has no meaning without vlan"),
        ('vlan = 42\nvlan_address = ["192.0.2.10"]', "write it like 192.0.2.10/24"),
        (
            'vlan = 42\nvlan_address = ["192.0.2.10/25"]\naddress = ["192.0.2.200/24"]',
            "192.0.2.10/25 is in the network of address 192.0.2.200/24",
        ),
        ("vlan_adress = []", "did you mean vlan_address? Write it like: vlan_address = ["),
        ('ntp = ["http://x"]', "write only the name or address, without ://"),
        ('proxy = "proxy.example"', "is not like http://proxy.example:3128"),
        ('proxy = "http://me:geheim@proxy.example:3128"', "a user name or password cannot be"),
        ('no_proxy = ["x"]', "no_proxy: it has no meaning without proxy"),
        ('proxy = "http://p:1"\nno_proxy = ["a b"]', "no_proxy"),
    ],
)
def test_wrong_settings(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        card_files(tmp_path, line)
    assert message in str(caught.value)
    assert "bootwright.toml: targets.odroid: network" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "lacking", "message"),
    [
        ("mdns = true", "has_resolved", "network.mdns: the root file system has no systemd-res"),
        ('ntp = ["a"]', "has_timesyncd", "network.ntp: the root file system has no systemd-tim"),
    ],
)
def test_a_program_that_the_root_file_system_lacks_is_refused(
    tmp_path: Path, line: str, lacking: str, message: str
) -> None:
    facts = RootfsFacts(**{**vars(FACTS), lacking: False})
    with pytest.raises(RefusedError, match=message):
        card_files(tmp_path, line, facts=facts)


def test_a_vlan_needs_its_driver(tmp_path: Path) -> None:
    facts = RootfsFacts(**{**vars(FACTS), "modules": FACTS.modules - {"8021q"}})
    with pytest.raises(RefusedError, match=r"network.vlan: .* has no kernel driver 8021q"):
        card_files(tmp_path, "vlan = 42", facts=facts)


# What systemd itself reads


@pytest.mark.integration
@pytest.mark.parametrize(
    ("network", "is_static"),
    [
        ('address = ["192.0.2.10/24", "2001:db8::10/64"]\ngateway = "192.0.2.1"', True),
        ("vlan = 42\nmdns = true", False),
        ('vlan = 42\naddress = ["192.0.2.10/24"]\nvlan_address = ["198.51.100.10/24"]', False),
        ('dns = ["192.0.2.53"]\nmdns = true', False),
    ],
)
def test_networkd_takes_the_files(tmp_path: Path, network: str, is_static: bool) -> None:
    need_namespaces("ip")
    if not NETWORKD.exists():
        pytest.skip("systemd-networkd is not installed")
    folder = tmp_path / "network"
    folder.mkdir()
    for path, text in card_files(tmp_path, network).items():
        if path.startswith(f"{FOLDER}/"):
            (folder / Path(path).name).write_text(text)
    # A network and a /run of its own: nothing of this machine is seen or changed. With a /sys that
    # cannot be written, networkd does not wait for udev, as in a container.
    script = f"""
        mount -t tmpfs tmpfs /run
        install -d -o systemd-network -g systemd-network /run/systemd/netif \\
            /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
        mount -t sysfs -o ro sysfs /sys
        mount --bind {folder} {FOLDER}
        ip link add eth0 type veth peer name far
        ip link set far up
        # Not as process 1, which would write its messages to the kernel's log.
        {NETWORKD} &
        wait
    """
    namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    argv = ["unshare", *namespaces, "bash", "-ec", script]
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "debug"}
    end = "-> configured" if is_static else "eth0: Configuring with"
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment) as daemon:
        assert daemon.stderr is not None
        seen = []
        for line in daemon.stderr:
            seen.append(line)
            if "eth0" in line and end in line:
                break
        daemon.send_signal(signal.SIGKILL)
    text = "".join(seen)
    assert f"eth0: Configuring with {FOLDER}/10-bootwright.network" in text
    assert end in text
    assert [line for line in seen if line.startswith(FOLDER)] == []


# The first boot


@pytest.fixture
def first_boot(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    shutil.copy(ROOT / "templates" / "first-boot.service", tmp_path / "templates")
    script = tmp_path / "first-boot.sh"
    script.write_text("#!/bin/sh\necho hello\n")
    return script


def test_the_script_its_unit_and_its_link(first_boot: Path) -> None:
    script, unit, link = read_first_boot(first_boot.parent, "first-boot.sh")
    assert (script.path, script.content, script.mode) == (
        "/usr/local/lib/bootwright/first-boot",
        b"#!/bin/sh\necho hello\n",
        0o755,
    )
    assert unit.content is not None
    assert f"ExecStart={script.path}\n" in unit.content.decode()
    assert link.link_target == unit.path
    assert link.path.endswith(f"multi-user.target.wants/{Path(unit.path).name}")
    assert read_first_boot(first_boot.parent, None) == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read it: No such file"),
        (b"echo hello\n", "the first line has to be like #!/bin/sh"),
        (b"#!/bin/sh\r\necho hello\r\n", "its lines end with CR LF"),
    ],
)
def test_what_is_no_script(first_boot: Path, content: bytes | None, message: str) -> None:
    if content is None:
        first_boot.unlink()
    else:
        first_boot.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_first_boot(first_boot.parent, "first-boot.sh")


def test_a_name_that_no_file_can_have(first_boot: Path) -> None:
    with pytest.raises(InputError, match="is not the name of a file"):
        read_first_boot(first_boot.parent, "a\0b")


@pytest.mark.integration
def test_systemd_finds_nothing_wrong_in_the_unit(first_boot: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    unit = read_first_boot(first_boot.parent, "first-boot.sh")[1]
    assert unit.content is not None
    path = tmp_path / Path(unit.path).name
    path.write_bytes(
        unit.content.replace(b"/usr/local/lib/bootwright/first-boot\n", b"/bin/true\n")
    )
    environment: Mapping[str, Any] = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert [line for line in done.stderr.splitlines() if path.name in line] == []
    assert done.returncode == 0, done.stderr
