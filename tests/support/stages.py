"""Boards that tests start from: each is made once, saved, and resumed in a few seconds.

A stage is a running emulated board in a known state. It is made from another one, saved
(``bootwright.emulator.io.saves``) and kept outside the tree, below the cache, so that the next run
of the tests resumes it. Its key is a digest of everything that went into it: the sources that
matter for it, how it is prepared, QEMU's version, and the key of the stage that it is made from.
A stage that is not there, or is older than :data:`OLDEST_DAYS`, is made.

Packages come through :mod:`tests.support.package_cache`, while a stage is made and afterwards.
"""

import contextlib
import fcntl
import functools
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
from typing import BinaryIO

from bootwright.core import paths
from bootwright.core.endpoints import UnlockMode
from bootwright.core.errors import BootwrightError, FailedError, InputError
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.emulator.io import qemu, saves
from bootwright.emulator.plan import HOST_ADDRESS_IN_GUEST
from bootwright.remote.io.clock import set_clock
from bootwright.volume.unlock_result import Result
from tests.support.bench import INV, WORD, copy_checkout
from tests.support.hostboard import OLD_CONTAINER, STOCK_DOCKER, Board, changed_steps
from tests.support.locks import alone
from tests.support.machine import CPUS, Card, Machine
from tests.support.package_cache import package_cache
from tests.support.shipping import Shipping
from tests.support.target_keys import FIRST_BOOT, KDF_MEMORY, ROOTFS_VARIABLE, target_text

OLDEST_DAYS = 30
"""Days after which a stage is made anew: its packages are not those of the mirror any more."""

KEPT = 2
"""Saves of a stage that are kept; a card with all its stages takes about 3 GiB."""

MOST = 12 * 1024**3
"""Bytes that all cards and stages may take; those that were used last stay."""

_CARD_SOURCES = (
    *("board", "rootfs", "templates"),
    *(f"bootwright/{room}" for room in ("core", "rootfs", "volume", "card")),
    # How QEMU is started: a save can be resumed by the same machine only.
    "bootwright/emulator/plan.py",
)
PROVISION_SOURCES = (
    *("profiles", "tests/support/hostboard.py"),
    *(f"bootwright/{room}" for room in ("remote", "hosts", "pki", "logs", "provision")),
)
_SHIPS_SOURCES = ("tests/support/shipping.py", "tests/support/logship.py")

_held: dict[Path, BinaryIO] = {}
"""Locks that this process holds until it ends: the cards that it uses."""


@dataclass(frozen=True)
class Stage:
    """How a stage is made.

    Attributes:
        parent: the stage that it is made from; or how the volume of the card is unlocked that is
            booted.
        prepare: what is done to the board; what else belongs to the stage goes into a folder.
        recipe: text that says what is done; another one makes another stage.
        sources: files and folders of the checkout that matter for it.
    """

    parent: str
    prepare: Callable[[Board, Path], None]
    recipe: str
    sources: tuple[str, ...] = ()


def _unlocked(board: Board, _: Path) -> None:
    assert board.machine.unlock(board.passphrase) is Result.UNLOCKED
    board.machine.wait("login")
    # A clock that jumps by days when the board is resumed would start them all.
    board.sh(_NO_TIMERS)
    # So that tests fetch only what has changed since.
    with package_cache() as port:
        board.sh(f"cat >{APT_PROXY}", apt_proxy(port))
        board.sh(_LISTS)


def _locked(board: Board, _: Path) -> None:
    board.machine.wait("login")
    board.sh(_NO_TIMERS)
    board.sh(_SERVICES, STAND_IN_SERVICE.encode())


def _with_docker(board: Board, _: Path) -> None:
    board.sh(STOCK_DOCKER)


def _provisioned(board: Board, _: Path) -> None:
    done = board.provision()
    assert done.error is None, done.error
    board.sh(OLD_CONTAINER)


def _ships(board: Board, folder: Path) -> None:
    done = Shipping(board, folder).provision()
    assert done.error is None, done.error
    assert "logs" in changed_steps(done)
    assert not any("2.13" in waiver.checks for waiver in done.waived)


_NO_TIMERS = """
timers=$(systemctl list-unit-files --type=timer --no-legend | cut -d ' ' -f 1)
systemctl stop $timers
systemctl mask $timers >/dev/null 2>&1
# A timer that was loaded when it was masked counts as failed.
systemctl reset-failed
"""

