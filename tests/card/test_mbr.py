"""The partition table is the one that sfdisk would write."""

import subprocess
from pathlib import Path

import pytest

from bootwright.card.geometry import Geometry
from bootwright.card.mbr import make_mbr
from bootwright.core.board import SectorRange


@pytest.mark.integration
@pytest.mark.parametrize(
    ("card", "root", "data"),
    [
        (10 << 21, (8192, 4 << 21), (8192 + (4 << 21), 5 << 21)),
        (1 << 20, (8192, 65536), (73728, (1 << 20) - 73728)),
        (40960, (2048, 2048), (4096, 36864)),
        (1 << 32, (8192, 15 << 21), (8192 + (15 << 21), (1 << 32) - 8192 - (15 << 21) - 2048)),
        (1024 * 255 * 63 + 4096, (2048, 2048), (4096, 1024 * 255 * 63 - 4096)),
    ],
)
def test_it_equals_that_of_sfdisk(
    tmp_path: Path, card: int, root: tuple[int, int], data: tuple[int, int]
) -> None:
    image = tmp_path / "card"
    with image.open("xb") as file:
        file.truncate(card * 512)
    script = (
        "label: dos\nlabel-id: 0x0badcafe\nunit: sectors\n"
        f"start={root[0]}, size={root[1]}, type=83, bootable\n"
        f"start={data[0]}, size={data[1]}, type=83\n"
    )
    subprocess.run(["sfdisk", "--quiet", image], input=script.encode(), check=True)
    with image.open("rb") as file:
        wanted = file.read(512)
    parts = [SectorRange(sector=start, sectors=size) for start, size in (root, data)]
    assert make_mbr(Geometry(card, *parts), "0badcafe") == wanted
