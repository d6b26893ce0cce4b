"""The QEMU process, its monitor, and card images for it."""
