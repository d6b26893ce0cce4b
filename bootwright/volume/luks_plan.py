"""How the docker-data volume is encrypted, so that its board can open it fast. Pure."""

from dataclasses import dataclass

from bootwright.core.board import Board, Kdf
from bootwright.core.board_names import VOLUME
from bootwright.core.config import Target
from bootwright.core.errors import RefusedError
from bootwright.rootfs.facts import RootfsFacts

ADIANTUM = "xchacha12,aes-adiantum-plain64"
AES_XTS = "aes-xts-plain64"

SECTOR_SIZE = 4096
"""Bytes; Adiantum and XTS both run about a third faster than on 512-byte sectors."""


@dataclass(frozen=True)
class LuksSpec:
    """A LUKS2 volume to make.

    Attributes:
        uuid: of its header.
        cipher: of its data, on the board.
        key_bits: the length of the volume key.
        kdf: the cost of deriving a key from the passphrase.
        modules: kernel modules that the board needs to open it.
        sector_size: bytes that are encrypted at a time.
        format_cipher: the cipher that cryptsetup formats it with on the host; every host has it.
            The header then gets the name of ``cipher``.
    """

    uuid: str
    cipher: str
    key_bits: int
    kdf: Kdf
    modules: tuple[str, ...]
    sector_size: int = SECTOR_SIZE
    format_cipher: str = AES_XTS


def plan_luks(board: Board, target: Target, rootfs: RootfsFacts, uuid: str) -> LuksSpec:
    """Return the volume that the board's own kernel can open fastest.

    Raises:
        RefusedError: the root file system could not open it at boot.
    """
    missing = [
        what
        for what, there in (
            ("the kernel module dm_crypt", rootfs.has_module("dm_crypt")),
            ("systemd-cryptsetup", rootfs.has_systemd_cryptsetup),
        )
        if not there
    ]
    if missing:
        raise RefusedError(
            f"the root file system does not have {' and '.join(missing)}: the board could not open"
            f" {VOLUME}; use another root file system"
        )
    has_adiantum = rootfs.has_module("adiantum")
    if target.cipher == "adiantum" and not has_adiantum:
        raise RefusedError(
            "the target asks for cipher adiantum, but the root file system's kernel has no"
            ' module adiantum; use cipher = "auto" or a newer kernel (5.0 or later)'
        )
    wants_adiantum = target.cipher == "adiantum" or (
        target.cipher == "auto" and not board.aes_instructions and has_adiantum
    )
    if wants_adiantum:
        # Adiantum takes a key of 32 bytes, from which it derives those of its parts.
        modules = ("dm_crypt", "adiantum", "chacha_generic", "nhpoly1305")
        return LuksSpec(uuid, ADIANTUM, 256, board.kdf, _present(modules, rootfs))
    return LuksSpec(uuid, AES_XTS, 512, board.kdf, _present(("dm_crypt", "xts"), rootfs))


def _present(modules: tuple[str, ...], rootfs: RootfsFacts) -> tuple[str, ...]:
    return tuple(name for name in modules if rootfs.has_module(name))
