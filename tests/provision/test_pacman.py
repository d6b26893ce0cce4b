"""Installing packages by the real pacman, from a repository with signatures."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.provision.facts import HostFacts, host_facts
from bootwright.provision.facts_script import UPGRADED, Questions, host_script
from bootwright.provision.packages import (
    PackagesPlan,
    needs_reboot,
    new_kernel,
    package_warnings,
    packages_script,
)
from tests.support.archroot import KEYRING, ArchRoot, need_pacman
from tests.support.gpgkeys import KeyRing, keyring
from tests.support.package_runs import failed
from tests.support.webserver import serving

pytestmark = pytest.mark.integration

KERNEL = os.uname().release

SCRIPT = packages_script(PackagesPlan("arch", ("docker", "audit"), (), True, "missing"))

QUESTIONS = Questions(
    ("docker", "audit", "app", "docker.io"), (), ("/usr/lib/modules",), ("/etc/hostname",)
)


class Keys:
    """Keys that sign packages: of the board's first keyring, of its second, and of nobody."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self.first = ring.make("First <first@test>")
        self.second = ring.make("Second <second@test>")
        self.stranger = ring.make("Stranger <stranger@test>")


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    need_pacman()
    with keyring() as ring:
        yield Keys(ring)


@pytest.fixture(scope="module")
def fresh(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> ArchRoot:
    """A board as it comes: packages, of which some are old, and no keyring yet."""
    board = ArchRoot(tmp_path_factory.mktemp("fresh") / "board", keys.ring)
    board.make()
    board.publish_keyring("1-1", (keys.first,), keys.first)
    board.publish("app", "1-1", {"usr/share/bw-app": b"1"}, keys.first)
    board.publish("linux", "1-1", {f"usr/lib/modules/{KERNEL}/x": b"1"}, keys.first)
    board.server("file:///repo", "Never")
    board.say(f"pacman -Sy --noconfirm {KEYRING} app linux")
    board.server("file:///repo")
    board.publish("app", "2-1", {"usr/share/bw-app": b"2"}, keys.first)
    for name in ("docker", "audit"):
        board.publish(name, "1-1", {f"usr/bin/bw-{name}": b""}, keys.first)
    return board


@pytest.fixture(scope="module")
def settled(fresh: ArchRoot, tmp_path_factory: pytest.TempPathFactory) -> ArchRoot:
    """The board after its first run."""
    board = fresh.copy(tmp_path_factory.mktemp("settled") / "board")
    assert failed(board.run(SCRIPT)) == ()
    return board


@pytest.fixture
def board(settled: ArchRoot, tmp_path: Path) -> ArchRoot:
    return settled.copy(tmp_path / "board")


def installed(board: ArchRoot) -> dict[str, str]:
    return dict(line.split() for line in board.say("pacman -Q").splitlines())


def look(board: ArchRoot) -> HostFacts:
    return host_facts(board.run(host_script(QUESTIONS)))


def test_the_first_run_fills_the_keyring_and_brings_everything_up_to_date(
    fresh: ArchRoot, tmp_path: Path
) -> None:
    board = fresh.copy(tmp_path / "board")
    before = look(board)
    assert (before.family, before.os_name) == ("arch", "Arch Linux ARM")
    assert before.packages == {"app": "1-1"}
    assert (before.upgraded, before.modules, needs_reboot(before)) == ("", (KERNEL,), "")
    assert before.tools >= {"pacman"}
    assert "apt-get" not in before.tools
    assert failed(board.run(SCRIPT)) == ()
    after = look(board)
    assert after.packages == {"app": "2-1", "docker": "1-1", "audit": "1-1"}
    assert len(after.upgraded.split()) == 1
    assert (board.root / "usr/share/bw-app").read_text() == "2"
    assert (board.root / f"var/lib/{UPGRADED.removeprefix('/var/lib/')}").exists()
    assert "[  full  ] First <first@test>" in board.say("pacman-key --list-keys 2>/dev/null")


def test_a_second_run_changes_nothing(board: ArchRoot) -> None:
    before, log = installed(board), (board.root / "var/log/pacman.log").read_text()
    ring = (board.root / "etc/pacman.d/gnupg/pubring.gpg").read_bytes()
    assert failed(board.run(SCRIPT)) == ()
    assert installed(board) == before
    more = (board.root / "var/log/pacman.log").read_text().removeprefix(log)
    assert "installed" not in more
    assert "upgraded" not in more
    assert (board.root / "etc/pacman.d/gnupg/pubring.gpg").read_bytes() == ring


@pytest.mark.parametrize("interrupted", ["before filling it", "while filling it"])
def test_a_keyring_that_was_left_half_made_is_made_again(
    fresh: ArchRoot, tmp_path: Path, interrupted: str
) -> None:
    board = fresh.copy(tmp_path / "board")
    if interrupted == "before filling it":
        board.say("pacman-key --init")
    else:
        # Imported, but not signed by the board's own key: so nothing is believed yet.
        trap = (
            "sed 's/^lsign_keys() {/lsign_keys() { kill -9 $$;/' /usr/bin/pacman-key"
            " >/tmp/pacman-key; grep -q 'kill -9' /tmp/pacman-key || exit 3\n"
            "chmod 755 /tmp/pacman-key; mount --bind /tmp/pacman-key /usr/bin/pacman-key\n"
        )
        assert failed(board.run(trap + SCRIPT))[0] == "fill the keyring"
    assert failed(board.run(SCRIPT)) == ()
    assert installed(board)["docker"] == "1-1"


def test_a_new_keyring_comes_before_what_it_is_needed_for(board: ArchRoot, keys: Keys) -> None:
    board.publish_keyring("2-1", (keys.first, keys.second), keys.first)
    board.publish("app", "3-1", {"usr/share/bw-app": b"3"}, keys.second)
    assert failed(board.run(SCRIPT)) == ()
    assert installed(board)["app"] == "3-1"


def test_a_new_kernel_needs_a_restart(board: ArchRoot, keys: Keys) -> None:
    board.publish("linux", "2-1", {"usr/lib/modules/99.1-new/x": b"2"}, keys.first)
    assert failed(board.run(SCRIPT)) == ()
    facts = look(board)
    assert facts.kernel == KERNEL
    assert facts.modules == ("99.1-new",)
    assert f"the modules of the running kernel {KERNEL} are gone" in needs_reboot(facts)
    assert new_kernel(facts) == "99.1-new"


def set_option(board: ArchRoot, line: str) -> None:
    configuration = board.root / "etc/pacman.conf"
    text = configuration.read_text().replace("[options]\n", f"[options]\n{line}\n")
    configuration.write_text(text)


def test_the_lock_of_an_interrupted_pacman_is_taken_away(board: ArchRoot, keys: Keys) -> None:
    # pacman takes it without the last slash as well.
    set_option(board, "DBPath = /var/lib/pacman")
    board.publish("app", "3-1", {"usr/share/bw-app": b"3"}, keys.first)
    board.write("var/lib/pacman/db.lck", "")
    sections = board.run(SCRIPT)
    assert (failed(sections), package_warnings(sections)) == ((), ())
    assert installed(board)["app"] == "3-1"
    assert not (board.root / "var/lib/pacman/db.lck").exists()


OTHER = """\
mkfifo /run/begun /run/end
pacman --config /etc/other.conf -Sy >/dev/null 2>&1 &
read word </run/begun
"""
"""A pacman at work: it downloads until somebody writes to ``/run/end``."""


def with_other_pacman(board: ArchRoot, sleep: str) -> str:
    """Return a script that runs while another pacman works; ``sleep`` stands for the program."""
    fetch = board.root / "run/fetch"
    fetch.write_text("#!/bin/sh\necho begun >/run/begun\nread word </run/end\nexit 1\n")
    fetch.chmod(0o755)
    board.write(
        "etc/other.conf",
        "[options]\nXferCommand = /run/fetch %u %o\nSigLevel = Never\n"
        "[test]\nServer = http://localhost/none\n",
    )
    return f"{OTHER}sleep() {{ {sleep}; }}\n{SCRIPT.replace('lock_s=900', 'lock_s=10')}"


def test_a_pacman_that_is_at_work_is_waited_for(board: ArchRoot, keys: Keys) -> None:
    board.publish("app", "3-1", {"usr/share/bw-app": b"3"}, keys.first)
    script = with_other_pacman(board, "cat progress >>waited; echo >/run/end; wait")
    assert failed(board.run(script)) == ()
    waited = (board.root / "run/work/waited").read_text()
    assert waited.startswith("fetch the lists of packages: wait for pacman (process ")
    assert installed(board)["app"] == "3-1"


def test_a_pacman_that_does_not_end_is_named_and_left_alone(board: ArchRoot) -> None:
    # The folder by another name than the one of the pacman at work.
    (board.root / "var/lib/pac").symlink_to("pacman")
    set_option(board, "DBPath = /var/lib/pac/")
    what, who, *_ = failed(board.run(with_other_pacman(board, ":")))
    assert what == "fetch the lists of packages"
    assert who.startswith("pacman (process ")
    assert who.endswith(") works on packages, and has not ended in 10 s")
    # The one that was killed with the board's other processes left it.
    assert (board.root / "var/lib/pacman/db.lck").exists()


def test_a_package_that_pacman_was_killed_at_is_installed_again(
    board: ArchRoot, keys: Keys
) -> None:
    board.publish("app", "3-1", {"usr/share/bw-app": b"3"}, keys.first)
    # The notes of the old version are gone, those of the new one are not written, its file is.
    local = board.root / "var/lib/pacman/local"
    (local / "app-2-1").rename(local / "app-2.5-1")
    (local / "app-2.5-1/desc").unlink()
    with (local / "audit-1-1/files").open("r+b") as file:
        file.truncate(len(b"%FILES%\n"))
    assert failed(board.run(SCRIPT)) == ()
    assert installed(board)["app"] == "3-1"
    assert (board.root / "usr/share/bw-app").read_text() == "3"
    assert "usr/bin/bw-audit" in board.say("pacman -Qlq audit")
    assert not (local / "app-2.5-1").exists()


def test_a_keyring_that_was_installed_and_not_taken_over_is_taken_over(
    board: ArchRoot, keys: Keys
) -> None:
    board.publish_keyring("2-1", (keys.first, keys.second), keys.first)
    # Without what pacman runs after the installation.
    board.say("pacman -Sy --noconfirm --noscriptlet testlinux-keyring")
    board.publish("app", "3-1", {"usr/share/bw-app": b"3"}, keys.second)
    assert failed(board.run(SCRIPT)) == ()
    assert installed(board)["app"] == "3-1"


def test_packages_that_pacman_ignores_are_named(board: ArchRoot, keys: Keys) -> None:
    board.publish("app", "3-1", {"usr/share/bw-app": b"3"}, keys.first)
    set_option(board, "IgnorePkg = app")
    warnings = package_warnings(board.run(SCRIPT))
    assert warnings == (
        "pacman.conf keeps these as they are (IgnorePkg, IgnoreGroup), and the rest is newer, which"
        " Arch Linux does not support: app",
    )
    assert installed(board)["app"] == "2-1"


@pytest.mark.parametrize("how", ["forged", "of a stranger"])
def test_a_package_with_a_wrong_signature_is_reported_and_nothing_is_installed(
    board: ArchRoot, keys: Keys, how: str
) -> None:
    before = installed(board)
    who = keys.first if how == "forged" else keys.stranger
    board.publish("app", "3-1", {"usr/share/bw-app": b"3"}, who, forged=how == "forged")
    board.publish("docker", "2-1", {"usr/bin/bw-docker": b"2"}, keys.first)
    what, *said = failed(board.run(SCRIPT))
    assert what == "bring everything up to date and install"
    expected = {
        "forged": 'error: app: signature from "First <first@test>" is invalid',
        # pacman looked for it at a key server, in vain; it would not have been trusted either.
        "of a stranger": "error: required key missing from keyring",
    }
    assert expected[how] in said
    assert installed(board) == before
    assert not (board.root / "var/lib/pacman/db.lck").exists()


@pytest.mark.parametrize("how", ["404", "down"])
def test_a_mirror_that_does_not_serve_is_reported(board: ArchRoot, how: str) -> None:
    before = installed(board)
    with serving() as web:
        url = web.address
        if how == "404":
            board.server(url)
            what, *said = failed(board.run(SCRIPT))
    if how == "down":
        board.server(url)
        what, *said = failed(board.run(SCRIPT))
    assert what == "fetch the lists of packages"
    expected = "404" if how == "404" else "connect"
    assert any("failed retrieving file 'test.db'" in x and expected in x for x in said), said
    assert installed(board) == before
    assert not (board.root / "var/lib/bootwright/upgraded.new").exists()


def test_a_package_that_the_mirror_lacks_by_now_is_reported(board: ArchRoot, keys: Keys) -> None:
    before = installed(board)
    board.publish("app", "3-1", {"usr/share/bw-app": b"3"}, keys.first)
    (board.root / "repo/app-3-1-any.pkg.tar.gz").unlink()
    what, *said = failed(board.run(SCRIPT))
    assert what == "bring everything up to date and install"
    assert any("app-3-1-any.pkg.tar.gz" in line for line in said), said
    assert installed(board) == before


def test_a_package_that_is_not_to_be_had_is_reported(board: ArchRoot) -> None:
    script = packages_script(PackagesPlan("arch", ("no-such",), (), True, "missing"))
    what, *said = failed(board.run(script))
    assert what == "bring everything up to date and install"
    assert "error: target not found: no-such" in said


@pytest.mark.parametrize(("size", "enough"), [("510m", True), ("490m", False)])
def test_a_full_board_is_reported_before_anything_is_fetched(
    board: ArchRoot, size: str, enough: bool
) -> None:
    board.size = size
    log = (board.root / "var/log/pacman.log").read_text()
    result = failed(board.run(SCRIPT))
    if enough:
        assert result == ()
    else:
        assert result[0] == "look for space"
        assert result[1].endswith(" MiB are free on /, and 500 are needed")
        assert (board.root / "var/log/pacman.log").read_text() == log


def test_what_is_too_large_for_the_disk_is_not_begun(board: ArchRoot, keys: Keys) -> None:
    before = installed(board)
    # What pacman itself finds, by the size that the package says.
    script = "mkdir -p /var/lib/full && mount -t tmpfs -o size=20m full /var/lib/full\n"
    board.publish("audit", "2-1", {"var/lib/full/large": bytes(64 * 2**20)}, keys.first)
    what, *said = failed(board.run(script + SCRIPT))
    assert what == "bring everything up to date and install"
    assert any("not enough free disk space" in line for line in said), said
    assert installed(board) == before
