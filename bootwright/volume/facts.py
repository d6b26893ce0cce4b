"""The state of a board's encrypted volume: one script that reports it, and its parser.

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
from bootwright.core.text import sanitize_line
from bootwright.core.units import SECTOR
from bootwright.remote.sections import SECTIONS, Section, parse_sections
from bootwright.volume.luks_dump import LuksHeader, parse_header

_Number = TypeVar("_Number", int, float)

_YEAR_9999 = 253_402_300_799
"""Seconds from 1970 to the last moment that a date can be written for."""

_LARGEST = 2**64 - 1
"""What the kernel and systemd keep numbers in."""

_MESSAGE = 300
"""Characters of a question that are looked at: far more than systemd's has."""

CRYPTTAB = "/etc/crypttab"
ASK = "/run/systemd/ask-password"
"""Where a program that wants a passphrase says so."""

VOLUME_FACTS = (SECTIONS, "volume/shell/volume_facts.sh")
"""The files with the shell functions that report on a volume; see :func:`volume_variables`."""


@dataclass(frozen=True)
class VolumeLayout:
    """Where a volume is used: its name, its mount point, what is bound onto it, who uses it.

    Attributes:
        volume: its name in crypttab.
        mount: where it is mounted.
        binds: folders that are mounted from it, in order.
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
        """The units that mount it, and the folders from it, in order."""
        return tuple(f"{unit_name(path.strip('/'))}.mount" for path in (self.mount, *self.binds))

    @property
    def units(self) -> tuple[str, ...]:
        """All units, in the order in which they start."""
        return (self.crypt_unit, *self.mount_units, *self.services)


@dataclass(frozen=True)
class Crypttab:
    """The volume's entry: what to open and how. ``options`` are as written."""

    source: str
    key_file: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class OpenVolume:
    """An open volume: its device number, the LUKS header it was opened by, its bytes."""

    number: str
    luks_uuid: str
    size: int


@dataclass(frozen=True)
class Mount:
    """A mount: the number of the device it is of, and what the kernel calls that."""

    number: str
    source: str


@dataclass(frozen=True)
class Use:
    """Bytes of a file system: all, used, and free for use."""

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
        """Whether it is there and may be started."""
        return self.load == "loaded"


@dataclass(frozen=True)
class Waiting:
    """A question for a passphrase on the board.

    ``not_after`` is when it ends, in seconds of uptime; 0 means never.
    """

    pid: int
    socket: str
    id: str
    message: str
    not_after: float = 0.0


@dataclass(frozen=True)
class VolumeFacts:
    """What a board says of its encrypted volume.

    Attributes:
        hostname: its name for itself.
        kernel: release and machine.
        booted_at: when it started, in seconds since 1970 by its own clock.
        uptime: seconds since then.
        missing: tools that it lacks.
        crypttab: the volume's entry; ``None`` without one.
        device: the device behind the entry; ``None`` if it is not there.
        header: its LUKS2 header; ``None`` without a sound one.
        header_error: what cryptsetup said of the header if there is none.
        mapping: the open volume; ``None`` while it is locked.
        mounts: what is mounted, by mount point.
        use: of the mounted file system; of no meaning while it is not mounted.
        units: the units by name.
        questions: the questions for passphrases that wait.
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
    mounts: Mapping[str, Mount]
    use: Use | None
    units: Mapping[str, Unit]
    questions: tuple[Waiting, ...] = field(default=())

    def mounted(self, path: str) -> bool:
        """Tell whether ``path`` is mounted from the volume."""
        mount = self.mounts.get(path)
        return bool(mount and self.mapping and mount.number == self.mapping.number)

    def unit(self, name: str) -> Unit:
        """Return a unit's state."""
        return self.units.get(name, Unit())

    def question_for(self, volume: str) -> Waiting | None:
        """Return the question for the volume's passphrase, if it waits."""
        devices = {self.device} if self.device else set()
        if self.crypttab and self.header and self.crypttab.source.startswith("UUID="):
            devices.add(f"/dev/disk/by-uuid/{self.header.uuid}")
        elif self.crypttab:
            devices.add(self.crypttab.source)
        # As systemd's cryptsetup.c names the disk, with its label and mount point or without.
        named = re.compile(rf"\bdisk (?:.* )?\(?{re.escape(volume)}\)?(?: on /|[:!]|$)")
        for question in self.questions:
            if 0 < question.not_after < self.uptime:
                continue
            asks_for = question.id.removeprefix("cryptsetup:")
            if asks_for in devices or named.search(question.message[:_MESSAGE]):
                return question
        return None


def volume_variables(place: VolumeLayout) -> dict[str, Value]:
    """Return the variables that the scripts in :data:`VOLUME_FACTS` need."""
    return {
        "volume": place.volume,
        "mount": place.mount,
        "binds": place.binds,
        "units": place.units,
        "crypttab": CRYPTTAB,
        "ask": ASK,
    }


def volume_script(place: VolumeLayout) -> str:
    """Return the script that reports on a volume; it needs root."""
    return render(*VOLUME_FACTS, "volume/shell/report_volume.sh", **volume_variables(place))


def parse_volume(text: str) -> VolumeFacts:
    """Return what the script reported.

    Raises:
        FailedError: it was cut short, or it cannot be understood.
    """
    return volume_facts(parse_sections(text))


def volume_facts(sections: Sequence[Section]) -> VolumeFacts:
    """Return the facts in ``sections``, of which others are passed over.

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
        key_file=section.line(2),
        options=tuple(option for option in section.line(3).split(",") if option),
    )


def _mapping(section: Section) -> OpenVolume:
    number, uuid, size = section.lines
    # CRYPT-LUKS2-<32 hex digits>-<name>; libcryptsetup's dm_prepare_uuid().
    found = re.match(
        r"CRYPT-LUKS[12]-([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})"
        r"([0-9a-f]{4})([0-9a-f]{12})-",
        uuid,
    )
    return OpenVolume(
        number, "-".join(found.groups()) if found else "", _within(int(size), _LARGEST) * SECTOR
    )


def _mount(line: str) -> tuple[str, Mount]:
    fields = line.split(" ")
    source = fields[fields.index("-", 6) + 2]
    return _unescaped(fields[4]), Mount(fields[2], sanitize_line(_unescaped(source)))


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _use(section: Section) -> Use | None:
    if len(section.lines) != 2:
        return None
    numbers = section.line(1).split()[-5:-2]
    # Less than nothing is free where the reserve of the administrator is in use.
    size, used, available = (_within(max(0, int(n)), _LARGEST) * 1024 for n in numbers)
    return Use(size, used, available)


def _units(section: Section) -> dict[str, Unit]:
    return {
        values["Id"]: Unit(values["LoadState"], values["ActiveState"], values["SubState"])
        for values in unit_properties(section.lines)
        if "Id" in values
    }


def _question(section: Section) -> Waiting:
    values = dict(line.partition("=")[::2] for line in section.lines)
    return Waiting(
        pid=_within(int(values["PID"]), _LARGEST),
        socket=values["Socket"],
        id=values.get("Id", ""),
        message=values.get("Message", ""),
        not_after=_within(int(values.get("NotAfter", "0")), _LARGEST) / 1_000_000,
    )
