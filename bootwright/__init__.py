"""Bootwright: build, verify, unlock and harden embedded Docker hosts."""

__version__ = "0.1.0"
