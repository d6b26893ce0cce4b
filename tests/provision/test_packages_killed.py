"""Packages on Debian by its real apt and dpkg: killed at any moment, and whatever others have left.

``BOOTWRIGHT_KILLS`` is how many boards are killed while they install packages; 8 if it is not set.
"""

import os
import random
import time
from pathlib import Path

import pytest

from bootwright.provision.packages import PackagesPlan, package_warnings, packages_script
from tests.support.debianroot import DebianRoot, Package, base, need_debian_roots, numbered
from tests.support.package_runs import failed

pytestmark = pytest.mark.integration

SEED = 12

SCRIPT = packages_script(
    PackagesPlan("debian", ("docker.io", "auditd", "apparmor"), ("docker-cli",), True, "")
)


def package(name: str, version: str = "1", needs: str = "", needs_first: str = "") -> Package:
    """Return a package with files, a configuration file, and a script that configures it."""
    return Package(
        name,
        version,
        {
            **({"Depends": needs} if needs else {}),
            **({"Pre-Depends": needs_first} if needs_first else {}),
        },
        {
            **numbered(f"usr/share/{name}", 30, f"{name} {version}\n"),
            f"etc/{name}.conf": f"{version}\n",
            "DEBIAN/conffiles": f"/etc/{name}.conf\n",
        },
        {"postinst": f"#!/bin/sh\nset -e\ncp /etc/{name}.conf /var/lib/{name}.ready\n"},
    )


OLD = (package("bw-lib"), package("app", needs="bw-lib"), package("tool"))
NEW = (
    package("bw-lib", "2"),
    package("app", "2", needs="bw-lib (>= 2), bw-new"),
    package("tool", "2"),
    package("bw-new"),
    package("bw-runc", needs="bw-lib (>= 2)"),
    package("containerd", needs="bw-runc"),
    package("docker.io", needs="containerd", needs_first="bw-new"),
    package("bw-audit"),
    package("auditd", needs="bw-audit"),
    package("apparmor"),
)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> DebianRoot:
    """A board with old packages, and newer ones in its source."""
    need_debian_roots()
    board = DebianRoot(tmp_path_factory.mktemp("fresh") / "board", base())
    board.make()
    board.publish(*OLD)
    board.say("apt-get update && apt-get -y install app tool")
    board.publish(*NEW)
    return board


@pytest.fixture
def board(fresh: DebianRoot, tmp_path: Path) -> DebianRoot:
    return fresh.copy(tmp_path / "board")


def assert_finished(board: DebianRoot) -> None:
    """Every package is installed in its newest version, with all its files, and configured."""
    states = board.states()
    assert {name: state for name, state in states.items() if state[:3] != "ii "} == {}
    for each in NEW:
        assert states[each.name] == f"ii {each.version}"
    files = {path: text for each in NEW for path, text in each.files.items() if path[0] == "u"}
    found = board.say("cd / && cat " + " ".join(files))
    assert found == "".join(files.values())
    board.say("cd /var/lib && ls " + " ".join(f"{each.name}.ready" for each in NEW))


def test_killed_at_any_moment_the_same_run_again_finishes(
    fresh: DebianRoot, tmp_path: Path
) -> None:
    measured = fresh.copy(tmp_path / "measured")
    begin = time.monotonic()
    assert failed(measured.run(SCRIPT)) == ()
    takes = time.monotonic() - begin
    chance = random.Random(SEED)
    for number in range(int(os.environ.get("BOOTWRIGHT_KILLS", "8"))):
        board = fresh.copy(tmp_path / f"board{number}")
        # Some are killed again while they finish what was left.
        for _ in range(chance.choice((1, 1, 2, 3))):
            board.run_killed(SCRIPT, chance.uniform(0.1, 1) * takes)
        assert failed(board.run(SCRIPT)) == (), f"board {number} of seed {SEED}"
        assert_finished(board)


@pytest.mark.parametrize("what", ["auditd", "docker.io"])
def test_a_package_that_was_unpacked_without_its_dependencies_is_finished(
    board: DebianRoot, what: str
) -> None:
    board.say(f"dpkg --force-depends --unpack /repo/pool/{what}_1_all.deb")
    assert board.states()[what].startswith("iU ")
    assert failed(board.run(SCRIPT)) == ()
    assert_finished(board)


@pytest.mark.parametrize("what", ["apparmor", "bw-audit", "bw-lib"])
def test_a_package_that_is_unpacked_by_half_is_unpacked_again(board: DebianRoot, what: str) -> None:
    # As dpkg records it while it unpacks; another package waits for it.
    board.say(
        "apt-get update && apt-get -y install auditd apparmor\n"
        f"sed -i '/^Package: {what}$/,/^$/s/^Status: .*/Status: install reinstreq half-installed/'"
        " /var/lib/dpkg/status\n"
        "sed -i '/^Package: auditd$/,/^$/s/^Status: .*/Status: install ok unpacked/'"
        " /var/lib/dpkg/status\n"
        f"rm -r /usr/share/{what}"
    )
    assert board.states()[what].startswith("iHR")
    assert failed(board.run(SCRIPT)) == ()
    assert_finished(board)


