"""How QEMU is started for a card image: pure, from facts to an argument list.

Nothing emulates an Exynos5422. QEMU's ``virt`` machine with a Cortex-A15 has the
instruction set of the board's big cores; disk, network and serial port are
QEMU's own, so the image's kernel needs virtio drivers and its tables must name
UUIDs instead of ``mmcblk0``.
"""

from dataclasses import dataclass
from pathlib import Path

from bootwright.core.errors import InputError
from bootwright.core.units import MIB

KERNEL_PATHS = ("/vmlinuz", "/boot/zImage")
"""Where an image keeps its kernel, in the order tried: Debian, Arch Linux ARM."""

INITRD_PATHS = ("/initrd.img", "/boot/initramfs-linux.img")
"""Where an image keeps its initial RAM disk, in the order tried."""

MAX_CPUS = 8
"""CPUs that QEMU's ``virt`` machine takes with the interrupt controller of a Cortex-A15."""

GUEST_SSH_PORT = 22

HOST_OF_GUESTS = "10.0.2.2"
"""This machine's loopback interface, as a guest reaches it: QEMU's user network."""

CONSOLE_LOG = "console.log"
"""The file, in the emulator's directory, that holds all that the console printed."""

OVERLAY = "overlay.qcow2"
"""The file, in the emulator's directory, that takes the guest's writes with ``snapshot``."""

STATE_TAG = "bootwright"
"""What a state of the machine is called inside an overlay."""


@dataclass(frozen=True)
class CardFacts:
    """What was read out of a card image.

    Attributes:
        image: the image file.
        root_uuid: UUID of the root file system, partition 1.
        kernel: path of the kernel inside it, links followed; ``None`` if there is none.
        initrd: path of the initial RAM disk, likewise.
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
    """What the board and the operator decide.

    Attributes:
        ram: bytes of memory.
        cpus: cores of the board.
        host_cpus: cores of this machine; more guest cores than that only slow it down.
        serial_port: TCP port of the serial console on 127.0.0.1.
        ssh_port: TCP port on 127.0.0.1 that leads to the guest's SSH server.
        directory: where kernel, console log and control socket are.
        snapshot: the guest writes to an overlay, which is discarded when it ends.
        resume: go on from the state that is in the overlay, instead of booting.
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
    """One start of QEMU: the files to copy out of the image, then what to run.

    ``argv`` is to be run in ``directory``: the control socket is named relative to
    it, since the path of a Unix socket may have 107 bytes only. The command ends as
    soon as QEMU has started, with status 0, or has failed to.
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
            f"{card.image}: no {what} in the root file system (looked for {', '.join(paths)})"
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
    """Raise unless the kernel can find QEMU's disk.

    Raises:
        InputError: virtio_blk, or both transports, are missing.
    """
    if "virtio_blk" not in card.modules or not card.modules & {"virtio_mmio", "virtio_pci"}:
        raise InputError(
            f"{card.image}: this kernel has no virtio; it boots on the board, not in the emulator "
            "(needs virtio_blk and virtio_mmio or virtio_pci)"
        )


def kernel_command_line(root_uuid: str) -> str:
    """Return the kernel's arguments.

    The status lines of systemd are what ``inv unlock`` reads, so they are forced on.
    """
    return f"root=UUID={root_uuid} rw rootwait console=ttyAMA0 systemd.show_status=1"


def used_cpus(settings: EmulatorSettings) -> int:
    """Return how many cores the guest gets."""
    return max(1, min(settings.cpus, settings.host_cpus, MAX_CPUS))


def _bus(card: CardFacts) -> str:
    # A transport that the kernel lacks would leave it without a disk.
    return "device" if "virtio_mmio" in card.modules else "pci"


def machine_options(card: CardFacts, ram: int, cpus: int) -> tuple[str, ...]:
    """Return those options of QEMU that have to be the same where a saved state is resumed.

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
        # What the devices of the machine are connected to comes before them.
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
