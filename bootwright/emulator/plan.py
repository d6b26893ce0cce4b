"""How QEMU is started for a card image: from facts to an argument list. Pure.

QEMU cannot emulate an Exynos5422. Its ``virt`` machine with a Cortex-A15 has the instruction set
of the board's big cores. Disk, network and serial port are devices of QEMU, so the image's kernel
needs virtio drivers, and its fstab and crypttab must use UUIDs instead of ``mmcblk0``.
"""

from dataclasses import dataclass
from pathlib import Path

from bootwright.core.errors import InputError
from bootwright.core.units import MIB

KERNEL_PATHS = ("/vmlinuz", "/boot/zImage")
"""Paths at which an image may have its kernel; the first that exists is used.

Debian has the first, Arch Linux ARM the second.
"""

INITRD_PATHS = ("/initrd.img", "/boot/initramfs-linux.img")
"""Paths at which an image may have its initial RAM disk; the first that exists is used."""

MAX_CPUS = 8
"""The most CPUs of QEMU's ``virt`` machine with the interrupt controller of a Cortex-A15."""

GUEST_SSH_PORT = 22
"""TCP port of the guest's SSH server, inside the guest."""

HOST_ADDRESS_IN_GUEST = "10.0.2.2"
"""The address at which a guest reaches this machine's loopback interface (QEMU's user network)."""

CONSOLE_LOG = "console.log"
"""The file, in the emulator's directory, with everything that the console printed."""

OVERLAY = "overlay.qcow2"
"""The file, in the emulator's directory, that receives the guest's writes with ``snapshot``."""

STATE_TAG = "bootwright"
"""The name of the saved machine state inside an overlay (QEMU's ``savevm``)."""


@dataclass(frozen=True)
class CardFacts:
    """The facts that were read from a card image.

    Attributes:
        image: the image file.
        root_uuid: UUID of the root file system, partition 1.
        kernel: path of the kernel in it, with links followed; ``None`` if there is none.
        initrd: path of the initial RAM disk in it; ``None`` if there is none.
        modules: names of the drivers built into the kernel or installed as modules,
            with underscores, such as ``virtio_blk``.
        host_keys: the SSH server's public keys, ``type base64`` each.
    """

    image: Path
    root_uuid: str
    kernel: str | None
    initrd: str | None
    modules: frozenset[str]
    host_keys: tuple[str, ...]


@dataclass(frozen=True)
class EmulatorSettings:
    """Settings that come from the board and from the operator.

    Attributes:
        ram: bytes of memory.
        cpus: cores of the board.
        host_cpus: cores of this machine; the guest gets no more, because more only slow it down.
        serial_port: TCP port of the serial console on 127.0.0.1.
        ssh_port: TCP port on 127.0.0.1 that leads to the guest's SSH server.
        directory: for kernel, console log and control socket.
        snapshot: the guest writes to an overlay, which is discarded when the emulator ends.
        resume: continue from the state that is saved in the overlay, instead of booting.
    """

    ram: int
    cpus: int
    host_cpus: int
    serial_port: int
    ssh_port: int
    directory: Path
    snapshot: bool = False
    resume: bool = False


@dataclass(frozen=True)
class EmulatorPlan:
    """One start of QEMU: the files to copy out of the image, and the command to run.

    ``argv`` has to be run in ``directory``: the path of the control socket is relative to it,
    because the address of a Unix socket can have only 107 bytes. The command ends as soon as
    QEMU runs in the background (status 0) or could not start.
    """

    image: Path
    directory: Path
    kernel: str
    initrd: str
    kernel_copy: Path
    initrd_copy: Path
    console_log: Path
    control_socket: Path
    pid_file: Path
    serial_port: int
    ssh_port: int
    overlay: Path | None
    argv: tuple[str, ...]