def test_a_removal_that_was_interrupted_is_finished(board: DebianRoot) -> None:
    board.say(
        "apt-get update && apt-get -y install bw-new\n"
        "sed -i '/^Package: tool$/,/^$/s/^Status: .*/Status: deinstall ok half-installed/'"
        " /var/lib/dpkg/status"
    )
    assert failed(board.run(SCRIPT)) == ()
    assert board.states()["tool"].startswith("rc ")


def test_a_fetched_package_that_is_damaged_is_fetched_again(board: DebianRoot) -> None:
    # Over HTTP, apt keeps it; of the right size, and full of zeros as after a loss of power.
    board.write("etc/apt/apt.conf.d/copy", 'Acquire::Source-Symlinks "false";\n')
    board.source("own.list", "deb [trusted=yes] copy:/repo stable main")
    board.say(
        "apt-get update && apt-get -y --download-only install docker.io\n"
        "cd /var/cache/apt/archives\n"
        "size=$(stat -c %s docker.io_1_all.deb) && truncate -s 0 docker.io_1_all.deb &&"
        ' truncate -s "$size" docker.io_1_all.deb'
    )
    assert failed(board.run(SCRIPT)) == ()
    assert_finished(board)


def test_lists_of_packages_that_are_damaged_are_fetched_again(board: DebianRoot) -> None:
    board.say(
        "apt-get update\nfor list in /var/lib/apt/lists/*_Packages; do\n"
        'rm "$list"; echo "Version: 1" >"$list"; done; rm -f /var/cache/apt/*.bin'
    )
    assert failed(board.run(SCRIPT)) == ()
    assert_finished(board)


SLOW = """\
sleep() { cat progress >>waited; echo >/run/end; wait; }
mkfifo /run/begun /run/end
dpkg -i /repo/slow.deb >/dev/null 2>&1 &
read word </run/begun
"""
"""Another dpkg at work: a package's script waits until somebody writes to ``/run/end``."""


def test_a_dpkg_that_is_at_work_is_waited_for(board: DebianRoot) -> None:
    slow = "#!/bin/sh\necho begun >/run/begun\nread word </run/end\n"
    package = Package("slow", "1", scripts={"postinst": slow})
    package.build(board.folder / "repo").rename(board.folder / "repo/slow.deb")
    assert failed(board.run(SLOW + SCRIPT)) == ()
    waited = (board.folder / "job/waited").read_text()
    assert waited.startswith("finish what was left half done: wait for dpkg (process ")
    assert board.states()["slow"] == "ii 1"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("deb file:/unsigned stable main", "file:/unsigned stable"),
        ("deb [trusted=yes] file:/repo nosuch main", "file:/repo nosuch"),
        ("deb [trusted=yes] file:/nosuch ./", "file:/nosuch/."),
        (
            "deb cdrom:[Debian GNU/Linux 12 _Bookworm_]/ bookworm main",
            "cdrom://[Debian GNU/Linux 12 _Bookworm_] bookworm",
        ),
    ],
)
def test_a_source_of_somebody_else_that_is_broken_stops_nothing(
    board: DebianRoot, line: str, name: str
) -> None:
    board.source("other.list", line)
    sections = board.run(f"ln -s /repo /unsigned\nsleep() {{ :; }}\n{SCRIPT}")
    assert failed(sections) == ()
    assert package_warnings(sections) == (f"could not be fetched: {name}",)
    assert_finished(board)


def test_what_a_source_offered_that_is_gone_now_stops_nothing(board: DebianRoot) -> None:
    board.source("other.list", "deb [trusted=yes] file:/other stable main")
    board.say("cp -r /repo /other && apt-get update")
    # A newer one than ours, which is not there any more; its list is still known.
    board.say(
        "cd /var/lib/apt/lists && for list in _other_*_Packages; do\n"
        "sed -i -e '/^Package: base-files$/,/^$/d'"
        " -e '/^Package: tool$/,/^$/{s/^Version: .*/Version: 3/;s,^Filename: .*,Filename: no,}'"
        ' "$list"\ndone; rm -f /var/cache/apt/*.bin'
    )
    assert "Candidate: 3" in board.say("apt-cache policy tool")
    board.say("rm -r /other")
    sections = board.run(f"sleep() {{ :; }}\n{SCRIPT}")
    assert failed(sections) == ()
    assert package_warnings(sections) == ("could not be fetched: file:/other stable",)
    assert_finished(board)
