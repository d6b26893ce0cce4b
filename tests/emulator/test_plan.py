"""How QEMU is started."""

from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.core.errors import InputError
from bootwright.core.units import GIB
from bootwright.emulator.plan import CardFacts, EmulatorSettings, emulator_plan
from bootwright.rootfs.facts import parse_modules

CARD = CardFacts(
    image=Path("/images/card.img"),
    root_uuid="376529bf-944e-40f6-af56-e941128aaf4d",
    kernel="/boot/vmlinuz-6.1",
    initrd="/boot/initrd.img-6.1",
    modules=frozenset({"virtio_blk", "virtio_mmio", "virtio_pci"}),
    host_keys=(),
)
SETTINGS = EmulatorSettings(
    ram=2 * GIB,
    cpus=8,
    host_cpus=2,
    serial_port=5001,
    ssh_port=5002,
    directory=Path("/build/emulator"),
)


def option(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(name) + 1]


def test_the_command() -> None:
    plan = emulator_plan(CARD, SETTINGS)
    argv = plan.argv
    assert argv[0] == "qemu-system-arm"
    assert option(argv, "-machine") == "virt"
    assert option(argv, "-cpu") == "cortex-a15"
    assert option(argv, "-m") == "2048M"
    assert option(argv, "-smp") == "2"
    assert option(argv, "-kernel") == str(plan.kernel_copy) == "/build/emulator/vmlinuz"
    assert option(argv, "-initrd") == str(plan.initrd_copy) == "/build/emulator/initrd.img"
    assert option(argv, "-append") == (
        "root=UUID=376529bf-944e-40f6-af56-e941128aaf4d rw rootwait console=ttyAMA0 "
        "systemd.show_status=1"
    )
    assert option(argv, "-drive") == "file=/images/card.img,format=raw,if=none,id=card"
    assert "virtio-blk-device,drive=card" in argv
    assert option(argv, "-netdev") == "user,id=net,hostfwd=tcp:127.0.0.1:5002-:22"
    assert option(argv, "-chardev") == (
        "socket,id=console,host=127.0.0.1,port=5001,server=on,wait=off,"
        "logfile=/build/emulator/console.log,logappend=off"
    )
    assert option(argv, "-qmp") == "unix:qmp.sock,server=on,wait=off"
    # A reboot of the guest must not end the emulator.
    assert "-no-reboot" not in argv
    assert "format=qcow2" not in " ".join(argv)


def test_nothing_listens_beyond_this_machine() -> None:
    words = " ".join(emulator_plan(CARD, SETTINGS).argv)
    assert words.count("127.0.0.1") == 2
    assert "0.0.0.0" not in words


def test_options() -> None:
    plan = emulator_plan(CARD, replace(SETTINGS, snapshot=True, cpus=4, host_cpus=64))
    assert plan.overlay == plan.directory / "overlay.qcow2"
    assert f"file={plan.overlay},format=qcow2,if=none,id=card" in plan.argv
    assert option(plan.argv, "-smp") == "4"
    many = emulator_plan(CARD, replace(SETTINGS, cpus=16, host_cpus=64))
    assert option(many.argv, "-smp") == "8"


def test_commas_in_paths_are_doubled() -> None:
    plan = emulator_plan(
        replace(CARD, image=Path("/a,b/card.img")), replace(SETTINGS, directory=Path("/c,d"))
    )
    assert option(plan.argv, "-drive").startswith("file=/a,,b/card.img,format")
    assert "logfile=/c,,d/console.log," in option(plan.argv, "-chardev")


def test_without_virtio_over_mmio_the_pci_devices_are_used() -> None:
    card = replace(CARD, modules=frozenset({"virtio_blk", "virtio_pci"}))
    assert "virtio-blk-pci,drive=card" in emulator_plan(card, SETTINGS).argv


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (replace(CARD, kernel=None), r"no kernel .*/vmlinuz, /boot/zImage"),
        (replace(CARD, initrd=None), r"no initial RAM disk .*/initrd.img"),
        (replace(CARD, modules=frozenset({"virtio_mmio"})), "this kernel has no virtio"),
        (replace(CARD, modules=frozenset({"virtio_blk"})), "this kernel has no virtio"),
    ],
)
def test_cards_that_cannot_boot_are_refused(card: CardFacts, message: str) -> None:
    with pytest.raises(InputError, match=message):
        emulator_plan(card, SETTINGS)


def test_module_lists() -> None:
    builtin = "kernel/drivers/virtio/virtio_mmio.ko\nkernel/fs/ext4/ext4.ko\n"
    dep = (
        "kernel/drivers/block/virtio_blk.ko.xz: kernel/x/never.ko.xz\n"
        "kernel/drivers/md/dm-crypt.ko:\n\n"
    )
    assert parse_modules(builtin, dep) == {"virtio_mmio", "ext4", "virtio_blk", "dm_crypt"}
