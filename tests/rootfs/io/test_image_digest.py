"""The digest of an image finds any other byte, and does not depend on where its holes are."""

from pathlib import Path

import pytest

from bootwright.core.units import MIB
from bootwright.rootfs.io.image_digest import image_digest


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    with path.open("wb") as file:
        for at in (100, 3 * MIB - 1, 9 * MIB + 5):
            file.seek(at)
            file.write(b"x\0y")
        file.truncate(20 * MIB + 7)
    return path


def test_holes_and_zeros_are_the_same(image: Path) -> None:
    before = image_digest(image)
    copy = image.with_name("copy")
    copy.write_bytes(image.read_bytes())
    assert image_digest(copy) == before


@pytest.mark.parametrize("at", [0, 101, 3 * MIB, 15 * MIB, 20 * MIB + 6])
def test_any_changed_byte_is_found(image: Path, at: int) -> None:
    before = image_digest(image)
    with image.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 1]))
    assert image_digest(image) != before


def test_another_size_or_another_place_is_found(image: Path) -> None:
    before = image_digest(image)
    data = image.read_bytes()
    image.write_bytes(data[:-1])
    assert image_digest(image) != before
    image.write_bytes(data[MIB:] + data[:MIB])
    assert image_digest(image) != before
