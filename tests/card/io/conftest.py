"""What is written to cards, and a loop device to write it to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.core.units import MIB
from tests.support.cards import SIZE, STALE
from tests.support.loopdevice import loop


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    contents = {
        "bl1": b"1" * 15360,
        "bl2": b"2" * 14592,  # ends within a sector
        "root": bytes(range(1, 252)) * (6 * MIB // 251),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    """A file full of old bytes, for a loop device."""
    path = tmp_path / "backing.img"
    path.write_bytes(STALE * SIZE)
    return path


@pytest.fixture
def device(backing: Path) -> Iterator[str]:
    with loop(backing) as device:
        yield device
