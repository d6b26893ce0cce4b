"""A model of the ODROID-XU3 in which its U-Boot runs, byte for byte, from a card's image.

It begins where the vendor's signed stages end: U-Boot was loaded from the card to
:data:`ENTRY`. It ends where U-Boot jumps to the kernel. Unicorn runs the instructions. The hardware
is modelled as far as U-Boot needs it: RAM, a console, a timer, the ADC whose value tells which
board it is, and the controllers of the eMMC (there is none) and of the SD card. All other registers
read as they were written.

Sources: U-Boot's arch/arm/mach-exynos/include/mach/cpu.h for the addresses of the Exynos5422,
drivers/mmc/dw_mmc.c and include/dwmmc.h for the controllers; SD Physical Layer Simplified
Specification for the commands of the card.
"""

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from unicorn import UC_ARCH_ARM, UC_HOOK_BLOCK, UC_MODE_ARM, Uc
from unicorn.arm_const import (
    UC_ARM_REG_R2,
    UC_CPU_ARM_CORTEX_A15,
)

from tests.support.fdt import properties

ENTRY = 0x43E0_0000
"""The address to which BL2 loads U-Boot, and at which it starts it."""

_U_BOOT_SECTOR, _U_BOOT_SECTORS = 63, 2048
_RAM, _RAM_BYTES = 0x4000_0000, 2 << 30
_IRAM, _IRAM_BYTES = 0x0200_0000, 1 << 20
_REGISTERS, _REGISTERS_BYTES = 0x1000_0000, 0x1000_0000

ADC_VALUES = {"odroid-xu3": 5, "odroid-xu3-lite": 165, "odroid-xu4": 375, "odroid-hc1": 1309}
"""What the ADC reads on each board; U-Boot takes ``fdtfile`` from it (board/samsung/common)."""

_PLLS = (
    *(0x1001_0100, 0x1001_4100, 0x1002_0120, 0x1002_0128, 0x1002_0130, 0x1002_0140),
    *(0x1002_0150, 0x1002_0160, 0x1002_0170, 0x1002_0180, 0x1002_8100, 0x1003_0110),
)
_RESET = 0x1004_0400
_UART_STATUS, _UART_SEND = 0x12C2_0010, 0x12C2_0020
_TIMER = 0x12DD_0040
_TIMER_STEP = 2000
"""By how much the timer falls at each read, so that waiting ends soon."""
_EMMC, _SD = 0x1220_0000, 0x1222_0000
_ZIMAGE_MAGIC = 0x016F_2818
_LIMIT_US = 300_000_000
"""After this time, a hundred times what a boot needs, U-Boot is stopped wherever it is."""


@dataclass
class Boot:
    """What a boot did.

    Attributes:
        console: what it wrote to the serial console.
        resets: how often U-Boot reset the board.
        started: whether it started a kernel.
        device_tree: what the kernel gets: the properties by their paths.
        initrd: the initial RAM disk that the kernel gets.
    """

    console: str = ""
    resets: int = 0
    started: bool = False
    device_tree: dict[str, bytes] = field(default_factory=dict)
    initrd: bytes = b""


def boot(card: Path, *, board: str = "odroid-xu3", most_resets: int = 3) -> Boot:
    """Return what the U-Boot at sector 63 of ``card`` does until it starts a kernel.

    Args:
        card: the image, which is not changed.
        board: a key of :data:`ADC_VALUES`.
        most_resets: after this number of resets the boot is given up.
    """
    result = Boot()
    with card.open("rb") as file:
        while True:
            machine = _Machine(file, ADC_VALUES[board])
            machine.run()
            result.console += machine.console.decode("utf-8", "replace")
            if not machine.reset:
                break
            result.resets += 1
            if result.resets == most_resets:
                return result
        if machine.started:
            result.started = True
            _read_arguments(machine.uc, result)
    return result


def _read_arguments(uc: Uc, result: Boot) -> None:
    at = uc.reg_read(UC_ARM_REG_R2)  # The address of the device tree.
    size = struct.unpack(">I", uc.mem_read(at + 4, 4))[0]
    result.device_tree = properties(bytes(uc.mem_read(at, size)))
    start, end = (
        int.from_bytes(result.device_tree.get(f"/chosen/linux,initrd-{name}", b""), "big")
        for name in ("start", "end")
    )
    result.initrd = bytes(uc.mem_read(start, end - start)) if start else b""


