"""The state of a board's encrypted volume: the script that reports it, and its parser. Pure.

Sources: crypttab(5), fstab(5), proc_pid_mountinfo(5), systemctl(1) ``show``, the kernel's
``Documentation/ABI/testing/sysfs-block-dm``, and systemd's "Password Agents" for
``/run/systemd/ask-password``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bootwright.core.errors import FailedError
from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.shell import Value, render
from bootwright.core.systemd import unit_name, unit_properties
from bootwright.remote.sections import SECTIONS, Section
from bootwright.volume.luks_dump import LuksHeader, parse_header

_Number = TypeVar("_Number", int, float)

_YEAR_9999 = 253_402_300_799
"""Seconds from 1970 to the end of the year 9999, the last that Python's dates have."""

_LARGEST = 2**64 - 1
"""The largest number that the kernel and systemd use: 64 bits."""

_MESSAGE = 300
"""Characters of a question that are searched: far more than systemd's questions have."""

CRYPTTAB = "/etc/crypttab"
ASK = "/run/systemd/ask-password"
"""The folder in which a program that asks for a passphrase puts a file about its question."""

VOLUME_FACTS = (SECTIONS, "volume/shell/volume_facts.sh")
"""The files with the shell functions that report on a volume; see :func:`volume_variables`."""


@dataclass(frozen=True)
class VolumeLayout:
    """Where a volume is mounted, and which services use it.

    Attributes:
        volume: its name in crypttab.
        mount: its mount point.
        binds: paths where folders of it are bind-mounted, in that order.
        services: units that keep their data on it, in the order in which they start.
    """

    volume: str
    mount: str
    binds: tuple[str, ...]
    services: tuple[str, ...]

    @property
    def crypt_unit(self) -> str:
        """The unit that opens the volume."""
        return f"systemd-cryptsetup@{unit_name(self.volume)}.service"

    @property
    def mount_units(self) -> tuple[str, ...]:
        """The units that mount it and its folders, in the order in which they start."""
        return tuple(f"{unit_name(path.strip('/'))}.mount" for path in (self.mount, *self.binds))

    @property
    def units(self) -> tuple[str, ...]:
        """All units, in the order in which they start."""
        return (self.crypt_unit, *self.mount_units, *self.services)


@dataclass(frozen=True)
class Crypttab:
    """The volume's entry in crypttab: the device that it names, and the options as written."""

    source: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class OpenVolume:
    """An open volume.

    Attributes:
        number: its device number, ``MAJOR:MINOR``.
        luks_uuid: the UUID of the LUKS header that it was opened with; empty without one.
    """

    number: str
    luks_uuid: str


@dataclass(frozen=True)
class FilesystemUse:
    """Bytes of a file system: all of them, the used ones, and those free for use."""

    size: int
    used: int
    available: int


@dataclass(frozen=True)
class Unit:
    """A unit's load state (``not-found`` if there is none), active state and substate."""

    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"

    @property
    def installed(self) -> bool:
        """Whether it exists and may be started."""
        return self.load == "loaded"


@dataclass(frozen=True)
class BoardQuestion:
    """A question for a passphrase that a program on the board asks.

    Attributes:
        pid: the process that asks.
        socket: the socket that it reads the answer from.
        id: what it asks for; systemd names the device.
        message: the question's text.
        not_after: when the question ends, in seconds of uptime; 0 means never.
    """

    pid: int
    socket: str
    id: str
    message: str
    not_after: float = 0.0


@dataclass(frozen=True)
class VolumeFacts:
    """What a board reports of its encrypted volume.

    Attributes:
        hostname: its own host name.
        kernel: its release, and the machine.
        booted_at: when it started, in seconds since 1970 by its own clock.
        uptime: seconds since then.
        missing: needed tools that it does not have.
        crypttab: the volume's entry; ``None`` without one.
        device: the device that the entry names; ``None`` if it does not exist.
        header: its LUKS2 header; ``None`` without an intact one.
        header_error: the message of cryptsetup if there is none.
        mapping: the open volume; ``None`` while it is locked.
        mounts: by mount point, the number of the mounted device, ``MAJOR:MINOR``.
        use: of the file system at the mount point, which is another one while the volume is not
            mounted.
        units: the units by name.
        questions: the questions for passphrases that are open.
    """

    hostname: str
    kernel: str
    booted_at: int
    uptime: float
    missing: tuple[str, ...]
    crypttab: Crypttab | None
    device: str | None
    header: LuksHeader | None
    header_error: str
    mapping: OpenVolume | None
    mounts: Mapping[str, str]
    use: FilesystemUse | None
    units: Mapping[str, Unit]
    questions: tuple[BoardQuestion, ...] = field(default=())

    @property
    def clock(self) -> float:
        """The board's time when it was asked, in seconds since 1970."""
        return self.booted_at + self.uptime

    def mounted(self, path: str) -> bool:
        """Return whether the volume, or a folder of it, is mounted at ``path``."""
        return self.mapping is not None and self.mounts.get(path) == self.mapping.number

    def unit(self, name: str) -> Unit:
        """Return a unit's state."""
        return self.units.get(name, Unit())

    def question_for(self, volume: str) -> BoardQuestion | None:
        """Return the open question for the volume's passphrase, or ``None``."""
        devices = {self.device} if self.device else set()
        if self.crypttab and self.header and self.crypttab.source.startswith("UUID="):
            devices.add(f"/dev/disk/by-uuid/{self.header.uuid}")
        elif self.crypttab:
            devices.add(self.crypttab.source)
        # systemd's cryptsetup.c names the disk, with or without its label and mount point.
        named = re.compile(rf"\bdisk (?:.* )?\(?{re.escape(volume)}\)?(?: on /|[:!]|$)")
        for question in self.questions:
            if 0 < question.not_after < self.uptime:
                continue
            asks_for = question.id.removeprefix("cryptsetup:")
            if asks_for in devices or named.search(question.message[:_MESSAGE]):
                return question
        return None


