"""What a finished line of the console reports about the encrypted volume. Pure.

Sources: the status lines of systemd's ``src/core/job.c``, the messages of
``cryptsetup.c``, Debian's cryptsetup-initramfs and initramfs-tools, by version as listed in the
comments below. systemd shortens a status line to 80 columns by an ellipsis in its middle, which
may also replace a part of a colour sequence.
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
    """Every volume that the boot waits for is open. With `nofail` it does not wait for ours."""
    REFUSED = auto()
    """The last passphrase was wrong; systemd's line does not name the volume."""
    GAVE_UP = auto()
    """The last passphrase was wrong, and no more are taken; systemd's line does not name it."""
    OTHER_VOLUME = auto()
    """This boot opens another volume, too: a line that names no volume may be about that one."""
    FAILED = auto()
    """The volume cannot be opened or mounted in this boot."""
    PANICKED = auto()
    """The kernel has stopped."""
    EMERGENCY = auto()
    """The boot has ended in a maintenance shell."""
    RESTARTED = auto()
    """A new boot begins."""
    GREETED = auto()
    """systemd starts. After a login prompt, this is the beginning of another boot."""


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
        # Before a boot loader's first line there may be noise: the board was just switched on.
        r"^Linux version \d+\.\S* \(|^\ufffd*U-Boot (?:[ST]PL )?(?:\d{4}\.\d\d|1\.\d\.\d)"
        r"|^\ufffd*NOTICE: +BL\d|^\ufffd*barebox \d{4}\.\d\d|^\ufffd*Welcome to GRUB!"
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
    (UnitState.PANICKED, r"Kernel panic - not syncing"),
    (
        UnitState.REFUSED,
        r"Invalid passphrase\."  # v239
        r"|Failed to activate with specified passphrase"  # v241+
        r"|cryptsetup failed, bad password or options\?",  # Debian's initramfs
    ),
    (
        UnitState.GAVE_UP,
        r"Too many attempts(?: to activate)?; giving up|maximum number of tries exceeded",
    ),
)
_NAMED = re.compile(r"cryptsetup(?:: ERROR: (?P<new>[^\s:]+)| \((?P<old>[^\s()]+)\)): $")
"""How a report of Debian's initial RAM disk names the volume; newer and older versions."""

_SETUP = re.compile(
    r"\b(?:Starting|Started|Finished|Failed to start)"
    r" (?:systemd-cryptsetup@(?P<unit>[^\s…]+)\.service\b|systemd-cryptse\S*|Cryptography Setup\S*)"
    r"(?:.* (?P<title>[^\s…]+?)(?:\.{1,3}|…)? *$)?"
)
"""A status line about a unit that opens a volume. Where it is shortened, too, its last word
is the volume's name, if it is whole."""

_DEPENDENCY = "Dependency failed for"
_ELLIPSIS = re.compile("…|\\.\\.\\.")
_REST_OF_COLOUR = re.compile(r"\[?[\d;]*m(?= )")


@dataclass(frozen=True)
class UnitFinding:
    """A report, and the words that it was found in, without the rest of their line.

    ``named``: a wrong passphrase that is reported was our volume's, because the line names it.
    """

    report: UnitState
    words: str
    named: bool = False


