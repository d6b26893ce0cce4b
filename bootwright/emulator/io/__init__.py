"""The QEMU process, its monitor, saved emulators, and reading card images."""
