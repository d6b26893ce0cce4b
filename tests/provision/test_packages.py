"""Installing packages on Debian: the job itself, with programs that stand in for apt's."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from bootwright.provision import packages
from bootwright.provision.packages import PackagesPlan, package_warnings, packages_script
from bootwright.remote.sections import Section, parse_sections

FAILED_LIST = (
    "Hit:1 http://mirror/debian bookworm InRelease\n"
    "E: Failed to fetch http://mirror/debian/dists/bookworm-updates/InRelease  404\n"
)


@dataclass
class Board:
    """A folder in which the job runs, with stand-ins for programs."""

    folder: Path

    def tool(self, name: str, script: str = "") -> None:
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.folder}/calls\n{script}\n')
        path.chmod(0o755)

    def run(self, plan: PackagesPlan) -> tuple[int, tuple[Section, ...]]:
        done = subprocess.run(
            ["sh", "-c", packages_script(plan)],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, parse_sections(f"{done.stdout}== end\n")

    def calls(self, tool: str) -> list[str]:
        """Return the calls of a tool, without the options that each of them has."""
        lines = (self.folder / "calls").read_text().splitlines()
        options = " -q -y -o Dpkg::Options::=--force-confdef"
        options += " -o Dpkg::Options::=--force-confold"
        return [line.replace(options, "") for line in lines if line.startswith(f"{tool} ")]


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(packages, "UPGRADED", str(tmp_path / "state" / "upgraded"))
    monkeypatch.setattr(packages, "PACKAGES_BEGUN", str(tmp_path / "state" / "begun"))
    monkeypatch.setattr(packages, "RULES", str(tmp_path / "rules"))
    board = Board(tmp_path)
    board.tool("df", "printf 'Filesystem\\n/dev/root 9 9 %s 9%% /\\n' $((800 * 1024))")
    # One optional package is known to the distribution, one is not.
    own = "base-files | 12 | http://mirror/debian bookworm/main armhf Packages"
    board.tool("apt-cache", f'[ "$1" = madison ] && echo "{own}" || [ "$3" = known ]')
    for name in ("dpkg", "dpkg-query", "apt-get", "apt-mark", "sleep"):
        board.tool(name)
    return board


def plan(*install: str, optional: tuple[str, ...] = (), upgrade: bool = False) -> PackagesPlan:
    return PackagesPlan("debian", install, optional, upgrade, "")


def test_packages_are_installed_with_those_optional_ones_that_there_are(board: Board) -> None:
    status, sections = board.run(plan("docker.io", "auditd", optional=("unknown", "known")))
    assert (status, package_warnings(sections)) == (0, ())
    assert board.calls("apt-get") == [
        "apt-get update --error-on=any",
        "apt-get --no-remove --no-install-recommends install docker.io auditd known",
    ]
    assert board.calls("dpkg") == ["dpkg --force-confdef --force-confold --configure -a"]
    recorded = (board.folder / "state" / "upgraded").read_text()
    assert len(recorded.split()) == 1


def test_everything_is_brought_up_to_date_where_that_is_planned(board: Board) -> None:
    board.run(plan("docker.io", upgrade=True))
    assert board.calls("apt-get")[1] == "apt-get --with-new-pkgs upgrade"


def test_a_list_that_cannot_be_fetched_is_reported_and_recorded(board: Board) -> None:
    board.tool("apt-get", f"case $* in *update*) printf '%s' '{FAILED_LIST}'; exit 100 ;; esac")
    status, sections = board.run(plan("docker.io"))
    missing = "http://mirror/debian bookworm-updates"
    assert (status, package_warnings(sections)) == (0, (f"could not be fetched: {missing}",))
    assert len(board.calls("apt-get")) == 4, "three attempts, then the installation"
    recorded = (board.folder / "state" / "upgraded").read_text()
    assert recorded.partition(" ")[2] == f"{missing}\n"


def test_without_any_list_it_fails(board: Board) -> None:
    board.tool("apt-get", "echo 'E: Failed to fetch http://m/debian/dists/x/InRelease'; exit 100")
    status, sections = board.run(plan("docker.io"))
    assert status == 1
    assert sections[0].name == "failed"
    assert sections[0].line(0) == "fetch the lists of packages"
    assert not (board.folder / "state" / "upgraded").exists()


def test_the_lists_are_waited_for_while_the_system_fetches_them(board: Board) -> None:
    board.tool(
        "apt-get",
        "case $* in *update*) [ -e waited ] || { echo 'E: Could not get lock'; exit 100; } ;; esac",
    )
    board.tool("sleep", ": >waited")
    assert board.run(plan("docker.io"))[0] == 0
    assert board.calls("sleep") == ["sleep 5"]


def test_one_that_works_on_packages_and_never_ends_is_named(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "LOCK_S", 10)
    held = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)"
    board.tool("apt-get", f"case $* in *update*) echo '{held}'; exit 100 ;; esac")
    status, sections = board.run(plan("docker.io"))
    assert (status, sections[0].line(0)) == (1, "fetch the lists of packages")
    assert sections[0].lines[1:] == (
        "another process works on packages, and has not ended in 10 s",
        held,
    )
    assert board.calls("sleep") == ["sleep 5"] * 2


SOURCES = {
    "E: The repository 'http://a:1/debian/ nosuch Release' does not have a Release file.": (
        "http://a:1/debian nosuch"
    ),
    "E: The repository 'https://a/linux bookworm InRelease' is not signed.": (
        "https://a/linux bookworm"
    ),
    "E: The repository 'cdrom://[Debian GNU/Linux 12 _Bookworm_] bookworm Release' does not have a"
    " Release file.": "cdrom://[Debian GNU/Linux 12 _Bookworm_] bookworm",
    "E: The repository 'file:/flat ./ Release' does not have a Release file.": "file:/flat .",
    "E: Failed to fetch https://mia:word@a/x/dists/stable/InRelease  403  Forbidden": (
        "https://a/x stable"
    ),
    "E: Failed to fetch http://a/flat/./InRelease  404  Not Found": "http://a/flat/.",
    "W: GPG error: http://a/debian bookworm InRelease: The following signatures couldn't be"
    " verified because the public key is not available: NO_PUBKEY 1": "http://a/debian bookworm",
    "E: Release file for http://a/debian/dists/bookworm/InRelease is expired (invalid since 2d).": (
        "http://a/debian bookworm"
    ),
    "E: Repository 'http://a/debian bookworm InRelease' changed its 'Origin' value from 'A'": (
        "http://a/debian bookworm"
    ),
}
"""What apt 2.6 writes, and the source that it means."""


@pytest.mark.parametrize("line", SOURCES, ids=range(len(SOURCES)))
def test_a_source_that_does_not_work_is_named_whatever_is_wrong(board: Board, line: str) -> None:
    (board.folder / "output").write_text(
        f"Hit:1 http://mirror/debian bookworm InRelease\n{line}\n"
        "W: http://mirror/debian/dists/bookworm/InRelease: Key is stored in legacy trusted.gpg\n"
    )
    board.tool("apt-get", f"case $* in *update*) cat {board.folder}/output; exit 100 ;; esac")
    status, sections = board.run(plan("docker.io"))
    assert (status, package_warnings(sections)) == (0, (f"could not be fetched: {SOURCES[line]}",))


def test_without_the_distributions_own_lists_it_fails(board: Board) -> None:
    board.tool(
        "apt-get",
        "case $* in *update*) echo 'Get:1 https://other stable InRelease'\n"
        "echo 'E: Failed to fetch http://mirror/debian/dists/bookworm/InRelease  404'; exit 100 ;;"
        " esac",
    )
    status, sections = board.run(plan("docker.io"))
    assert (status, sections[0].line(0)) == (1, "fetch the lists of packages")


def test_packages_on_hold_are_named(board: Board) -> None:
    board.tool("apt-mark", "printf 'app\\ntool\\n'")
    _, sections = board.run(plan(upgrade=True))
    assert package_warnings(sections) == (
        "these packages are on hold, and stay as they are: app tool",
    )


def test_what_was_begun_with_enough_space_goes_on_with_less(board: Board) -> None:
    board.tool("apt-get", "case $* in *' install '*) exit 100 ;; esac")
    assert board.run(plan("docker.io"))[0] == 1
    board.tool("apt-get")
    board.tool("df", "printf 'Filesystem\\n/dev/root 9 9 %s 9%% /\\n' $((130 * 1024))")
    assert board.run(plan("docker.io"))[0] == 0
    assert not (board.folder / "state" / "begun").exists()


def test_without_a_network_nothing_is_begun_that_later_runs_have_to_finish(board: Board) -> None:
    board.tool("apt-get", "exit 100")
    status, sections = board.run(plan(upgrade=True))
    assert (status, sections[0].line(0)) == (1, "fetch the lists of packages")
    assert not (board.folder / "state" / "begun").exists()


def test_what_fails_is_reported_with_its_last_lines(board: Board) -> None:
    board.tool("apt-get", "case $* in *' install '*) seq 1 100; exit 100 ;; esac")
    status, sections = board.run(plan("docker.io"))
    assert (status, sections[0].name) == (1, "failed")
    assert sections[0].lines == (
        "install",
        *map(str, range(86, 101)),
    )
    tries = [call for call in board.calls("apt-get") if "install" in call]
    assert tries[1] == "apt-get --fix-broken --no-remove install", "what was left is finished first"
    assert tries[0] == tries[2]


def test_a_board_without_space_is_left_as_it_is(board: Board) -> None:
    board.tool("df", "printf 'Filesystem\\n/dev/root 9 9 %s 9%% /\\n' $((499 * 1024))")
    status, sections = board.run(plan("docker.io"))
    assert status == 1
    assert sections[0].lines == ("look for space", "499 MiB are free on /, and 500 are needed")
    assert board.calls("dpkg") == []


AUDITCTL = """
rules=$(dirname "$0")/../kernel
case $1 in
-l) [ -s "$rules" ] && cat "$rules" || echo "No rules" ;;
-R) [ -e "$rules.locked" ] || grep '^-[wa]' "$2" >>"$rules"
    # As auditctl of audit 4 does.
    [ -e "$rules.locked" ] || echo "Old style watch rules are slower" >&2 ;;
