"""What a finished line of the console says about the encrypted volume.

Sources: the status lines of systemd's ``src/core/job.c``, the messages of
``cryptsetup.c``, Debian's cryptsetup-initramfs and initramfs-tools, by version as
listed in the comments below. systemd cuts a status line in the middle to fit 80
columns, and may cut through a colour sequence in doing so.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from bootwright.console.interleaved import Pattern
from bootwright.console.prompt import may_begin
from bootwright.console.screen import Line
from bootwright.core.systemd import unit_name


class UnitState(Enum):
    """What a line reports."""

    OPENED = auto()
    """The volume is open."""
    ALL_OPENED = auto()
    """Every volume that the boot waits for is open; says nothing of one it does not wait for."""
    REFUSED = auto()
    """The passphrase just given was wrong; the line does not say for which volume."""
    FAILED = auto()
    """The volume cannot be opened or mounted in this boot."""
    EMERGENCY = auto()
    """The boot has ended in a maintenance shell."""
    RESTARTED = auto()
    """A new boot begins."""
    GREETED = auto()
    """systemd begins; in a boot that has come further, this is another one."""


@dataclass(frozen=True)
class VolumeUnits:
    """What systemd calls a volume and its mount point in status lines."""

    volume: str
    mount: str

    def setup(self) -> tuple[str, ...]:
        """Return the names of the unit that opens the volume, by version."""
        unit = f"systemd-cryptsetup@{unit_name(self.volume)}.service"
        title = f"Cryptography Setup for {self.volume}."
        return (title, f"{unit} - {title}", f"{unit}.")

    def mounted(self) -> tuple[str, ...]:
        """Return the names of the unit that mounts it."""
        unit = f"{unit_name(self.mount.strip('/'))}.mount"
        return (f"{self.mount}.", f"{unit} - {self.mount}.", f"{unit}.")

    def device(self) -> tuple[str, ...]:
        """Return the names of the open volume's device unit."""
        path = f"/dev/mapper/{self.volume}"
        unit = f"dev-mapper-{unit_name(self.volume)}.device"
        # v208 to v245 name the unit alone and end in a full stop.
        return (f"{path}.", f"{unit} - {path}.", f"{unit}.")


_TARGETS = (
    "Encrypted Volumes.",  # up to v234
    "Local Encrypted Volumes.",
    "cryptsetup.target - Local Encrypted Volumes.",
    "cryptsetup.target.",
)
_STATUS = re.compile(
    r"\b(Finished|Started|Mounted|Reached target|Failed to start|Failed to mount"
    r"|Dependency failed for|Timed out waiting for device) (.+?) *$"
)
_ANYWHERE = (
    (
        UnitState.RESTARTED,
        r"^Linux version \d+\.\S* \(|^U-Boot (?:SPL )?\d{4}\.\d\d"
        r"|\breboot: (?:Restarting system|Power)",
    ),
    (UnitState.GREETED, r"^Welcome to .{1,60}!$"),
    (
        UnitState.EMERGENCY,
        r"Welcome to emergency mode!|You are in emergency mode"
        r"|Give root password for maintenance|Press Enter for maintenance"
        r"|Cannot open access to console, the root account is locked"
        r"|Dropping to a shell!",  # initramfs-tools: no root file system
    ),
    (UnitState.FAILED, r"Kernel panic - not syncing"),
    (
        UnitState.REFUSED,
        r"Invalid passphrase\."  # v239
        r"|Failed to activate with specified passphrase"  # v241+
        r"|Too many attempts(?: to activate)?; giving up"
        r"|cryptsetup failed, bad password or options\?"  # Debian's initramfs
        r"|maximum number of tries exceeded",
    ),
)
_DEPENDENCY = "Dependency failed for"
_ELLIPSIS = re.compile("…|\\.\\.\\.")
_TORN_COLOUR = re.compile(r"\[?[\d;]*m(?= )")


@dataclass(frozen=True)
class UnitFinding:
    """A report, and the words it was found in; nothing else of their line."""

    report: UnitState
    words: str


def evaluate(line: Line, names: VolumeUnits) -> UnitFinding | None:
    """Return what ``line`` reports about the volume, or ``None``."""
    text = line.text.rstrip()
    for report, pattern in _ANYWHERE:
        if found := re.search(pattern, text):
            return UnitFinding(report, found[0])
    if found := re.search(rf"(?<!\S){re.escape(names.volume)}: set up successfully", text):
        return UnitFinding(UnitState.OPENED, found[0])  # Debian's initramfs
    status = _STATUS.search(text)
    if status is None:
        return None
    before = text[: status.start()]
    # To the kernel's log, or to the console by way of it, systemd writes like this.
    if before != "systemd[1]: " and not may_begin(before):
        return None
    report_of_unit = _judge_status(status[1], status[2], names)
    return UnitFinding(report_of_unit, status[0].rstrip()) if report_of_unit else None


def status_patterns(names: VolumeUnits) -> list[tuple[str, Pattern]]:
    """Return the status lines about the volume, to find where other output tears them.

    Each is named by its :class:`UnitState` and its words. Lines that systemd cut in the middle
    are not among them.
    """
    texts: list[tuple[UnitState, str]] = []
    for unit in names.setup():
        texts += [(UnitState.OPENED, f"{verb} {unit}") for verb in ("Finished", "Started")]
        texts.append((UnitState.FAILED, f"Failed to start {unit}"))
    for unit in names.mounted():
        texts.append((UnitState.OPENED, f"Mounted {unit}"))
        texts += [(UnitState.FAILED, f"{verb} {unit}") for verb in ("Failed to mount", _DEPENDENCY)]
    return [(f"{report.name} {text}", (text,)) for report, text in texts]


def _judge_status(verb: str, what: str, names: VolumeUnits) -> UnitState | None:
    if verb in ("Finished", "Started"):  # Started: up to v244
        return UnitState.OPENED if shows(what, names.setup()) else None
    if verb == "Mounted":
        return UnitState.OPENED if shows(what, names.mounted()) else None
    if verb == "Reached target":
        return UnitState.ALL_OPENED if shows(what, _TARGETS) else None
    ours = (*names.setup(), *names.mounted(), *names.device())
    return UnitState.FAILED if shows(what, ours) else None


def shows(shown: str, candidates: tuple[str, ...]) -> bool:
    """Say whether ``shown`` is one of ``candidates``, whole or cut in the middle.

    What is left after the cut must still hold the end of the name, or at least 20
    characters: ``…data.`` would be any volume's.
    """
    if shown in candidates:
        return True
    cut = _ELLIPSIS.search(shown)
    if cut is None:
        return False
    head, rest = shown[: cut.start()], shown[cut.end() :]
    tails = {rest, _TORN_COLOUR.sub("", rest, count=1) if _TORN_COLOUR.match(rest) else rest}
    return any(
        full.startswith(head)
        and full.endswith(tail)
        and len(head) + len(tail) < len(full)
        and len(tail) >= min(20, len(full.rpartition(" ")[2]))
        for full in candidates
        for tail in tails
    )
