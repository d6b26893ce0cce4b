"""Which blocks of an ext4 image are in use, by ``dumpe2fs``, and so have to be written to a card.

A card that was not discarded contains old data. So the blocks that the file system uses, but that
are holes in the image file (in inode tables, the journal, bitmaps), have to be zeroed on the card.
Free blocks need not be written: the file system never reads them before it writes them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bootwright.core.errors import FailedError
from bootwright.rootfs.byte_ranges import Extent, Span, intersect, merge, subtract, total

_HEADER = re.compile(r"^(Block count|Block size|Free blocks):\s+(\d+)$", re.MULTILINE)
_GROUP_FREE = re.compile(r"^  Free blocks: *(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Ext4Map:
    """The size of an ext4 file system, and the parts of it that are in use.

    Attributes:
        block_size: bytes in a block.
        block_count: blocks in the file system.
        used: the ranges in use, in bytes; they include the boot block.
    """

    block_size: int
    block_count: int
    used: tuple[Span, ...]

    @property
    def size(self) -> int:
        """Bytes of the whole file system."""
        return self.block_size * self.block_count


def command(image: str) -> tuple[str, ...]:
    """Return the command whose output :func:`parse` reads; it only reads ``image``."""
    return ("dumpe2fs", image)


def parse(text: str, image: str) -> Ext4Map:
    """Return the map of ``image`` from the output of ``dumpe2fs``.

    Everything that no group lists as free counts as used.

    Raises:
        FailedError: the output has no sizes, or the free blocks of the groups are not as many
            as the superblock says (the file system was not cleanly unmounted).
    """
    header = {name: int(value) for name, value in _HEADER.findall(text)}
    if header.keys() != {"Block count", "Block size", "Free blocks"}:
        raise FailedError(f"{image}: dumpe2fs shows no ext4 file system; is it an ext4 image?")
    size, count = header["Block size"], header["Block count"]
    free = merge(span for line in _GROUP_FREE.findall(text) for span in _ranges(line, image))
    if total(free) != header["Free blocks"]:
        raise FailedError(
            f"{image}: {total(free)} blocks are free by group, but the superblock says "
            f"{header['Free blocks']}; run 'e2fsck -f {image}' and try again"
        )
    used = subtract([Span(0, count)], free)
    return Ext4Map(size, count, tuple(Span(s.start * size, s.end * size) for s in used))


def extents(ext4: Ext4Map, data: Iterable[Span], source: str, offset: int) -> tuple[Extent, ...]:
    """Return the extents of an ext4 image that have to be written.

    Args:
        ext4: the parts of the file system that are in use.
        data: the byte ranges of the image file that are not holes.
        source: the name of the image as a source.
        offset: first byte of the partition on the card.

    Returns:
        Sorted extents: content for used data, zeros for used holes, nothing for free blocks.
    """
    data = merge(data)
    content = [
        Extent(offset + span.start, span.end - span.start, source, span.start)
        for span in intersect(ext4.used, data)
    ]
    zeros = [
        Extent(offset + span.start, span.end - span.start, None)
        for span in subtract(ext4.used, data)
    ]
    return tuple(sorted([*content, *zeros], key=lambda extent: extent.offset))


def _ranges(line: str, image: str) -> Iterable[Span]:
    """Yield the block ranges of a list such as ``7986-8192, 9000``."""
    for item in filter(None, line.split(", ")):
        first, _, last = item.partition("-")
        try:
            yield Span(int(first), int(last or first) + 1)
        except ValueError:
            raise FailedError(f"{image}: dumpe2fs lists free blocks as {item!r}") from None