def emulator_plan(card: CardFacts, settings: EmulatorSettings) -> EmulatorPlan:
    """Return how to boot ``card`` in QEMU.

    Raises:
        InputError: the image has no kernel or no initial RAM disk, or its kernel
            has no virtio drivers.
    """
    if card.kernel is None or card.initrd is None:
        what, paths = (
            ("initial RAM disk", INITRD_PATHS) if card.kernel else ("kernel", KERNEL_PATHS)
        )
        raise InputError(
            f"{card.image}: no {what} in the root file system (searched for {', '.join(paths)})"
        )
    check_virtio(card)
    directory = settings.directory
    return EmulatorPlan(
        image=card.image,
        directory=directory,
        kernel=card.kernel,
        initrd=card.initrd,
        kernel_copy=directory / "vmlinuz",
        initrd_copy=directory / "initrd.img",
        console_log=directory / CONSOLE_LOG,
        control_socket=directory / "qmp.sock",
        pid_file=directory / "qemu.pid",
        serial_port=settings.serial_port,
        ssh_port=settings.ssh_port,
        overlay=_overlay(settings),
        argv=_argv(card, settings),
    )


def check_virtio(card: CardFacts) -> None:
    """Raise unless the kernel has the drivers for QEMU's disk.

    Raises:
        InputError: virtio_blk is missing, or both virtio_mmio and virtio_pci are.
    """
    if "virtio_blk" not in card.modules or not card.modules & {"virtio_mmio", "virtio_pci"}:
        raise InputError(
            f"{card.image}: this kernel has no virtio; it boots on the board, not in the emulator "
            "(needs virtio_blk and virtio_mmio or virtio_pci)"
        )


def kernel_command_line(root_uuid: str) -> str:
    """Return the kernel's command line.

    It switches systemd's status lines on, because ``inv unlock`` reads them.
    """
    return f"root=UUID={root_uuid} rw rootwait console=ttyAMA0 systemd.show_status=1"


def used_cpus(settings: EmulatorSettings) -> int:
    """Return how many cores the guest gets."""
    return max(1, min(settings.cpus, settings.host_cpus, MAX_CPUS))


def _bus(card: CardFacts) -> str:
    # The kernel finds only devices on a transport for which it has a driver.
    return "device" if "virtio_mmio" in card.modules else "pci"


def machine_options(card: CardFacts, ram: int, cpus: int) -> tuple[str, ...]:
    """Return the options of QEMU that have to be equal when saving and when resuming.

    Args:
        card: what was read out of the card image.
        ram: bytes of memory.
        cpus: cores that the guest gets.
    """
    return (
        *("-machine", "virt", "-cpu", "cortex-a15"),
        *("-m", f"{ram // MIB}M", "-smp", str(cpus)),
        *("-nodefaults", "-display", "none"),
        *("-append", kernel_command_line(card.root_uuid)),
        *("-device", f"virtio-blk-{_bus(card)},drive=card"),
        *("-device", f"virtio-net-{_bus(card)},netdev=net"),
        *("-object", "rng-random,filename=/dev/urandom,id=rng"),
        *("-device", f"virtio-rng-{_bus(card)},rng=rng"),
        *("-serial", "chardev:console"),
    )


def _overlay(settings: EmulatorSettings) -> Path | None:
    return settings.directory / OVERLAY if settings.snapshot else None


def _argv(card: CardFacts, settings: EmulatorSettings) -> tuple[str, ...]:
    directory, overlay = settings.directory, _overlay(settings)
    disk, form = (overlay, "qcow2") if overlay else (card.image, "raw")
    append = "on" if settings.resume else "off"
    argv = [
        "qemu-system-arm",
        # QEMU needs the back ends (drive, netdev, chardev) before the devices that use them.
        *("-drive", f"file={_value(disk)},format={form},if=none,id=card"),
        "-netdev",
        f"user,id=net,hostfwd=tcp:127.0.0.1:{settings.ssh_port}-:{GUEST_SSH_PORT}",
        # The log keeps what the guest prints before a client connects.
        "-chardev",
        f"socket,id=console,host=127.0.0.1,port={settings.serial_port},server=on,wait=off,"
        f"logfile={_value(directory / CONSOLE_LOG)},logappend={append}",
        *machine_options(card, settings.ram, used_cpus(settings)),
        *("-kernel", str(directory / "vmlinuz"), "-initrd", str(directory / "initrd.img")),
        *("-daemonize", "-pidfile", str(directory / "qemu.pid")),
        *("-qmp", "unix:qmp.sock,server=on,wait=off"),
    ]
    if settings.resume:
        argv += ["-loadvm", STATE_TAG]
    return tuple(argv)


def _value(path: Path) -> str:
    """Return ``path`` as a value of a QEMU option, where a comma is doubled."""
    return str(path).replace(",", ",,")
