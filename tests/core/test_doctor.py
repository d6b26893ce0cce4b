"""The list of tools, versions of tools, and the examination of a machine."""

import dataclasses
import io

import pytest

from bootwright.core.doctor import show
from bootwright.core.doctor_report import (
    BUILD_SPACE,
    Configuration,
    DiskSpace,
    FoundTool,
    Machine,
    OperatorFacts,
    examine,
)
from bootwright.core.errors import InputError
from bootwright.core.tools import Binfmt, Tool, parse_binfmt, parse_tools, parse_version
from tests.support.schemas import check_broken_documents, check_document

MKE2FS = Tool("mke2fs", "run", ("-V",), "e2fsprogs", "e2fsprogs", "ext4")
DEBUGFS = Tool("debugfs", "run", ("-V",), "e2fsprogs", "e2fsprogs", "editing")
MMDEBSTRAP = Tool("mmdebstrap", "run", (), "mmdebstrap", "!", "Debian")
BINFMTS = Tool("update-binfmts", "run", (), "binfmt-support", "-", "registering")
SHELLCHECK = Tool("shellcheck", "test", (), "shellcheck", "shellcheck", "tests")

WELL = Machine(
    tools=(FoundTool(MKE2FS, "/sbin/mke2fs", "1.47.0"),),
    python=(3, 11, 2),
    architecture="x86_64",
    binfmt=Binfmt(True, "/usr/bin/qemu-arm-static"),
    disks=(DiskSpace("cache", "/c", BUILD_SPACE), DiskSpace("build", "/b", BUILD_SPACE)),
    family="debian",
    operator=OperatorFacts("mia", True, ("id_ed25519.pub",), "dialout", True, True),
)

MIA = dataclasses.replace(WELL.operator, root=False)

TARGETS = Configuration(2, ())


def lacking(*tools: Tool, **changes: object) -> Machine:
    made = dataclasses.replace(WELL, tools=tuple(FoundTool(tool, None) for tool in tools))
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_list_of_tools() -> None:
    text = (
        "# a comment\n\nmke2fs\trun\t-V\te2fsprogs\te2fsprogs\text4\nx\tbench\t-\ta\t!\tno need\n"
    )
    assert parse_tools(text) == (
        MKE2FS,
        Tool("x", "bench", (), "a", "!", "no need"),
    )


@pytest.mark.parametrize(
    "line", ["mke2fs", "a\trun\t-\tb\tc", "a\trun\t\tb\tc\td", "a\tsoon\t-\tb\tc\td"]
)
def test_malformed_list_names_the_line(line: str) -> None:
    with pytest.raises(InputError, match=r"tools\.tsv:2:"):
        parse_tools(f"# first\n{line}\n")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("mke2fs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0\n", "1.47.0"),
        ("OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19 27 Jan 2026\n", "9.2p1"),
        ("sfdisk from util-linux 2.38.1\n", "2.38.1"),
        ("cryptsetup 2.6.1 flags: UDEV BLKID KEYRING KERNEL_CAPI \n", "2.6.1"),
        ("mkimage version 2023.01\n", "2023.01"),
        ("*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***\n", "1.5.4"),
        ("qemu-arm version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n", "7.2.22"),
        ("gpg (GnuPG) 2.2.40\nlibgcrypt 1.10.1\n", "2.2.40"),
        ("ShellCheck - shell script analysis tool\nversion: 0.9.0\n", "0.9.0"),
        ("usage: setcap [-h]\n", None),
    ],
)
def test_versions_as_debian_12_prints_them(text: str, version: str | None) -> None:
    assert parse_version(text) == version


def test_binfmt_entry() -> None:
    text = "enabled\ninterpreter /usr/libexec/qemu-binfmt/arm-binfmt-P\nflags: PF\noffset 0\n"
    assert parse_binfmt(text) == Binfmt(True, "/usr/libexec/qemu-binfmt/arm-binfmt-P")
    assert parse_binfmt("disabled\ninterpreter /x\n") == Binfmt(False, "/x")
    assert parse_binfmt("") == Binfmt(False, None)


def test_a_complete_machine_is_ok() -> None:
    report = examine(WELL, TARGETS)
    assert report.ok
    assert report.exit_code == 0
    assert (report.install, report.install_optional) == (None, None)
    assert {row.state for row in (*report.tools, *report.checks)} == {"ok"}