def evaluate(line: Line, names: VolumeUnits) -> UnitFinding | None:
    """Return what ``line`` reports about the volume, or ``None``."""
    text = line.text.rstrip()
    for report, pattern in _ANYWHERE:
        if found := re.search(pattern, text):
            name = _named_before(text[: found.start()])
            if name and name != names.volume:
                return UnitFinding(UnitState.OTHER_VOLUME, found[0])
            return UnitFinding(report, found[0], named=bool(name))
    if found := re.search(rf"(?<!\S){re.escape(names.volume)}: set up successfully", text):
        return UnitFinding(UnitState.OPENED, found[0])  # Debian's initramfs
    status = _STATUS.search(text)
    if status is not None and _is_systemds(text[: status.start()]):
        report_of_unit = _evaluate_status(status[1], status[2], names)
        if report_of_unit:
            return UnitFinding(report_of_unit, status[0].rstrip())
    failed = re.search(
        rf"(?<!\S)systemd-cryptsetup@{re.escape(unit_name(names.volume))}\.service:"
        r" (?:Failed with result|Unit entered failed state)",
        text,
    )
    if failed and _is_systemds(text[: failed.start()]):
        return UnitFinding(UnitState.FAILED, failed[0])
    setup = _SETUP.search(text)
    if setup and _is_systemds(text[: setup.start()]) and _is_anothers(setup, names):
        return UnitFinding(UnitState.OTHER_VOLUME, setup[0].rstrip())
    return None


def _is_systemds(before: str) -> bool:
    """Return whether what follows ``before`` on its line is systemd's own output."""
    # systemd puts this before what it writes to the kernel's log, which the console prints.
    return before == "systemd[1]: " or may_begin(before)


def _named_before(before: str) -> str:
    """Return the volume that is named right before a report; empty if none is."""
    found = _NAMED.search(before)
    return (found["new"] or found["old"]) if found else ""


def _is_anothers(setup: "re.Match[str]", names: VolumeUnits) -> bool:
    """Return whether a status line is certainly about a unit that opens another volume."""
    unit, title = setup["unit"], setup["title"]
    if unit and not _ELLIPSIS.search(unit):
        return bool(unit != unit_name(names.volume))
    return bool(title and not _ELLIPSIS.search(title) and title != names.volume)


def status_patterns(names: VolumeUnits) -> list[tuple[str, Pattern]]:
    """Return the status lines about the volume, to find where other output interrupts them.

    Each is named by its :class:`UnitState` and its words. Lines that systemd shortens are not
    among them.
    """
    texts: list[tuple[UnitState, str]] = []
    for unit in names.setup():
        texts += [(UnitState.OPENED, f"{verb} {unit}") for verb in ("Finished", "Started")]
        texts.append((UnitState.FAILED, f"Failed to start {unit}"))
    for unit in names.mounted():
        texts.append((UnitState.OPENED, f"Mounted {unit}"))
        texts += [(UnitState.FAILED, f"{verb} {unit}") for verb in ("Failed to mount", _DEPENDENCY)]
    return [(f"{report.name} {text}", (text,)) for report, text in texts]


def _evaluate_status(verb: str, what: str, names: VolumeUnits) -> UnitState | None:
    if verb in ("Finished", "Started"):  # Started: up to v244
        return UnitState.OPENED if is_one_of(what, names.setup()) else None
    if verb == "Mounted":
        return UnitState.OPENED if is_one_of(what, names.mounted()) else None
    if verb == "Reached target":
        return UnitState.ALL_OPENED if is_one_of(what, _TARGETS) else None
    ours = (*names.setup(), *names.mounted(), *names.device())
    return UnitState.FAILED if is_one_of(what, ours) else None


def is_one_of(printed: str, candidates: tuple[str, ...]) -> bool:
    """Return whether ``printed`` is one of ``candidates``, in full or shortened in its middle.

    What follows the ellipsis must contain the whole last word, or at least 20 characters:
    ``…data.`` could be the end of any volume's name.
    """
    if printed in candidates:
        return True
    ellipsis = _ELLIPSIS.search(printed)
    if ellipsis is None:
        return False
    head, rest = printed[: ellipsis.start()], printed[ellipsis.end() :]
    tails = {rest, _REST_OF_COLOUR.sub("", rest, count=1) if _REST_OF_COLOUR.match(rest) else rest}
    return any(
        full.startswith(head)
        and full.endswith(tail)
        and len(head) + len(tail) < len(full)
        and len(tail) >= min(20, len(full.rpartition(" ")[2]))
        for full in candidates
        for tail in tails
    )
