"""What flashing does to the world: devices, files, the tools of a card."""