@pytest.mark.parametrize(
    ("machine", "exit_code", "install", "optional"),
    [
        (
            lacking(MKE2FS, MMDEBSTRAP, DEBUGFS),
            4,
            "apt-get install --no-install-recommends e2fsprogs mmdebstrap",
            None,
        ),
        (
            lacking(MKE2FS, operator=MIA),
            4,
            "sudo apt-get install --no-install-recommends e2fsprogs",
            None,
        ),
        (lacking(MKE2FS, MMDEBSTRAP, family="arch"), 4, "pacman -S --needed e2fsprogs", None),
        (lacking(BINFMTS, family="arch"), 0, None, None),
        (lacking(MMDEBSTRAP, family="arch"), 4, None, None),
        (lacking(MKE2FS, family=None), 4, None, None),
        (lacking(SHELLCHECK), 0, None, "apt-get install --no-install-recommends shellcheck"),
        (lacking(binfmt=None), 4, None, None),
        (lacking(binfmt=Binfmt(False, "/x")), 4, None, None),
        (lacking(binfmt=None, architecture="armv7l"), 0, None, None),
        (lacking(python=(3, 10, 9)), 4, None, None),
        (lacking(disks=(DiskSpace("cache", "/c", BUILD_SPACE - 1),)), 0, None, None),
    ],
)
def test_missing_tools_are_reported_with_packages(
    machine: Machine, exit_code: int, install: str | None, optional: str | None
) -> None:
    report = examine(machine, TARGETS)
    assert report.exit_code == exit_code
    assert (report.install, report.install_optional) == (install, optional)


@pytest.mark.parametrize(
    ("version", "state"), [("8.4p1", "missing"), ("8.7p1", "ok"), ("10.0p2", "ok"), (None, "ok")]
)
def test_a_client_of_ssh_that_is_too_old(version: str | None, state: str) -> None:
    tool = dataclasses.replace(MKE2FS, command="ssh")
    made = dataclasses.replace(WELL, tools=(FoundTool(tool, "/usr/bin/ssh", version),))
    report = examine(made, TARGETS)
    assert (report.tools[0].state, report.exit_code) == (state, 4 if state == "missing" else 0)
    assert ("needs OpenSSH 8.7 or newer" in report.tools[0].hint) == (state == "missing")


def test_little_disk_space_is_a_warning() -> None:
    report = examine(lacking(disks=(DiskSpace("cache", "/c", 1024),)), TARGETS)
    assert [(row.name, row.state, row.found) for row in report.checks if row.state != "ok"] == [
        ("cache", "warning", "/c: 1.0 KiB free")
    ]


@pytest.mark.parametrize(
    ("operator", "state", "text"),
    [
        (WELL.operator, "ok", "root may open them"),
        (MIA, "ok", "you are in the group dialout"),
        (dataclasses.replace(MIA, in_group=False), "warning", "log out and in again"),
        (
            dataclasses.replace(MIA, in_group=False, joined=False),
            "warning",
            "run: sudo usermod -aG dialout mia (valid from your next login)",
        ),
        (dataclasses.replace(MIA, serial_group=None), "warning", "no group dialout or uucp"),
    ],
)
def test_who_may_open_serial_ports(operator: OperatorFacts, state: str, text: str) -> None:
    report = examine(dataclasses.replace(WELL, operator=operator), TARGETS)
    row = next(row for row in report.checks if row.name == "serial-ports")
    assert (row.state, report.ok) == (state, True)
    assert text in f"{row.found} {row.hint}"


def test_keys_and_configuration() -> None:
    none = dataclasses.replace(WELL, operator=dataclasses.replace(MIA, keys=()))
    report = examine(none, Configuration(2, ("bootwright.toml: x", "targets.y: z")))
    rows = {row.name: row for row in report.checks}
    assert (rows["ssh-keys"].state, rows["ssh-keys"].found) == (
        "ok",
        "none; inv flash makes one in build/ssh",
    )
    assert (rows["configuration"].state, rows["configuration"].found) == ("warning", "errors: 2")
    good = {row.name: row for row in examine(WELL, TARGETS).checks}
    assert (good["ssh-keys"].found, good["configuration"].found) == ("id_ed25519.pub", "targets: 2")


def test_document() -> None:
    document = check_document("doctor", examine(lacking(MKE2FS, SHELLCHECK), TARGETS).document())
    check_broken_documents("doctor", document)
    assert document["ok"] is False
    assert [(row["name"], row["state"]) for row in document["tools"]] == [
        ("mke2fs", "missing"),
        ("shellcheck", "optional"),
    ]
    assert [row["name"] for row in document["checks"]] == [
        *("python", "binfmt-arm", "cache", "build", "ssh-keys", "serial-ports", "configuration")
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_report_on_a_terminal_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    command = "/usr/share/makepkg/util/a-name-that-is-long.sh"
    report = examine(lacking(dataclasses.replace(MKE2FS, command=command)), TARGETS)
    for columns in ("80", "40"):
        monkeypatch.setenv("COLUMNS", columns)
        out = Terminal()
        show(report, out)
        assert command in out.getvalue()


def test_plain_report() -> None:
    out = io.StringIO()
    show(examine(lacking(MKE2FS, SHELLCHECK), TARGETS), out)
    text = out.getvalue()
    assert "missing  mke2fs: none (package e2fsprogs); for ext4\n" in text
    assert "install what is missing:\n  apt-get install --no-install-recommends e2fsprogs\n" in text
    assert text.endswith("something required is missing\n")
    assert "\x1b" not in text
