"""``inv init``: questions, answers, the table that is written, and what is found."""

import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from bootwright.core.config import load_config
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.process import Finished
from bootwright.core.paths import checkout
from bootwright.hosts.addresses import link_local, parse_getent, parse_neighbours
from bootwright.hosts.init import init
from bootwright.hosts.init_plan import hostname_of, with_table
from bootwright.hosts.io.discover import card_macs, find_board, serial_ports
from tests.support.schemas import check_broken_documents, check_document

MAC = "02:8e:32:5b:b1:54"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("board", "rootfs"):
        shutil.copytree(checkout() / name, tmp_path / name)
    by_id = tmp_path / "dev" / "serial" / "by-id"
    by_id.mkdir(parents=True)
    (tmp_path / "dev" / "ttyUSB0").touch()
    (tmp_path / "dev" / "ttyUSB1").touch()
    (by_id / "usb-FTDI-if00").symlink_to("../../ttyUSB0")
    return tmp_path


class Operator:
    """Answers questions, and keeps them."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, text: str) -> str:
        self.asked.append(text)
        return self.answers.pop(0) if self.answers else ""


def found(name: str, hostname: str) -> tuple[str, ...]:
    return ("192.0.2.31",) if hostname == "odroid" else ()


def test_the_enter_key_takes_what_is_proposed(root: Path) -> None:
    operator = Operator(*["\n"] * 5)
    result = init(root, {}, operator, find=found, dev=root / "dev")
    document = check_document("init", result.document())
    check_broken_documents("init", document)
    by_id = f"{root}/dev/serial/by-id/usb-FTDI-if00"
    assert operator.asked == [
        "Name of the target [odroid]: ",
        "Board (odroid-xu3, odroid-xu4) [odroid-xu3]: ",
        "Root file system (archlinuxarm, debian) [archlinuxarm]: ",
        f"Serial port ({by_id}, {root}/dev/ttyUSB1) [{by_id}]: ",
        "Name or address for SSH (found: 192.0.2.31) [192.0.2.31]: ",
    ]
    target = load_config(root, "odroid").target
    assert (target.board, target.serial_port, target.host) == ("odroid-xu3", by_id, "192.0.2.31")
    assert result.lines()[0] == "written to bootwright.local.toml:"
    assert any("bootwright.toml explains each one" in line for line in result.lines())
    assert "inv targets --find" not in "\n".join(result.lines())


def test_a_wrong_answer_is_asked_again_and_the_reason_is_shown(root: Path) -> None:
    (root / "bootwright.toml").write_text('[targets.lab]\nboard = "odroid-xu4"\n')
    answers = ("lab", "Lab 2", "Lab_2", "odroid-xu5", "odroid-xu4", "debain", "debian", "-")
    operator = Operator(*(f"{answer}\n" for answer in (*answers, "192.0.2.9:22", "192.0.2.9")))
    init(root, {}, operator, find=found, dev=root / "dev")
    text = "\n".join(operator.asked)
    assert "bootwright.toml has a target 'lab' already" in text
    assert "'Lab 2' is not a target's name" in text
    assert "'odroid-xu5' is none of odroid-xu3, odroid-xu4" in text
    assert "did you mean debian?" in text
    assert "write a port as port = 22, and the host as '192.0.2.9'" in text
    target = load_config(root, "Lab_2").target
    assert (target.hostname, target.serial_port, target.host) == ("lab-2", None, "192.0.2.9")


def test_without_a_terminal_nothing_is_guessed(root: Path) -> None:
    result = init(root, {"name": "a"}, None, find=found, dev=root / "dev")
    assert result.table == '[targets.a]\nboard = "odroid-xu3"\nrootfs = "archlinuxarm"'
    assert "inv targets --find" in "\n".join(result.lines())
    given = {"name": "b", "board": "odroid-xu4", "rootfs": "debian", "host": "-"}
    init(root, given, None, find=found, dev=root / "dev")
    assert set(tomllib.loads((root / "bootwright.local.toml").read_text())["targets"]) == {"a", "b"}
    with pytest.raises(InputError, match=r"local\.toml has a target 'a' already"):
        init(root, {"name": "a"}, None, find=found, dev=root / "dev")
    with pytest.raises(InputError, match=r"serial port: .* is not UTF-8 text"):
        init(root, {"name": "c", "serial_port": "\udcff"}, None, find=found, dev=root / "dev")
    with pytest.raises(InputError, match="did you mean odroid-xu4"):
        init(root, {**given, "name": "c", "board": "odroid-x4"}, None, find=found, dev=root / "dev")


def test_what_is_in_the_file_stays_and_a_closed_terminal_writes_nothing(root: Path) -> None:
    path = root / "bootwright.local.toml"
    path.write_text("# mine\n[logs]\nqueue = '1GiB' # much\n")
    with pytest.raises(InputError, match="nothing was written"):
        init(root, {}, Operator("x\n", "\n"), find=found, dev=root / "dev")
    assert path.read_text() == "# mine\n[logs]\nqueue = '1GiB' # much\n"
    init(root, {"name": "x"}, None, find=found, dev=root / "dev")
    assert path.read_text().startswith("# mine\n[logs]\nqueue = '1GiB' # much\n\n[targets.x]\n")
    with pytest.raises(InputError, match=r"write it by hand:\n\[targets\.x\]"):
        with_table("targets = {}", "[targets.x]")
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="cannot read it"):
        init(root, {"name": "y"}, None, find=found, dev=root / "dev")


@pytest.mark.parametrize(
    ("name", "hostname"),
    [("odroid", "odroid"), ("Lab.2_b", "lab-2-b"), ("_", "board"), ("a" * 63, "a" * 63)],
)
def test_the_host_name_of_a_target(name: str, hostname: str) -> None:
    assert hostname_of(name) == hostname


def test_no_serial_port(tmp_path: Path) -> None:
    assert serial_ports(tmp_path) == ()


NEIGHBOURS = """[{"dst":"fe80::8e:32ff:fe5b:b154","dev":"eth0","lladdr":"02:8e:32:5b:b1:54",
"state":["STALE"]},{"dst":"192.0.2.31","dev":"eth0","lladdr":"02:8E:32:5B:B1:54","state":
["REACHABLE"]},{"dst":"192.0.2.9","dev":"eth0","lladdr":"02:8e:32:5b:b1:54","state":["FAILED"]},
{"dst":"192.0.2.1","dev":"eth0","lladdr":"02:00:00:00:00:01","state":["REACHABLE"]},
{"dst":"fd00::1","dev":"eth0","state":["FAILED"]}]"""
"""As ``ip -json neigh`` of iproute2 6.1 prints it."""


def test_addresses_of_a_mac() -> None:
    assert parse_neighbours(NEIGHBOURS, [MAC]) == ["192.0.2.31", "fe80::8e:32ff:fe5b:b154%eth0"]
    assert parse_neighbours("", [MAC]) == parse_neighbours("{}", [MAC]) == []
    assert link_local(MAC) == "fe80::8e:32ff:fe5b:b154"


def test_addresses_of_a_name() -> None:
    text = "192.0.2.31      STREAM odroid\n192.0.2.31      DGRAM  \n127.0.1.1 STREAM\n::1 RAW\n"
    assert parse_getent(text) == ["192.0.2.31"]


class Machine:
    """Stands for the programs of this machine."""

    def __init__(self, neighbours: str = "[]", answers: bool = False) -> None:
        self.neighbours, self.answers = neighbours, answers
        self.calls: list[str] = []

    def __call__(self, argv: Sequence[str]) -> Finished:
        self.calls.append(" ".join(argv))
        out, code = "", 2
        if "neigh" in argv:
            out, code = self.neighbours, 0
        elif argv[0] == "ip":
            out, code = (
                (
                    '[{"ifname":"lo","link_type":"loopback","operstate":"UNKNOWN"},'
                    '{"ifname":"eth0","link_type":"ether","operstate":"UP"},'
                    '{"ifname":"wlan0","link_type":"ether","operstate":"DOWN"}]'
                ),
                0,
            )
        elif argv[0] == "getent" and argv[-1] == "odroid.local":
            raise FailedError("not finished after 3 s")
        elif argv[0] == "ping":
            code = 0 if self.answers else 1
        return Finished(tuple(argv), code, out.encode(), b"")


def test_a_board_is_found_by_the_mac_of_its_card() -> None:
    near = Machine(NEIGHBOURS)
    assert find_board("odroid", [MAC], near)[0] == "192.0.2.31"
    assert not any(call.startswith("ping") for call in near.calls)
    quiet = Machine(answers=True)
    assert find_board("odroid", [MAC], quiet) == ("fe80::8e:32ff:fe5b:b154%eth0",)
    assert find_board("odroid", [MAC], Machine()) == ()
    unknown = Machine(NEIGHBOURS)
    assert find_board("odroid", [], unknown) == ()
    assert unknown.calls == ["getent ahosts odroid", "getent ahosts odroid.local"]


def test_the_macs_of_a_targets_cards(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text(f'{{"target": "odroid", "mac": "{MAC}"}}')
    (tmp_path / "2.json").write_text('{"target": "other", "mac": "02:00:00:00:00:02"}')
    (tmp_path / "3.json").write_text('{"target": "odroid", "mac": "a -f"}')
    (tmp_path / "4.json").write_text("[")
    assert card_macs(tmp_path, "odroid") == (MAC,)
    assert card_macs(tmp_path / "none", "odroid") == ()