_LISTS = "apt-get -qq update >/dev/null 2>&1 || true"

STAND_IN_SERVICE = "[Service]\nExecStart=/bin/sleep infinity\n"
"""A unit in place of Docker's: it runs if it is started and its conditions are met, only then."""

_SERVICES = """
cd /etc/systemd/system
tee docker.service containerd.service >/dev/null
systemctl daemon-reload
"""

STAGES = {
    "locked": Stage("ssh", _locked, _NO_TIMERS + _SERVICES + STAND_IN_SERVICE),
    "unlocked": Stage("serial", _unlocked, _NO_TIMERS + _LISTS),
    "docker": Stage("unlocked", _with_docker, STOCK_DOCKER),
    "provisioned": Stage("docker", _provisioned, OLD_CONTAINER, PROVISION_SOURCES),
    "ships": Stage("provisioned", _ships, "", _SHIPS_SOURCES),
}
"""
- ``locked``: a booted Debian whose volume is to be opened over SSH and was never open; a unit that
  only sleeps stands for Docker.
- ``unlocked``: a booted Debian whose volume is open; with lists of packages, and no Docker.
- ``docker``: with Docker as the distribution installs it, and no container.
- ``provisioned``: made a hardened Docker host by Bootwright, with a container ``old``.
- ``ships``: which also ships its logs; with the certificates of who collects them.
"""


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def sources_digest(sources: tuple[str, ...]) -> str:
    root = paths.checkout()
    found = hashlib.sha256()
    for source in sources:
        at = root / source
        for path in [at] if at.is_file() else sorted(at.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return found.hexdigest()


def stages_dir() -> Path:
    """Return where cards and stages are kept between runs."""
    return paths.cache_dir() / "test-stages"


@functools.cache
def card_key(unlock: UnlockMode) -> str:
    """Return the digest of what goes into a card."""
    tarball = os.environ.get(ROOTFS_VARIABLE, "")
    written = str(Path(tarball).stat().st_mtime_ns) if tarball else ""
    recipe = f"{target_text(unlock)}{FIRST_BOOT}{KDF_MEMORY[unlock]}"
    return digest(sources_digest(_CARD_SOURCES), saves.qemu_version(), recipe, tarball, written)


@functools.cache
def stage_key(name: str) -> str:
    """Return the digest of what goes into a stage."""
    stage = STAGES[name]
    if stage.parent in STAGES:
        before = stage_key(stage.parent)
    else:
        before = digest(card_key(unlock_of(name)), str(CPUS))
    return digest(before, name, stage.recipe, sources_digest(stage.sources))


def unlock_of(name: str) -> UnlockMode:
    """Return how the volume of a stage's card is unlocked."""
    while name in STAGES:
        name = STAGES[name].parent
    return "ssh" if name == "ssh" else "serial"


def the_card(unlock: UnlockMode = "serial") -> Card:
    """Return a card, made by ``inv flash`` if it is not there. Nobody may write to it."""
    folder = stages_dir() / f"card-{card_key(unlock)}"
    card = Card(folder / "card.img", Secret(WORD.encode()), folder / "id")
    with alone(stages_dir() / "lock"):
        if not (folder / "finished").exists():
            _make_card(folder, card, unlock)
        if folder not in _held:
            _held[folder] = (folder / "finished").open("rb")
            fcntl.flock(_held[folder], fcntl.LOCK_SH)
        # By which the last one that was used is found.
        os.utime(folder)
        _prune()
    return card


def _make_card(folder: Path, card: Card, unlock: UnlockMode) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", card.identity],
        check=True,
    )
    passphrase = folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(f"{WORD}\n")
    checkout = folder / "checkout"
    copy_checkout(checkout, target_text(unlock))
    (checkout / "rootfs" / "first-boot.sh").write_text(FIRST_BOOT)
    board = checkout / "board" / "odroid-xu3" / "board.toml"
    text = board.read_text()
    assert KDF_MEMORY["serial"] in text
    board.write_text(text.replace(KDF_MEMORY["serial"], KDF_MEMORY[unlock]))
    argv = [
        *(str(INV), "flash", "--target=odroid", f"--device={card.image}", "--size=5GiB"),
        *(f"--authorized-key={card.identity}.pub", f"--passphrase-file={passphrase}"),
    ]
    if tarball := os.environ.get(ROOTFS_VARIABLE):
        argv.append(f"--rootfs-file={tarball}")
    with package_cache() as port:
        env = os.environ | {"BOOTWRIGHT_BUILD": str(folder / "build"), "PYTHONPATH": str(checkout)}
        if port is not None:
            # apt's, below mmdebstrap.
            env["http_proxy"] = f"http://127.0.0.1:{port}"
        subprocess.run(argv, check=True, cwd=checkout, env=env, stdin=subprocess.DEVNULL)
    (folder / "finished").touch()


