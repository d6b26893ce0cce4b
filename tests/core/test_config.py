"""Targets as data: errors that name file, key and what is allowed; origins."""

from pathlib import Path

import pytest

from bootwright.core.config import (
    Collector,
    Docker,
    Logs,
    Target,
    group_members,
    load_collector,
    load_config,
)
from bootwright.core.errors import InputError
from bootwright.core.network import Network
from bootwright.core.target_names import names
from bootwright.core.toml_model import StrictModel, check_table
from tests.support.schemas import check_broken_documents, check_document

BASE = '[targets.bench]\nboard = "odroid-xu3"\nrootfs = "debian"\n'


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "bootwright.toml").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('colour = "red"', ["colour", "unknown key", "allowed here", "timezone"]),
        ('port = "22"', ["port", "integer"]),
        ('host = "a:22"', ["host", "'a:22'", "write a port as port = 22"]),
        ('host = "192.0.2.1:22"', ["host", "write a port as port = 22"]),
        ("port = 0", ["port", "greater than or equal to 1"]),
        ('unlock = "magic"', ["unlock", "'serial' or 'ssh'"]),
        ('cipher = "rot13"', ["cipher", "'auto', 'adiantum' or 'aes-xts'"]),
        ('hostname = "Über"', ["hostname", "'Über'", "63"]),
        ('mac = "00:11"', ["mac", '"auto"', "02:1a"]),
        ('mac = "01:00:5e:00:00:01"', ["mac", "multicast"]),
        ('timezone = "Mars/Olympus"', ["timezone", "Europe/Zurich"]),
        ('locale = "loud"', ["locale", "C.UTF-8"]),
        ('root_size = "4 GB"', ["root_size", "4GiB"]),
        ('docker_data_size = "half"', ["docker_data_size", "not a size"]),
        ('rootfs_sha256 = "abc"', ["rootfs_sha256", "pattern"]),
        ('host = "192.0.2.1:22"', ["host", "write a port as port = 22"]),
        ('host = "[fe80::1]:22"', ["host", "write a port as port = 22"]),
        ('host = "-oProxyCommand=x"', ["host", "neither a host name nor an IP address"]),
        ('host = "fe80::1%"', ["host", "neither a host name nor an IP address"]),
        ('host = ""', ["host", "neither a host name nor an IP address"]),
        ('user = "Root User"', ["user", "32"]),
        ('authorized_keys = ["what is this"]', ["authorized_keys", "public key"]),
        ('overlays = "one"', ["overlays", "valid array"]),
    ],
)
def test_an_error_names_file_key_and_what_is_allowed(
    tmp_path: Path, line: str, message: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        load_config(written(tmp_path, f"{BASE}{line}\n"), "bench")
    for part in ["bootwright.toml", "targets.bench", *message]:
        assert part in str(caught.value)


@pytest.mark.parametrize("host", ["board.example", "192.0.2.1", "2001:db8::7", "::1"])
def test_hosts_are_names_or_addresses(tmp_path: Path, host: str) -> None:
    assert load_config(written(tmp_path, f'{BASE}host = "{host}"\n'), "bench").target.host == host


@pytest.mark.parametrize(
    "host", ["board_1.lan", "192.0.2.1", "::1", "fe80::1%eth0.5", "2001:DB8::"]
)
def test_names_and_addresses_of_a_board(tmp_path: Path, host: str) -> None:
    config = load_config(written(tmp_path, f'{BASE}host = "{host}"\n'), "bench")
    assert config.target.host == host


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[targets\n", "not TOML"),
        (f"a = {'9' * 5000}\n", "not TOML: .*4300 digits"),
        (f"a = {'[' * 5000}\n", "not TOML: .*recursion"),
        ("colour = 1\n", "colour: unknown key; allowed here: logs, targets"),
        ("targets = 3\n", r"\[targets.NAME\]"),
        ("[targets.bench]\n", "board: missing"),
    ],
)
def test_a_broken_file_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(written(tmp_path, text), "bench")


