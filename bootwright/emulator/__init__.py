"""Booting a card image under QEMU."""
