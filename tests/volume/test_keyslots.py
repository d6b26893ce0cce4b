"""Changing passphrases over SSH: a real server, a real cryptsetup, an image for the device."""

import fcntl
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bootwright.core.board import Kdf
from bootwright.core.config import Target
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.core.target_names import BUILT_IN
from bootwright.core.units import MIB
from bootwright.remote.io.connection import Remote
from bootwright.remote.sections import parse_sections
from bootwright.volume.choices import PassphraseAction
from bootwright.volume.io.luks import prove_passphrase
from bootwright.volume.keyslot_script import keyslot_script, parse_change
from bootwright.volume.keyslots import (
    PassphraseFiles,
    PassphraseResult,
    Passphrases,
    change_keyslots,
    read_passphrases,
)
from bootwright.volume.status import status
from tests.support.bench import INV, Bench
from tests.support.runlogs import assert_hidden, records
from tests.support.schemas import check_broken_documents, check_document
from tests.support.sshserver import SshServer, need_sshd

pytestmark = pytest.mark.integration

KDF = Kdf(memory_kib=64, iterations=5, threads=1)
"""As little as cryptsetup takes, and unlike what the image is made with."""

FIRST = "correct horse battery staple 7"
AWKWARD = r""" 'it"s $HOME `id` \n \0 100%s; é \ """


@dataclass
class Board:
    """A server whose crypttab names an image with a LUKS2 header."""

    server: SshServer
    image: Path
    known: Path

    def run(
        self, action: PassphraseAction, existing: str, other: str, step_s: int = 60
    ) -> PassphraseResult:
        both = Passphrases(Secret(existing.encode()), Secret(other.encode()))
        return change_keyslots(
            self.server.endpoint(),
            action,
            both,
            KDF,
            reporter=TextReporter(),
            directory=self.known,
            step_s=step_s,
        )

    def opens(self, passphrase: str) -> bool:
        try:
            prove_passphrase(self.image, Secret(passphrase.encode()))
        except FailedError:
            return False
        return True

    def add_directly(self, existing: str, new: str, times: int = 1) -> None:
        new_file = self.image.with_name("new")
        new_file.write_text(new)
        for _ in range(times):
            argv = ["cryptsetup", "luksAddKey", "-q", "--key-file=-", "--pbkdf=pbkdf2"]
            argv += ["--pbkdf-force-iterations=1000", str(self.image), str(new_file)]
            subprocess.run(argv, input=existing.encode(), check=True)

    def slots(self) -> list[int]:
        argv = ["cryptsetup", "luksDump", "--dump-json-metadata", str(self.image)]
        dump = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
        return sorted(map(int, dump["keyslots"]))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    need_sshd()
    server = SshServer(tmp_path_factory.mktemp("sshd"))
    yield server.start()
    server.stop()


@pytest.fixture
def board(server: SshServer, tmp_path: Path) -> Iterator[Board]:
    image = tmp_path / "volume.img"
    with image.open("xb") as file:
        file.truncate(17 * MIB)
    argv = ["cryptsetup", "luksFormat", "-q", "--type=luks2", "--pbkdf=argon2id"]
    argv += ["--pbkdf-memory=32", "--pbkdf-force-iterations=4", "--pbkdf-parallel=1"]
    subprocess.run([*argv, "--key-file=-", str(image)], input=FIRST.encode(), check=True)
    server.crypttab(f"# disks\nother /dev/zero\n\tdocker-data\t{image} none luks,tries=3,noauto")
    yield Board(server, image, tmp_path / "known")
    for tool in server.tools.iterdir():
        tool.unlink()


def test_add_change_and_remove(board: Board, capfd: pytest.CaptureFixture[str]) -> None:
    added = board.run("add", FIRST, AWKWARD)
    assert "easy to guess" not in capfd.readouterr().err
    document = check_document("passphrase", added.document())
    check_broken_documents("passphrase", document)
    assert (document["added"], document["removed"]) == (1, [])
    assert board.opens(FIRST)
    assert board.opens(AWKWARD)
    assert document["keyslots"] == [
        {"number": 0, "kdf": "argon2id", "memory_kib": 32, "iterations": 4, "threads": 1},
        {"number": 1, "kdf": "argon2id", "memory_kib": 64, "iterations": 5, "threads": 1},
    ]
    long = "x" * 511
    done = board.run("change", AWKWARD, long)
    assert (done.added, done.removed) == (2, (1,))
    assert [board.opens(word) for word in (FIRST, AWKWARD, long)] == [True, False, True]
    assert "easy to guess" in capfd.readouterr().err
    removed = board.run("remove", long, FIRST)
    assert "easy to guess" not in capfd.readouterr().err
    assert (removed.added, removed.removed) == (None, (0,))
    assert [board.opens(word) for word in (FIRST, long)] == [False, True]
    assert removed.lines()[0] == "key slot 0 is removed"
    assert removed.lines()[1] == "keyslot 2  argon2id, 64.0 KiB, 5 passes, 1 thread"


