"""A real card image, made by `inv flash`, and boards in the states in which tests start."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hostboard import Board
from tests.support.lockedboard import LockedBoard
from tests.support.locks import alone
from tests.support.machine import Card
from tests.support.newer_qemu import newer_qemu
from tests.support.shipping import Shipping
from tests.support.stages import board_at, stage_files, the_card

TEST_S = 1800
"""Seconds for a test on an emulated board: ten times as long as the longest test takes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set the timeout of tests on a board, without the time of making a stage."""
    for item in items:
        if item.get_closest_marker("emulator"):
            item.add_marker(pytest.mark.timeout(TEST_S, func_only=True))


@pytest.fixture(autouse=True, scope="module")
def own_environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A build folder, for two processes of tests each have a target "emulator"; a fast QEMU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOTWRIGHT_BUILD", str(tmp_path_factory.mktemp("build")))
        if request.node.get_closest_marker("emulator") and (programs := newer_qemu()):
            patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        yield


@pytest.fixture
def card_image() -> Card:
    """The card that all tests share; it is only read."""
    return the_card()


@pytest.fixture
def own_card(card_image: Card, tmp_path: Path) -> Card:
    """A copy of the card, for a test that lets a board write to it."""
    image = tmp_path / "own.img"
    # Its holes stay holes.
    subprocess.run(["cp", "--sparse=always", card_image.image, image], check=True)
    return Card(image, card_image.passphrase, card_image.identity)


@pytest.fixture
def ssh_board(tmp_path: Path) -> Iterator[LockedBoard]:
    """A booted board whose volume was never open, and is opened over SSH."""
    with board_at("locked", tmp_path) as board:
        locked = LockedBoard(board.known, board.passphrase, board.remote(), machine=board.machine)
        try:
            yield locked
        finally:
            locked.close()


@pytest.fixture
def unlocked(tmp_path: Path) -> Iterator[Board]:
    """A booted board whose volume is open; without Docker."""
    with board_at("unlocked", tmp_path) as board:
        yield board


@pytest.fixture
def with_docker(tmp_path: Path) -> Iterator[Board]:
    """A board with Docker as the distribution installs it."""
    with board_at("docker", tmp_path) as board:
        yield board


@pytest.fixture
def provisioned(tmp_path: Path) -> Iterator[Board]:
    """A board that Bootwright made a hardened Docker host, with a container ``old``."""
    with board_at("provisioned", tmp_path) as board:
        yield board


@pytest.fixture
def board(provisioned: Board) -> Board:
    """The board of most tests: a provisioned one."""
    return provisioned


@pytest.fixture
def shipping(tmp_path: Path) -> Iterator[Shipping]:
    """A board that ships its logs, and its operator's side with a store of logs of its own."""
    with board_at("ships", tmp_path) as board:
        folder = tmp_path / "operator"
        shutil.copytree(stage_files("ships"), folder, symlinks=True)
        # The board delivers to the same port in all tests.
        with alone(stage_files("ships") / "collecting"):
            yield Shipping(board, folder)
