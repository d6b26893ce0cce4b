"""A Docker host that is at hand in seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nativeboard import NativeBoard, need_native_boards, provisioned_board


@pytest.fixture
def native_board(tmp_path: Path) -> Iterator[NativeBoard]:
    """A provisioned board with a container ``old``, in a container of this machine."""
    need_native_boards()
    with provisioned_board(tmp_path / "native") as board:
        yield board