def test_a_second_run_finds_nothing_to_do(board: Board) -> None:
    board.run("add", FIRST, "second one")
    again = board.run("add", FIRST, "second one")
    assert (again.changed, board.slots()) == (False, [0, 1])
    board.run("change", FIRST, "third one")
    again = board.run("change", FIRST, "third one")
    assert (again.changed, board.slots()) == (False, [1, 2])


def test_wrong_ones_change_nothing(board: Board, capfd: pytest.CaptureFixture[str]) -> None:
    board.add_directly(FIRST, "second one")
    cases: list[tuple[PassphraseAction, str, str, type[Exception], str]] = [
        ("add", "wrong-word", "new-word", InputError, "existing passphrase opens no key slot"),
        ("change", "wrong-word", "new-word", InputError, "existing passphrase opens no key slot"),
        ("remove", "wrong-word", FIRST, InputError, "passphrase to keep opens no key slot"),
        ("remove", FIRST, "wrong-word", InputError, "to remove opens no key slot"),
        ("remove", FIRST, FIRST, RefusedError, "the same key slot"),
        ("change", FIRST, FIRST, RefusedError, "the same key slot"),
    ]
    for action, existing, other, kind, text in cases:
        with pytest.raises(kind, match=text) as caught:
            board.run(action, existing, other)
        assert "nothing was changed" in str(caught.value)
        for secret in (FIRST, "wrong-word", "new-word", "second one"):
            assert secret not in str(caught.value) + "".join(capfd.readouterr())
    assert board.slots() == [0, 1]
    assert board.opens(FIRST)


def test_every_slot_of_the_old_passphrase_goes(board: Board) -> None:
    board.add_directly(FIRST, FIRST, times=2)
    done = board.run("change", FIRST, "second one")
    assert done.removed == (0, 1, 2)
    assert board.slots() == [3]
    assert board.opens("second one")
    assert not board.opens(FIRST)


@pytest.mark.parametrize("before", ["luksAddKey", "luksKillSlot"])
def test_whatever_breaks_in_between_a_passphrase_opens_and_the_next_run_ends_it(
    board: Board, before: str
) -> None:
    # The session's shells die as cryptsetup is about to be called, as when power is lost.
    board.server.tool(
        "cryptsetup",
        f'case $* in *{before}*) ;; *) exec /sbin/cryptsetup "$@" ;; esac\n'
        "shells= pid=$PPID\n"
        'while grep -qx -e sh -e timeout "/proc/$pid/comm"; do\n'
        '    shells="$shells $pid"\n'
        '    pid=$(sed -n "s/^PPid:[^0-9]*//p" "/proc/$pid/status")\n'
        "done\n"
        "kill -9 $shells\n",
    )
    with pytest.raises(FailedError, match="ended by a signal; run it again"):
        board.run("change", FIRST, "second one")
    assert board.opens(FIRST)
    assert board.opens("second one") == (before == "luksKillSlot")
    (board.server.tools / "cryptsetup").unlink()
    done = board.run("change", FIRST, "second one")
    assert done.removed == (0,)
    assert board.slots() == [1]
    assert board.opens("second one")


def test_a_new_passphrase_that_does_not_open_leaves_the_old_one(board: Board) -> None:
    # A cryptsetup that says that it added a key, and did not.
    board.server.tool(
        "cryptsetup", 'case $* in *luksAddKey*) exit 0 ;; esac\nexec /sbin/cryptsetup "$@"'
    )
    with pytest.raises(FailedError, match="testing the new passphrase failed"):
        board.run("change", FIRST, "second one")
    assert board.slots() == [0]
    assert board.opens(FIRST)


def test_a_full_header(board: Board) -> None:
    board.add_directly(FIRST, FIRST, times=31)
    with pytest.raises(FailedError, match="all 32 key slots are in use"):
        board.run("add", FIRST, "second one")
    assert board.opens(FIRST)


def test_a_header_that_another_program_holds(board: Board) -> None:
    script = keyslot_script("add", str(board.image), KDF, step_s=1)
    with (
        board.image.open("rb") as held,
        Remote(board.server.endpoint(), directory=board.known) as remote,
    ):
        fcntl.flock(held, fcntl.LOCK_EX)
        done = remote.run(script, title="t", stdin=b"one\ntwo\n", sudo=True, timeout=60)
    with pytest.raises(FailedError, match="the LUKS header is in use"):
        parse_change("add", parse_sections(done.text))


