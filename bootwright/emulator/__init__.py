"""A card image booted under QEMU."""
