"""Boards that tests start from: each is made once, saved, and resumed in a few seconds.

A stage is a running emulated board in a known state. It is made from another one, saved
(``bootwright.emulator.io.saves``) and kept outside the tree, below the cache, so that the next run
of the tests resumes it. Its key is a digest of everything that went into it: the sources that
matter for it, how it is prepared, QEMU's version, and the key of the stage that it is made from.
A stage that is not there, or is older than :data:`OLDEST_DAYS`, is made.

Packages that were installed while making a stage are kept as files and given to the next board
that is made, so that it asks the mirror for the lists of packages and for little else.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bootwright.core import paths
from bootwright.core.errors import BootwrightError, FailedError, InputError
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.emulator.io import qemu, saves
from bootwright.emulator.io.clock import set_clock
from bootwright.volume.unlock_result import Result
from tests.support.hostboard import OLD_CONTAINER, STOCK_DOCKER, Board
from tests.support.machine import Card, Machine

WORD = "correct horse battery staple 7"

ROOTFS_VARIABLE = "BOOTWRIGHT_TEST_ROOTFS"
"""Names a Debian tarball that is used instead of building one (minutes)."""

OLDEST_DAYS = 30
"""Days after which a stage is made anew: its packages are not those of the mirror any more."""

KEPT = 2
"""Cards, and saves of a stage, that are kept; a card with all its stages takes about 4 GiB."""

_CARD_SOURCES = (
    *("board", "rootfs", "templates"),
    *(f"bootwright/{room}" for room in ("core", "console", "rootfs", "volume", "card", "emulator")),
)
_PROVISION_SOURCES = (
    "profiles",
    *(f"bootwright/{room}" for room in ("remote", "hosts", "pki", "logs", "provision")),
)
_SUFFIXES = {".py", ".sh", ".toml", ".j2", ".txt", ".rules", ".conf"}


@dataclass(frozen=True)
class Stage:
    """How a stage is made.

    Attributes:
        parent: the stage that it is made from; ``None``: the card is booted.
        prepare: what is done to the board.
        recipe: text that says what is done; another one makes another stage.
        sources: files and folders of the checkout that matter for it.
    """

    parent: str | None
    prepare: Callable[[Board], None]
    recipe: str
    sources: tuple[str, ...] = ()


def _unlocked(board: Board) -> None:
    assert board.machine.unlock(board.passphrase) is Result.UNLOCKED
    board.machine.wait("login")
    # A clock that jumps by days when the board is resumed would start them all.
    board.sh(_NO_TIMERS)
    _give_packages(board)


def _with_docker(board: Board) -> None:
    board.sh(STOCK_DOCKER)
    _take_packages(board)


def _provisioned(board: Board) -> None:
    done = board.provision()
    assert done.error is None, done.error
    board.sh(OLD_CONTAINER)
    _take_packages(board)


_NO_TIMERS = """
timers=$(systemctl list-unit-files --type=timer --no-legend | cut -d ' ' -f 1)
systemctl stop $timers
systemctl mask $timers >/dev/null 2>&1
# A timer that was loaded when it was masked counts as failed.
systemctl reset-failed
"""

STAGES = {
    "unlocked": Stage(None, _unlocked, _NO_TIMERS),
    "docker": Stage("unlocked", _with_docker, STOCK_DOCKER),
    "provisioned": Stage("unlocked", _provisioned, OLD_CONTAINER, _PROVISION_SOURCES),
}
"""
- ``unlocked``: a booted Debian whose volume is open; no Docker.
- ``docker``: with Docker as the distribution installs it, and no container.
- ``provisioned``: made a hardened Docker host by Bootwright, with a container ``old``.
"""


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _sources_digest(sources: tuple[str, ...]) -> str:
    root = paths.checkout()
    found = hashlib.sha256()
    for source in sources:
        for path in sorted((root / source).rglob("*")):
            if path.suffix in _SUFFIXES and path.is_file():
                found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return found.hexdigest()


def stages_dir() -> Path:
    """Return where cards and stages are kept between runs."""
    return paths.cache_dir() / "test-stages"


def _packages_dir() -> Path:
    return stages_dir() / "packages"


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock of all cards and stages; another run of the tests waits."""
    stages_dir().mkdir(parents=True, exist_ok=True, mode=0o700)
    with (stages_dir() / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def card_key() -> str:
    """Return the digest of what goes into the card."""
    tarball = os.environ.get(ROOTFS_VARIABLE, "")
    written = str(Path(tarball).stat().st_mtime_ns) if tarball else ""
    return _digest(_sources_digest(_CARD_SOURCES), saves.qemu_version(), tarball, written)


def stage_key(name: str) -> str:
    """Return the digest of what goes into a stage."""
    stage = STAGES[name]
    before = stage_key(stage.parent) if stage.parent else card_key()
    return _digest(before, name, stage.recipe, _sources_digest(stage.sources))


def the_card() -> Card:
    """Return the card, made by ``inv flash`` if it is not there. Nobody may write to it."""
    folder = stages_dir() / f"card-{card_key()}"
    card = Card(folder / "card.img", Secret(WORD.encode()), folder / "id")
    with _alone():
        if not (folder / "finished").exists():
            _make_card(folder, card)
            _prune("card-*")
        # By which the last one that was used is found.
        os.utime(folder)
    return card


def _make_card(folder: Path, card: Card) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", card.identity],
        check=True,
    )
    passphrase = folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(f"{WORD}\n")
    argv = [
        *(str(Path(sys.executable).parent / "inv"), "flash", f"--device={card.image}"),
        *("--size=5GiB", "--rootfs=debian", f"--authorized-key={card.identity}.pub"),
        f"--passphrase-file={passphrase}",
    ]
    if tarball := os.environ.get(ROOTFS_VARIABLE):
        argv.append(f"--rootfs-file={tarball}")
    env = os.environ | {"BOOTWRIGHT_BUILD": str(folder / "build")}
    subprocess.run(argv, check=True, cwd=paths.checkout(), env=env, stdin=subprocess.DEVNULL)
    (folder / "finished").touch()