def test_two_at_a_time(board: Board) -> None:
    with Path("/run/bootwright-keyslots.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(FailedError, match="another `inv passphrase`"):
            board.run("add", FIRST, "second one")
    assert board.slots() == [0]


def test_no_secret_shows_in_a_command_line_or_an_environment(board: Board) -> None:
    # Each time cryptsetup is called, with the shell that calls it waiting.
    seen = board.image.with_name("seen")
    board.server.tool(
        "cryptsetup",
        f"cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>{seen} 2>/dev/null\n"
        'exec /sbin/cryptsetup "$@"',
    )
    # A board whose environment has the script's variables, and whose shell exports what it sets.
    board.server.tool(
        "sh", 'export existing=1 other=1 new=1 keep=1 gone=1 message=1\nexec /bin/sh -a "$@"'
    )
    board.run("change", FIRST, "s3cond-w0rd")
    text = seen.read_bytes()
    assert text.count(b"luksAddKey") >= 1
    assert b"--test-passphrase" in text
    assert b"s3cond-w0rd" not in text
    assert FIRST.encode() not in text


def test_a_board_without_the_volume(board: Board) -> None:
    endpoint, known = board.server.endpoint(), board.known
    with board.image.open("r+b") as file:
        file.write(bytes(64 * 1024))
    with pytest.raises(
        FailedError, match=r"has no intact LUKS2 header; cryptsetup: Device .*not a"
    ):
        board.run("add", FIRST, "second one")
    found = status(endpoint, directory=known)
    assert check_document("status", found.document())["volume"]["state"] == "unusable"
    assert any(line.startswith("problem") for line in found.lines())
    board.server.crypttab("docker-data UUID=01234567-89ab none luks")
    with pytest.raises(FailedError, match="no device UUID=01234567-89ab"):
        board.run("add", FIRST, "second one")
    board.server.crypttab("other /dev/zero")
    with pytest.raises(FailedError, match="has no entry docker-data"):
        board.run("add", FIRST, "second one")


def test_the_files_of_the_command_line(tmp_path: Path) -> None:
    def file(name: str, text: str) -> str:
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(text)
        return str(path)

    target = Target(name="odroid", **BUILT_IN["odroid"])
    one, two = file("one", "one\n"), file("two", "two\n")
    both = read_passphrases("change", target, PassphraseFiles(existing=one, new=two))
    assert both == Passphrases(Secret(b"one"), Secret(b"two"))
    both = read_passphrases("remove", target, PassphraseFiles(existing=one, old=two))
    assert both == Passphrases(Secret(b"one"), Secret(b"two"))
    for action, files, text in (
        (
            "change",
            PassphraseFiles(one, file("same", "one\r\n")),
            "the new passphrase is the same as the existing one",
        ),
        (
            "remove",
            PassphraseFiles(one, old=one),
            "the passphrase to remove is the same as the one to keep",
        ),
        (
            "add",
            PassphraseFiles(one, file("tab", "a\tb")),
            "tab: the passphrase has a control character",
        ),
        ("add", PassphraseFiles(one, two, one), "--old-passphrase-file is for remove"),
        ("remove", PassphraseFiles(one, two, one), "--new-passphrase-file"),
        ("add", PassphraseFiles(one), "give --new-passphrase-file"),
        ("remove", PassphraseFiles(one), "give --old-passphrase-file"),
    ):
        with pytest.raises(InputError, match=text):
            read_passphrases(action, target, files)  # type: ignore[arg-type]


def test_the_tasks(board: Board, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.own_checkout(
        "[targets.box]\n"
        f'board = "odroid-xu3"\nrootfs = "debian"\nhost = "127.0.0.1"\nport = {board.server.port}\n'
        f'identity_file = "{board.server.identity}"\n'
    )
    host_keys = tmp_path / "build" / "host-keys"
    host_keys.mkdir(parents=True)
    (host_keys / "box").write_text(board.server.host_keys["ed25519"] + " board\n")
    for name, text in (("old", FIRST), ("new", "second one")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(f"{text}\n")

    def inv(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(INV), *argv],
            cwd=bench.checkout,
            env=bench.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    shown = inv("status", "box", "--json")
    assert shown.returncode == 0, shown.stderr
    found = check_document("status", json.loads(shown.stdout))
    assert found["volume"]["state"] == "locked"
    assert inv("status", "box").stdout.splitlines()[-1].split() == ["next", "inv", "unlock", "box"]
    files = (f"--passphrase-file={tmp_path}/old", f"--new-passphrase-file={tmp_path}/new")
    done = inv("passphrase", "box", "add", *files, "--json")
    assert done.returncode == 0, done.stderr
    # The board's own budget, threads as many as there are.
    slot = check_document("passphrase", json.loads(done.stdout))["keyslots"][1]
    assert (slot["memory_kib"], slot["iterations"]) == (65536, 4)
    assert board.opens("second one")
    assert inv("passphrase", "box", "replace").returncode == 2
    # A board that repeats what it must not: neither the operator nor the log sees it.
    board.server.tool("cryptsetup", f"echo 'bad: {FIRST} {FIRST}' >&2; exit 3")
    failed = inv("passphrase", "box", "add", *files)
    assert failed.returncode == 4
    assert FIRST not in failed.stderr
    (board.server.tools / "cryptsetup").unlink()
    scripts = [one for one in records(tmp_path / "build") if one["gateway"] == "ssh"]
    assert any("luksAddKey" in one.get("script", "") for one in scripts)
    assert any(one.get("stdin") == "***" for one in scripts)
    assert any("bad: *** ***" in json.dumps(one) for one in scripts)
    assert_hidden(tmp_path / "build", FIRST, "second one")
    board.server.stop()
    try:
        gone = inv("status", "box", "--json")
        assert gone.returncode == 4
        assert gone.stdout == ""
        assert "Connection refused. Is the board on" in gone.stderr
        assert "Traceback" not in gone.stderr
    finally:
        board.server.start()