@pytest.mark.parametrize("name", ["lab/xu4", "a b", "a\\nroot", "-x", ""])
def test_names_with_special_characters_are_refused(tmp_path: Path, name: str) -> None:
    text = BASE.replace("targets.bench", f'targets."{name}"')
    with pytest.raises(InputError, match="not a target's name"):
        load_config(written(tmp_path, text), name.replace("\\n", "\n"))


def test_the_built_in_target_needs_no_file(tmp_path: Path) -> None:
    target = load_config(tmp_path, "odroid").target
    assert (target.board, target.rootfs, target.root_size) == (
        "odroid-xu3",
        "archlinuxarm",
        "4GiB",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            'timezon = "UTC"',
            'did you mean timezone? Write it like: timezone = "',
        ),
        (
            'docker.apii = "x"',
            "docker.apii: unknown key; did you mean api? Write it",
        ),
        ('logs.que = "1GiB"', "logs.que: unknown key; did you mean queue"),
        ("network.adress = []", "network.adress: unknown key; did you mean address"),
        (
            "network.colour = 1",
            "network.colour: unknown key; allowed here: address, dns",
        ),
        (
            "vlan = 4",
            "vlan: unknown key; did you mean network.vlan? Write it like: network.vlan = 42",
        ),
        (
            'gatewy = "192.0.2.1"',
            "gatewy: unknown key; did you mean network.gateway? Write it like",
        ),
        (
            'network.dns = ["192.0.2.53"]\nnetwork.packages = ["tree"]',
            "network.packages: no key of network, but of the table around it: write it above",
        ),
        ('port = "22"', "port: Input should be a valid integer; write it like: port = 22"),
        ('overlays = "a"', 'overlays: Input should be a valid array; write it like: overlays = ["'),
        ("authorized_keys = [1]", 'write it like: authorized_keys = ["~/.ssh/id_ed25519.pub"]'),
        ("docker = 3", 'write it like: docker = { trusted_user = "mia" }'),
        ('logs.port = "x"', "logs.port: Input should be a valid integer; write it like: port = 65"),
        ('host = "192.0.2.10:2222"', "write a port as port = 2222, and the host as '192.0.2.10'"),
        ('host = "[2001:db8::1]:22"', "write a port as port = 22, and the host as '2001:db8::1'"),
        ('host = "ssh://odroid"', "write only the name or address, without ://"),
        ('host = "-oProxyCommand=x"', "neither a host name nor an IP address"),
        ('logs.server = "192.0.2.20:6515"', "logs.server: '192.0.2.20:6515' is neither"),
    ],
)
def test_an_error_shows_the_right_form(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(written(tmp_path, f"{BASE}{line}\n"), "bench")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "host", ["odroid", "a.example", "192.0.2.1", "2001:db8::1", "my_board", "::1", "fe80::1%eth0"]
)
def test_names_and_addresses_of_hosts(tmp_path: Path, host: str) -> None:
    config = load_config(written(tmp_path, f'{BASE}host = "{host}"\n'), "bench")
    assert config.target.host == host


@pytest.mark.parametrize("model", [Target, Docker, Logs, Collector, Network])
def test_every_key_has_an_example_that_is_right(model: type[StrictModel]) -> None:
    assert set(model.EXAMPLES) == set(model.model_fields) - {"name"}
    named = {"name": "x"} if model is Target else {}
    check_table(model, {**model.EXAMPLES, **named}, "the examples")