def _prune(pattern: str) -> None:
    """Remove all but the last cards that were used, and the stages made from them."""
    found = sorted(stages_dir().glob(pattern), key=lambda path: path.stat().st_mtime_ns)
    for folder in found[:-KEPT]:
        shutil.rmtree(folder)


@contextmanager
def board_at(name: str, folder: Path) -> Iterator[Board]:
    """Give a board at a stage, in a directory of the test's own; it is gone afterwards.

    Args:
        name: of :data:`STAGES`.
        folder: for the emulator's files and known host keys.
    """
    card = the_card()
    kept = card.image.parent / "saves"
    saved = f"{name}-{stage_key(name)}"
    with _alone():
        _ensure(name, card, kept, folder)
    with resumed(saved, card, kept, folder) as board:
        yield board


@contextmanager
def resumed(saved: str, card: Card, kept: Path, folder: Path) -> Iterator[Board]:
    """Give a board that goes on from a save, with the right time."""
    machine = Machine(card, folder / "emulator")
    saves.resume(saved, TextReporter(), directory=machine.directory, saves=kept)
    board = Board(machine, folder / "known", card.passphrase)
    try:
        _set_clock(board)
        yield board
    finally:
        board.close()
        qemu.stop(TextReporter(), machine.directory, power_down_s=0)


def _set_clock(board: Board) -> None:
    """Set the clock; a board that has just been resumed may drop its first connection."""
    for _ in range(2):
        with contextlib.suppress(FailedError):
            set_clock(board.remote())
            return
        board.close()
    set_clock(board.remote())


def _ensure(name: str, card: Card, kept: Path, folder: Path) -> None:
    """Make a stage, and those that it is made from, unless they are there."""
    saved = f"{name}-{stage_key(name)}"
    if _usable(saved, kept):
        return
    begin = time.monotonic()
    stage = STAGES[name]
    making = folder / f"making-{name}"
    if stage.parent is None:
        machine = Machine(card, making / "emulator")
        board = Board(machine, making / "known", card.passphrase)
        try:
            machine.start(snapshot=True)
            _prepare(stage, board, saved, kept)
        finally:
            board.close()
            qemu.stop(TextReporter(), machine.directory, power_down_s=0)
    else:
        _ensure(stage.parent, card, kept, folder)
        parent = f"{stage.parent}-{stage_key(stage.parent)}"
        with resumed(parent, card, kept, making) as board:
            _prepare(stage, board, saved, kept)
    for former in sorted(
        kept.glob(f"{name}-*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True
    )[KEPT:]:
        saves.remove(former.stem, kept)
    print(f"stage {name} made in {time.monotonic() - begin:.0f} s", file=sys.stderr)


def _prepare(stage: Stage, board: Board, saved: str, kept: Path) -> None:
    stage.prepare(board)
    board.sh("sync; echo 3 >/proc/sys/vm/drop_caches")
    board.close()
    saves.save(saved, TextReporter(), directory=board.machine.directory, saves=kept)


def _usable(saved: str, kept: Path) -> bool:
    try:
        found = saves.load(saved, kept)
    except InputError:
        return False
    except BootwrightError:
        saves.remove(saved, kept)
        return False
    age = datetime.now(UTC) - datetime.fromisoformat(found.saved_at)
    return age < timedelta(days=OLDEST_DAYS)


def _give_packages(board: Board) -> None:
    """Put the packages of earlier boards where apt looks for what it has already fetched."""
    folder = _packages_dir()
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    packed = subprocess.run(["tar", "-C", folder, "-c", "."], check=True, capture_output=True)
    board.sh("tar -C /var/cache/apt/archives --no-same-owner -x", packed.stdout)


def _take_packages(board: Board) -> None:
    """Keep the packages that the board has fetched, instead of those that were kept before."""
    folder = _packages_dir()
    new = folder.with_name("packages.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    ssh = board.endpoint.ssh
    assert ssh is not None and ssh.identity is not None
    argv = [
        *("ssh", "-q", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={new}.hosts"),
        *("-i", str(ssh.identity), "-p", str(ssh.port), f"root@{ssh.host}"),
        "cd /var/cache/apt/archives && tar -c -- *.deb",
    ]
    packed = subprocess.run(argv, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-C", new, "-x"], input=packed, check=True)
    if folder.is_dir():
        # What only another stage needs stays, unless it is old.
        for path in folder.iterdir():
            if path.stat().st_mtime > time.time() - OLDEST_DAYS * 86400:
                (new / path.name).exists() or path.rename(new / path.name)
        shutil.rmtree(folder)
    new.rename(folder)
