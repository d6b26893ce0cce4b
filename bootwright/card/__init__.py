"""Flashing: from facts about a device to a verified, bootable card."""