def test_the_local_file_is_over_the_other_one(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        f'{BASE}port = 22\ngroups = ["lab"]\n[targets.bench.docker]\ntrusted_user = "mia"\n'
        "[targets.bench.docker.daemon]\nmtu = 1400\n"
        '[logs]\nserver = "192.0.2.20"\nqueue = "1GiB"\n[logs.collector]\nkeep_days = 7\n',
    )
    (root / "bootwright.local.toml").write_text(
        '[targets.bench]\nport = 2222\n[targets.bench.docker.daemon]\nip = "192.0.2.10"\n'
        '[targets.mine]\nboard = "odroid-xu4"\nrootfs = "debian"\ngroups = ["lab"]\n'
        '[logs]\nserver = "192.0.2.21"\n[logs.collector]\nport = 7515\n'
    )
    config = load_config(root, "bench")
    target = config.target
    assert (target.board, target.port, target.groups) == ("odroid-xu3", 2222, ("lab",))
    assert target.docker.trusted_user == "mia"
    assert target.docker.daemon == {"mtu": 1400, "ip": "192.0.2.10"}
    assert (target.logs.server, target.logs.queue) == ("192.0.2.21", "1GiB")
    assert config.origins["board"] == "bootwright.toml: targets.bench"
    assert config.origins["port"] == "bootwright.local.toml: targets.bench"
    assert config.origins["logs"] == "bootwright.toml: logs; bootwright.local.toml: logs"
    assert load_config(root, "mine").target.board == "odroid-xu4"
    assert group_members(root, "lab") == ["bench", "mine"]
    assert names("target", root, root) == ["bench", "emulator", "mine", "odroid"]
    collector, logs = load_collector(root)
    assert (collector.keep_days, collector.port, logs.server) == (7, 7515, "192.0.2.21")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[targets.bench]\nprot = 1\n",
            "local.toml: targets.bench: prot: unknown key; did",
        ),
        ("[logs]\nque = 1\n", "bootwright.local.toml: logs: que: unknown key"),
        ("[target.x]\n", "bootwright.local.toml: target: unknown key; did you mean targets?"),
        ("x = " + "1" * 5000, "bootwright.local.toml: not TOML"),
        ("x = " + "[" * 5000, "bootwright.local.toml: not TOML"),
    ],
)
def test_an_error_in_the_local_file_names_that_file(
    tmp_path: Path, text: str, message: str
) -> None:
    (written(tmp_path, BASE) / "bootwright.local.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(tmp_path, "bench")


def test_the_lines_have_at_most_80_columns(tmp_path: Path) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me"
    text = f'{BASE}authorized_keys = ["{key}", "{key}"]\n[targets.bench.docker.daemon]\n"a b" = 1\n'
    lines = load_config(written(tmp_path, text), "bench").lines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "bootwright.toml: targets.bench"
    assert [line.strip() for line in lines if key in line] == [f'"{key}",'] * 2
    assert any(line.split() == ["docker.daemon.a", "b", "1"] for line in lines)


def test_an_unknown_target_lists_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'x'; there are: bench, odroid"):
        load_config(written(tmp_path, BASE), "x")


def test_each_value_has_its_origin(tmp_path: Path) -> None:
    text = '[targets.odroid]\ntimezone = "Europe/Zurich"\n'
    config = load_config(written(tmp_path, text), "odroid", {"rootfs": "debian", "host": None})
    assert config.origins["timezone"] == "bootwright.toml: targets.odroid"
    assert config.origins["rootfs"] == "command line"
    assert config.origins["board"] == "built-in target"
    assert config.origins["host"] == "default"
    document = check_document("config", config.document())
    assert document["values"]["rootfs"] == {"value": "debian", "origin": "command line"}
    check_broken_documents("config", document, free=("values.docker.value.daemon",))
    assert '"Europe/Zurich"' in next(line for line in config.lines() if "timezone" in line)


def test_the_shipped_example_is_valid_when_uncommented(tmp_path: Path) -> None:
    from bootwright.core import paths

    example = (paths.checkout() / "bootwright.toml").read_text()
    lines = [line.removeprefix("# ") for line in example.splitlines()[4:]]
    text = "\n".join(line for line in lines if line != "#")
    text = text.replace('rootfs_sha256 = "…"', f'rootfs_sha256 = "{"0" * 64}"')
    config = load_config(written(tmp_path, text), "odroid")
    assert config.target.host == "192.0.2.10"
    check_document("config", config.document())
    # Every key of the model is shown in the example.
    assert set(config.target.model_dump()) - {"name"} == {
        key for key, origin in config.origins.items() if origin.startswith("bootwright.toml")
    }
