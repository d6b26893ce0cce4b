"""Making the sector with the DOS partition table, by running sfdisk on a sparse file."""

import tempfile
from pathlib import Path

from bootwright.card.geometry import Geometry
from bootwright.core.io.process import run
from bootwright.core.units import SECTOR


def make_table(geometry: Geometry, disk_id: str) -> bytes:
    """Return sector 0 (512 bytes) for a card of this geometry.

    Args:
        geometry: the card and its two partitions.
        disk_id: the DOS disk identifier, 8 hexadecimal digits.

    Raises:
        FailedError: sfdisk is missing or failed.
    """
    root, data = geometry.root, geometry.docker_data
    script = (
        f"label: dos\nlabel-id: 0x{disk_id}\nunit: sectors\n"
        f"start={root.sector}, size={root.sectors}, type=83, bootable\n"
        f"start={data.sector}, size={data.sectors}, type=83\n"
    )
    with tempfile.TemporaryDirectory(prefix="bootwright-") as folder:
        image = Path(folder, "table")
        with image.open("xb") as file:
            file.truncate(geometry.card_sectors * SECTOR)
        quiet = ("--quiet", "--no-reread", "--no-tell-kernel")
        run(["sfdisk", *quiet, str(image)], stdin=script.encode())
        with image.open("rb") as file:
            return file.read(SECTOR)