esac
"""

RESTARTS_AUDITD = """
case $* in *upgrade) echo "-w /etc/docker -p wa -k ours" >"$(dirname "$0")/../kernel" ;; esac
"""
"""An upgrade of auditd: what is loaded then are the rules of /etc/audit/rules.d."""

THEIRS = "-w /etc/shadow -p wa -k other"


@pytest.mark.parametrize("locked", [False, True])
def test_rules_of_others_survive_an_upgrade_of_auditd(board: Board, locked: bool) -> None:
    kernel = board.folder / "kernel"
    kernel.write_text(f"{THEIRS}\n-w /etc/docker -p wa -k ours\n")
    board.tool("auditctl", AUDITCTL)
    board.tool("apt-get", RESTARTS_AUDITD)
    if locked:
        (board.folder / "kernel.locked").touch()
    status, sections = board.run(plan(upgrade=True))
    assert status == 0
    assert (THEIRS in kernel.read_text().splitlines()) is not locked
    lost = (f"audit rules that the kernel had and lacks now: {THEIRS}",)
    assert package_warnings(sections) == (lost if locked else ())
    assert not (board.folder / "rules").exists()


def test_rules_that_an_interrupted_upgrade_has_lost_are_loaded_by_the_next_run(
    board: Board,
) -> None:
    kernel = board.folder / "kernel"
    kernel.write_text("")
    (board.folder / "rules").write_text(f"{THEIRS}\n")
    board.tool("auditctl", AUDITCTL)
    assert board.run(plan(upgrade=True))[0] == 0
    assert kernel.read_text().splitlines() == [THEIRS]


def test_rules_are_loaded_again_if_the_upgrade_fails_after_auditd(board: Board) -> None:
    kernel = board.folder / "kernel"
    kernel.write_text(f"{THEIRS}\n")
    board.tool("auditctl", AUDITCTL)
    board.tool(
        "apt-get", RESTARTS_AUDITD + 'case $* in *upgrade) echo "E: broken"; exit 100 ;; esac'
    )
    status, sections = board.run(plan(upgrade=True))
    assert (status, [section.name for section in sections]) == (1, ["failed"])
    assert THEIRS in kernel.read_text().splitlines()
