"""What a board reports of its encrypted volume, for ``inv status``."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from bootwright.core.errors import FailedError
from bootwright.core.result import to_document
from bootwright.core.units import KIB, format_size
from bootwright.volume.facts import VolumeFacts, VolumeLayout
from bootwright.volume.luks_dump import Keyslot
from bootwright.volume.unlock_ssh_plan import check_volume, decide

SCHEMA = "bootwright.status/1"

VolumeState = Literal["open", "locked", "unusable"]
"""``unusable``: the board's crypttab names a device without a LUKS2 header, or none."""


@dataclass(frozen=True)
class VolumeStatus:
    """The encrypted volume; what is read from its header is ``None`` or empty without one.

    Attributes:
        name: its name in crypttab.
        state: whether it is open.
        problem: why an unlock over SSH would fail; ``None`` if nothing is known.
        asks_for_passphrase: a program on the board asks for its passphrase.
        device: the block device that holds it.
        uuid: of its LUKS2 header.
        cipher: as the header names it.
        sector_size: bytes that are encrypted at a time.
        keyslots: one for each passphrase that opens it.
    """

    name: str
    state: VolumeState
    problem: str | None
    asks_for_passphrase: bool
    device: str | None
    uuid: str | None
    cipher: str | None
    sector_size: int | None
    keyslots: tuple[Keyslot, ...]


@dataclass(frozen=True)
class MountStatus:
    """Where the volume is mounted, and its space in bytes (``None`` when not known)."""

    path: str
    mounted: bool
    size: int | None
    used: int | None
    available: int | None


@dataclass(frozen=True)
class BindStatus:
    """A folder that is mounted from the volume."""

    path: str
    mounted: bool


@dataclass(frozen=True)
class StatusResult:
    """A board, its encrypted volume, and the services that use it.

    Attributes:
        target: the target's name.
        hostname: the board's own host name.
        kernel: its version and machine.
        booted_at: when it started.
        uptime_seconds: since then.
        volume: the encrypted volume.
        mount: where the volume is mounted.
        binds: folders that are mounted from it.
        services: the state of each service that keeps its data there, as systemd names it.
    """

    target: str
    hostname: str
    kernel: str
    booted_at: datetime
    uptime_seconds: int
    volume: VolumeStatus
    mount: MountStatus
    binds: tuple[BindStatus, ...]
    services: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document; sizes in bytes, except a key slot's ``memory_kib``."""
        return to_document(SCHEMA, self)

    def lines_within(self, width: int | None) -> list[str]:  # noqa: ARG002
        """Return the same lines; those that are too long for the terminal are wrapped."""
        return self.lines()

    def lines(self) -> list[str]:
        """Return it as aligned lines for the operator."""
        volume, mount = self.volume, self.mount
        uptime = _duration(self.uptime_seconds)
        rows = [
            ("board", f"{self.hostname}, {self.kernel}"),
            ("started", f"{self.booted_at:%Y-%m-%d %H:%M} UTC, {uptime} ago"),
            ("volume", f"{volume.name}: {_state(volume)}"),
        ]
        if volume.device:
            rows.append(("device", volume.device))
        if volume.cipher:
            rows.append(("cipher", f"{volume.cipher}, {volume.sector_size}-byte sectors"))
        rows += [(f"keyslot {slot.number}", keyslot_text(slot)) for slot in volume.keyslots]
        rows.append((mount.path, _mount(mount)))
        rows += [
            (bind.path, "mounted from the volume" if bind.mounted else "not mounted")
            for bind in self.binds
        ]
        rows += [
            (name, "not installed" if state == "not-found" else state)
            for name, state in self.services.items()
        ]
        if volume.problem:
            rows.append(("problem", volume.problem))
        elif volume.state == "locked" or not mount.mounted:
            rows.append(("next", f"inv unlock {self.target}"))
        width = max(len(name) for name, _ in rows)
        return [f"{name:{width}}  {text}" for name, text in rows]


def status_of(target: str, facts: VolumeFacts, layout: VolumeLayout) -> StatusResult:
    """Return the status of a volume by the facts of its board."""
    header = facts.header
    mounted = facts.mounted(layout.mount)
    use = facts.use if mounted else None
    return StatusResult(
        target=target,
        hostname=facts.hostname,
        kernel=facts.kernel,
        booted_at=datetime.fromtimestamp(facts.booted_at, UTC),
        uptime_seconds=int(facts.uptime),
        volume=VolumeStatus(
            name=layout.volume,
            state="open" if facts.mapping else "locked" if header else "unusable",
            problem=_problem(facts, layout),
            asks_for_passphrase=facts.question_for(layout.volume) is not None,
            device=facts.device,
            uuid=header.uuid if header else None,
            cipher=header.cipher if header else None,
            sector_size=header.sector_size if header else None,
            keyslots=header.keyslots if header else (),
        ),
        mount=MountStatus(
            path=layout.mount,
            mounted=mounted,
            size=use.size if use else None,
            used=use.used if use else None,
            available=use.available if use else None,
        ),
        binds=tuple(BindStatus(path, facts.mounted(path)) for path in layout.binds),
        services={name.removesuffix(".service"): _service(facts, name) for name in layout.services},
    )


def keyslot_text(slot: Keyslot) -> str:
    """Return what deriving a slot's key costs, in words for the operator."""
    if slot.memory_kib is None:
        return f"{slot.kdf}, {slot.iterations} iterations"
    threads = "1 thread" if slot.threads == 1 else f"{slot.threads} threads"
    return f"{slot.kdf}, {format_size(slot.memory_kib * KIB)}, {slot.iterations} passes, {threads}"


def _problem(facts: VolumeFacts, layout: VolumeLayout) -> str | None:
    try:
        check_volume(facts, layout)
        decide(facts, layout)
    except FailedError as error:
        return str(error)
    return None


def _service(facts: VolumeFacts, name: str) -> str:
    unit = facts.unit(name)
    return unit.active if unit.installed else unit.load


def _state(volume: VolumeStatus) -> str:
    asks = ", and a program on the board asks for its passphrase"
    return f"{volume.state}{asks if volume.asks_for_passphrase else ''}"


def _mount(mount: MountStatus) -> str:
    if not mount.mounted:
        return "not mounted"
    if mount.size is None or mount.used is None or mount.available is None:
        return "mounted"
    return (
        f"{format_size(mount.used)} of {format_size(mount.size)} used,"
        f" {format_size(mount.available)} free"
    )


def _duration(seconds: int) -> str:
    minutes, hours = seconds // 60, seconds // 3600
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