def volume_variables(layout: VolumeLayout) -> dict[str, Value]:
    """Return the variables that the scripts in :data:`VOLUME_FACTS` need."""
    return {
        "volume": layout.volume,
        "mount": layout.mount,
        "binds": layout.binds,
        "units": layout.units,
        "crypttab": CRYPTTAB,
        "ask": ASK,
    }


def volume_script(layout: VolumeLayout) -> str:
    """Return the script that reports on a volume; it needs root."""
    return render(*VOLUME_FACTS, "volume/shell/report_volume.sh", **volume_variables(layout))


def volume_facts(sections: Sequence[Section]) -> VolumeFacts:
    """Return the facts in ``sections``; sections about something else are ignored.

    Raises:
        FailedError: they cannot be understood.
    """
    by_name = {section.name: section for section in sections}

    def get(name: str) -> Section:
        return by_name.get(name, Section(name, ()))

    try:
        host, header = get("host"), get("header")
        return VolumeFacts(
            hostname=host.line(0),
            kernel=host.line(1),
            booted_at=_within(int(host.line(2)), _YEAR_9999),
            uptime=_within(float(host.line(3).split()[0]), _YEAR_9999),
            missing=get("missing").lines,
            crypttab=_crypttab(get("crypttab")) if "crypttab" in by_name else None,
            device=get("device").line(0) or None,
            header=parse_header(header.line(0), "\n".join(header.lines[1:]))
            if header.lines
            else None,
            header_error=get("header-error").text.strip(),
            mapping=_mapping(get("mapping")) if "mapping" in by_name else None,
            mounts=dict(_mount(line) for line in get("mounts").lines),
            use=_use(get("use")),
            units=_units(get("units")),
            questions=tuple(
                _question(section) for section in sections if section.name == "question"
            ),
        )
    except PARSE_ERRORS as error:
        raise FailedError(f"the board's answer cannot be understood: {error}") from None


def _within(number: _Number, limit: int) -> _Number:
    if not 0 <= number <= limit:
        raise ValueError(f"{str(number)[:40]} is not between 0 and {limit}")
    return number


def _crypttab(section: Section) -> Crypttab:
    return Crypttab(
        source=section.line(1).replace('"', ""),
        options=tuple(option for option in section.line(3).split(",") if option),
    )


def _mapping(section: Section) -> OpenVolume:
    number, uuid = section.lines
    # CRYPT-LUKS2-<32 hex digits>-<name>; libcryptsetup's dm_prepare_uuid().
    found = re.match(
        r"CRYPT-LUKS[12]-([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})"
        r"([0-9a-f]{4})([0-9a-f]{12})-",
        uuid,
    )
    return OpenVolume(number, "-".join(found.groups()) if found else "")


def _mount(line: str) -> tuple[str, str]:
    """Return the mount point and the device number of a line of /proc/self/mountinfo."""
    fields = line.split(" ")
    return _unescaped(fields[4]), fields[2]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _use(section: Section) -> FilesystemUse | None:
    if len(section.lines) != 2:
        return None
    numbers = section.line(1).split()[-5:-2]
    # df reports a negative number where root has used the blocks that are reserved for it.
    size, used, available = (_within(max(0, int(n)), _LARGEST) * 1024 for n in numbers)
    return FilesystemUse(size, used, available)


def _units(section: Section) -> dict[str, Unit]:
    return {
        values["Id"]: Unit(values["LoadState"], values["ActiveState"], values["SubState"])
        for values in unit_properties(section.lines)
        if "Id" in values
    }


def _question(section: Section) -> BoardQuestion:
    values = dict(line.partition("=")[::2] for line in section.lines)
    return BoardQuestion(
        pid=_within(int(values["PID"]), _LARGEST),
        socket=values["Socket"],
        id=values.get("Id", ""),
        message=values.get("Message", ""),
        not_after=_within(int(values.get("NotAfter", "0")), _LARGEST) / 1_000_000,
    )