def _prune() -> None:
    """Remove cards with their stages, the least recently used first, until the rest is small.

    Those that another run of the tests uses right now stay.
    """
    found = sorted(stages_dir().glob("card-*"), key=lambda path: path.stat().st_mtime_ns)
    taken = {folder: _taken(folder) for folder in found}
    for folder in found:
        if sum(taken.values()) <= MOST:
            return
        with contextlib.suppress(OSError), (folder / "finished").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
            del taken[folder]


def _taken(folder: Path) -> int:
    """Return the bytes of a folder on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


@contextmanager
def board_at(name: str, folder: Path) -> Iterator[Board]:
    """Give a board at a stage, in a directory of the test's own; it is gone afterwards.

    Args:
        name: of :data:`STAGES`.
        folder: for the emulator's files and known host keys.
    """
    card = the_card(unlock_of(name))
    _ensure(name, card, folder)
    with resumed(stage_key(name), card, _kept(name, card), folder) as board:
        yield board


def _kept(name: str, card: Card) -> Path:
    """Return where the saves of a stage are."""
    return card.image.parent / name


@contextmanager
def resumed(saved: str, card: Card, kept: Path, folder: Path) -> Iterator[Board]:
    """Give a board that goes on from a save, with the right time and a source of packages."""
    machine = Machine(card, folder / "emulator")
    board = Board(folder / "known", card.passphrase, machine=machine)
    with package_cache() as port:
        try:
            saves.resume(saved, TextReporter(), directory=machine.directory, saves=kept)
            _set_clock(board)
            board.sh(f"cat >{APT_PROXY}", apt_proxy(port))
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


APT_PROXY = "/etc/apt/apt.conf.d/50test-packages"
"""The file, on a board, that says where packages come from."""


def apt_proxy(port: int | None) -> bytes:
    """Return what is in it: nothing without a cache."""
    if port is None:
        return b""
    return f'Acquire::http::Proxy "http://{HOST_ADDRESS_IN_GUEST}:{port}";\n'.encode()


def stage_files(name: str) -> Path:
    """Return the folder of what else belongs to a stage that was made."""
    return _kept(name, the_card(unlock_of(name))) / f"{stage_key(name)}.files"


def _ensure(name: str, card: Card, folder: Path) -> None:
    """Make a stage, and those that it is made from, unless they are there."""
    kept = _kept(name, card)
    # Two processes of tests can make two stages at once.
    with alone(kept / "making"):
        if not _usable(stage_key(name), kept):
            begin = time.monotonic()
            _make(name, card, folder)
            print(f"stage {name} made in {time.monotonic() - begin:.0f} s", file=sys.stderr)
            former = sorted(kept.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
            for path in former[:-KEPT]:
                saves.remove(path.stem, kept)
                shutil.rmtree(path.with_suffix(".files"), ignore_errors=True)


def _make(name: str, card: Card, folder: Path) -> None:
    stage, kept, making = STAGES[name], _kept(name, card), folder / f"making-{name}"
    if stage.parent in STAGES:
        _ensure(stage.parent, card, folder)
        parent = stage_key(stage.parent)
        with resumed(parent, card, _kept(stage.parent, card), making) as board:
            _prepare(stage, board, stage_key(name), kept)
        return
    machine = Machine(card, making / "emulator")
    board = Board(making / "known", card.passphrase, machine=machine)
    try:
        machine.start(snapshot=True)
        _prepare(stage, board, stage_key(name), kept)
    finally:
        board.close()
        qemu.stop(TextReporter(), machine.directory, power_down_s=0)


def _prepare(stage: Stage, board: Board, saved: str, kept: Path) -> None:
    files = kept / f"{saved}.files"
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(mode=0o700)
    stage.prepare(board, files)
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
    if saves.resume_obstacle(found, saves.qemu_version(), kept):
        return False
    age = datetime.now(UTC) - datetime.fromisoformat(found.saved_at)
    return age < timedelta(days=OLDEST_DAYS)