class _Machine:
    """The board from a reset until the next one, or until the kernel is started."""

    def __init__(self, card: BinaryIO, adc: int) -> None:
        self.console = bytearray()
        self.started = self.reset = False
        self._timer = 0xFFFF_FFFF
        self._registers = {
            0x1000_0000: 0xE542_2001,  # which processor it is
            0x1004_0000: 4,  # started from the SD card
            _UART_STATUS: 6,  # may send
            0x12D1_0008: 4,  # ADC: value is there
            0x12D1_000C: adc,
            0x12D1_0020: 0x8000_0008,  # version of the ADC
            **dict.fromkeys(_PLLS, 0xA0C8_0301),
        }
        self.uc = Uc(UC_ARCH_ARM, UC_MODE_ARM, UC_CPU_ARM_CORTEX_A15)
        self.uc.mem_map(_RAM, _RAM_BYTES)
        self.uc.mem_map(_IRAM, _IRAM_BYTES)
        self.uc.mmio_map(_REGISTERS, _REGISTERS_BYTES, self._read, None, self._write, None)
        self._controllers = {
            _EMMC: _Controller(self.uc, None),
            _SD: _Controller(self.uc, card),
        }
        card.seek(_U_BOOT_SECTOR * 512)
        self.uc.mem_write(ENTRY, card.read(_U_BOOT_SECTORS * 512))

    def run(self) -> None:
        self.uc.emu_start(ENTRY, 0, timeout=_LIMIT_US)

    def _read(self, uc: Uc, offset: int, size: int, data: object) -> int:
        address = _REGISTERS + offset
        controller = self._controllers.get(address & ~0xFFF)
        if controller:
            return controller.read(address & 0xFFF)
        if address == _TIMER:
            self._timer = (self._timer - _TIMER_STEP) & 0xFFFF_FFFF
            return self._timer
        return self._registers.get(address, 0) & ((1 << 8 * size) - 1)

    def _write(self, uc: Uc, offset: int, size: int, value: int, data: object) -> None:
        address = _REGISTERS + offset
        controller = self._controllers.get(address & ~0xFFF)
        if controller:
            controller.write(address & 0xFFF, value)
        elif address == _UART_SEND:
            self.console.append(value & 0xFF)
            if self.console.endswith(b"Starting kernel"):
                # From now on each new block of instructions is reported.
                uc.hook_add(UC_HOOK_BLOCK, self._block)
            elif re.fullmatch(rb"[\w-]+ # ", self.console[-40:].rpartition(b"\n")[2]):
                # U-Boot's prompt: it waits for commands that never come.
                uc.emu_stop()
        elif address == _RESET and value & 1:
            self.reset = True
            uc.emu_stop()
        elif address not in (_UART_STATUS, *_PLLS) and address & ~0xFFF != 0x12D1_0000:
            self._registers[address] = value

    def _block(self, uc: Uc, address: int, size: int, data: object) -> None:
        if address >= _RAM and uc.mem_read(address + 0x24, 4) == struct.pack("<I", _ZIMAGE_MAGIC):
            self.started = True
            uc.emu_stop()


class _Controller:
    """A DesignWare mobile storage host with its own DMA, and the SD card in it, if any."""

    def __init__(self, uc: Uc, card: BinaryIO | None) -> None:
        self._uc = uc
        self._card = card
        self._sectors = card.seek(0, 2) // 512 if card else 0
        self._registers = {0x6C: 0x5342_250A}  # VERID
        self._status = 0
        self._dma_status = 0
        self._application = False

    def read(self, offset: int) -> int:
        if offset in (0x00, 0x80):  # CTRL, BMOD: resets are done at once
            return self._registers.get(offset, 0) & (~7 if offset == 0 else ~1)
        if offset == 0x2C:  # CMD: is taken at once
            return self._registers.get(offset, 0) & 0x7FFF_FFFF
        if offset == 0x44:  # RINTSTS
            return self._status
        if offset == 0x48:  # STATUS: FIFO is empty, not busy
            return 4
        if offset == 0x50:  # CDETECT
            return 0 if self._card else 1
        if offset == 0x8C:  # IDSTS
            return self._dma_status
        return self._registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x44:
            self._status &= ~value
        elif offset == 0x8C:
            self._dma_status &= ~value
        elif offset not in (0x30, 0x34, 0x38, 0x3C):
            self._registers[offset] = value
        if offset == 0x2C and value >> 31 and not value >> 21 & 1:
            self._command(value & 0x3F, self._registers.get(0x28, 0))

    def _command(self, number: int, argument: int) -> None:
        application, self._application = self._application, number == 55
        answer = self._answer(number, argument, application)
        if answer is None:
            self._status |= 0x104  # done, no response
            return
        response, data = answer
        for index in range(4):
            self._registers[0x30 + 4 * index] = response >> 32 * index & 0xFFFF_FFFF
        self._status |= 4
        if data is not None:
            self._transfer(data)
            self._status |= 8
            self._dma_status |= 2

    def _answer(
        self, number: int, argument: int, application: bool
    ) -> tuple[int, bytes | None] | None:
        """Return response and data of a command; ``None`` if it is not answered."""
        if self._card is None:
            return None
        ready = 0x900
        length = self._registers.get(0x20, 0)  # BYTCNT
        if application:
            return {
                6: (ready, None),
                13: (ready, bytes(64)),
                41: (0xC0FF_8000, None),  # powered up, addressed by sectors
                51: (ready, bytes.fromhex("0205800000000000")),  # version 2, 1 and 4 bits wide
            }.get(number)
        if number in (17, 18):
            self._card.seek(argument * 512)
            return ready, self._card.read(length).ljust(length, b"\0")
        # The capacity in units of 512 KiB, less one (CSD version 2).
        capacity = 1 << 126 | 0x5A << 96 | 9 << 80 | (self._sectors // 1024 - 1) << 48
        return {
            0: (0, None),
            2: (0x1234 << 64, None),
            3: (0x1234_0000, None),
            6: (ready, bytes(64)),
            7: (ready, None),
            8: (argument & 0xFFF, None),
            9: (capacity, None),
            12: (ready, None),
            13: (ready, None),
            16: (ready, None),
            55: (ready | 0x20, None),
        }.get(number)

    def _transfer(self, data: bytes) -> None:
        """Write data where the list of descriptors says (four words each)."""
        descriptor, rest = self._registers.get(0x88, 0), data
        while rest:
            words = struct.unpack("<4I", self._uc.mem_read(descriptor, 16))
            flags, count, address, following = words
            assert flags >> 31, "a descriptor that the controller does not own"
            part = rest[: count & 0x1FFF]
            self._uc.mem_write(address, part)
            rest = rest[len(part) :]
            descriptor = following
            assert part, "a descriptor of no bytes"
