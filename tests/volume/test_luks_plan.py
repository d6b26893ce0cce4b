"""The volume is one that the board opens, or it is not made."""

from dataclasses import replace

import pytest

from bootwright.core import paths
from bootwright.core.board import Board, load_board
from bootwright.core.config import Target, load_config
from bootwright.core.errors import RefusedError
from bootwright.rootfs.facts import RootfsFacts, common_modules, parse_modules
from bootwright.volume.luks_plan import ADIANTUM, AES_XTS, plan_luks
from tests.support.rootfs_facts import FACTS

ROOT = paths.checkout()
UUID = "3f7a1c52-0000-4000-8000-000000000001"


@pytest.fixture
def board() -> Board:
    return load_board(ROOT / "board", "odroid-xu3")


@pytest.fixture
def target() -> Target:
    return load_config(ROOT, "odroid").target


def with_modules(*names: str) -> RootfsFacts:
    return replace(FACTS, modules=frozenset(names))


@pytest.mark.parametrize(
    ("cipher", "aes", "modules", "chosen", "bits"),
    [
        ("auto", False, ("dm_crypt", "adiantum"), ADIANTUM, 256),
        ("auto", False, ("dm_crypt",), AES_XTS, 512),
        ("auto", True, ("dm_crypt", "adiantum"), AES_XTS, 512),
        ("aes-xts", False, ("dm_crypt", "adiantum"), AES_XTS, 512),
        ("adiantum", True, ("dm_crypt", "adiantum"), ADIANTUM, 256),
    ],
)
def test_the_cipher_follows_the_cpu_and_the_kernel(
    board: Board,
    target: Target,
    cipher: str,
    aes: bool,
    modules: tuple[str, ...],
    chosen: str,
    bits: int,
) -> None:
    spec = plan_luks(
        board.model_copy(update={"aes_instructions": aes}),
        target.model_copy(update={"cipher": cipher}),
        with_modules(*modules),
        UUID,
    )
    assert (spec.cipher, spec.key_bits, spec.sector_size) == (chosen, bits, 4096)
    assert set(spec.modules) <= set(modules)
    assert spec.kdf == board.kdf


@pytest.mark.parametrize(
    ("rootfs", "cipher", "said"),
    [
        (with_modules("adiantum"), "auto", "dm_crypt"),
        (with_modules("dm_crypt"), "adiantum", "no module adiantum"),
        (replace(FACTS, has_systemd_cryptsetup=False), "auto", "systemd-cryptsetup"),
    ],
)
def test_a_volume_that_the_board_could_not_open_is_refused(
    board: Board, target: Target, rootfs: RootfsFacts, cipher: str, said: str
) -> None:
    with pytest.raises(RefusedError, match=said):
        plan_luks(board, target.model_copy(update={"cipher": cipher}), rootfs, UUID)


def test_a_module_counts_only_when_every_kernel_has_it() -> None:
    one = parse_modules("kernel/fs/ext4/ext4.ko\n", "kernel/crypto/adiantum.ko.xz: kernel/x.ko\n")
    other = parse_modules("", "kernel/drivers/md/dm-crypt.ko.zst:\nkernel/fs/ext4/ext4.ko:\n")
    assert one == {"ext4", "adiantum"}
    assert common_modules([one, other]) == {"ext4"}
    assert common_modules([]) == frozenset()
