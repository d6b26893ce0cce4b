"""``inv status``: what a board says of its encrypted volume, ``bootwright.status/1``."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError
from bootwright.core.io.ask import Ask
from bootwright.core.units import KIB, format_size
from bootwright.remote.io.connection import Remote, UnreachableError
from bootwright.volume.facts import VolumeFacts, VolumeLayout, parse_volume, volume_script
from bootwright.volume.luks_dump import Keyslot
from bootwright.volume.unlock_ssh_plan import check_volume, decide, place_of

SCHEMA = "bootwright.status/1"

LOOK_S = 60.0
"""Seconds for a board to report; an emulated one takes 2."""


def status(
    endpoint: Endpoint, *, ask: Ask | None = None, directory: Path | None = None
) -> dict[str, Any]:
    """Return the state of a target's volume as a JSON document.

    Args:
        endpoint: the target.
        ask: how to ask about a host key that is not known; ``None`` without a terminal.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.

    Raises:
        InputError: the target has no address, or its key file cannot be used.
        RefusedError: the SSH server's host key is not the target's.
        FailedError: no SSH server answers, it refuses us, or the board's answer is no answer.
    """
    place = place_of(endpoint)
    try:
        with Remote(endpoint, ask=ask, directory=directory) as board:
            facts = collect(board, place)
    except UnreachableError as error:
        raise UnreachableError(
            f"{error} A board that waits for its passphrase has no SSH server yet:"
            f" inv unlock {endpoint.name}"
        ) from None
    return document(endpoint.name, facts, place)


def collect(board: Remote, place: VolumeLayout) -> VolumeFacts:
    """Return what the board reports of its volume.

    Raises:
        FailedError: the connection was lost, or the answer cannot be understood.
    """
    script = volume_script(place)
    done = board.run(script, title="looking at the volume", sudo=True, timeout=LOOK_S)
    return parse_volume(done.text)


def document(target: str, facts: VolumeFacts, place: VolumeLayout) -> dict[str, Any]:
    """Return the JSON document; sizes in bytes, except a key slot's ``memory_kib``."""
    header = facts.header
    use = facts.use if facts.mounted(place.mount) else None
    return {
        "schema": SCHEMA,
        "target": target,
        "hostname": facts.hostname,
        "kernel": facts.kernel,
        "booted_at": datetime.fromtimestamp(facts.booted_at, UTC).isoformat(),
        "uptime_seconds": int(facts.uptime),
        "volume": {
            "name": place.volume,
            "state": "open" if facts.mapping else "locked" if header else "unusable",
            "problem": _problem(facts, place),
            "asks_for_passphrase": facts.question_for(place.volume) is not None,
            "device": facts.device,
            "uuid": header.uuid if header else None,
            "cipher": header.cipher if header else None,
            "sector_size": header.sector_size if header else None,
            "keyslots": [asdict(slot) for slot in header.keyslots] if header else [],
        },
        "mount": {
            "path": place.mount,
            "mounted": facts.mounted(place.mount),
            "size": use.size if use else None,
            "used": use.used if use else None,
            "available": use.available if use else None,
        },
        "binds": [{"path": path, "mounted": facts.mounted(path)} for path in place.binds],
        "services": {
            name.removesuffix(".service"): _service(facts, name) for name in place.services
        },
    }


def lines(found: dict[str, Any]) -> list[str]:
    """Return the document as aligned lines for a person."""
    volume, mount = found["volume"], found["mount"]
    since = datetime.fromisoformat(found["booted_at"])
    rows = [
        ("board", f"{found['hostname']}, {found['kernel']}"),
        ("started", f"{since:%Y-%m-%d %H:%M} UTC, {_duration(found['uptime_seconds'])} ago"),
        ("volume", f"{volume['name']}: {_state(volume)}"),
    ]
    if volume["device"]:
        rows.append(("device", volume["device"]))
    if volume["cipher"]:
        rows.append(("cipher", f"{volume['cipher']}, {volume['sector_size']}-byte sectors"))
    for slot in volume["keyslots"]:
        rows.append((f"keyslot {slot['number']}", keyslot_text(Keyslot(**slot))))
    rows.append((mount["path"], _mount(mount)))
    rows += [
        (bind["path"], "mounted from the volume" if bind["mounted"] else "not mounted")
        for bind in found["binds"]
    ]
    rows += _services(found)
    if volume["problem"]:
        rows.append(("problem", volume["problem"]))
    elif volume["state"] == "locked" or not mount["mounted"]:
        rows.append(("next", f"inv unlock {found['target']}"))
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {text}" for name, text in rows]


def keyslot_text(slot: Keyslot) -> str:
    """Return what deriving a slot's key costs, for a person."""
    if slot.memory_kib is None:
        return f"{slot.kdf}, {slot.iterations} iterations"
    threads = "1 thread" if slot.threads == 1 else f"{slot.threads} threads"
    return f"{slot.kdf}, {format_size(slot.memory_kib * KIB)}, {slot.iterations} passes, {threads}"


def _problem(facts: VolumeFacts, place: VolumeLayout) -> str | None:
    try:
        check_volume(facts, place)
        decide(facts, place)
    except FailedError as error:
        return str(error)
    return None


def _services(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, "not installed" if state == "not-found" else state)
        for name, state in found["services"].items()
    ]


def _service(facts: VolumeFacts, name: str) -> str:
    unit = facts.unit(name)
    return unit.active if unit.installed else unit.load


def _state(volume: dict[str, Any]) -> str:
    asks = ", and a program on the board asks for its passphrase"
    return f"{volume['state']}{asks if volume['asks_for_passphrase'] else ''}"


def _mount(mount: dict[str, Any]) -> str:
    if not mount["mounted"]:
        return "not mounted"
    if mount["size"] is None:
        return "mounted"
    return (
        f"{format_size(mount['used'])} of {format_size(mount['size'])} used,"
        f" {format_size(mount['available'])} free"
    )


def _duration(seconds: int) -> str:
    minutes, hours = seconds // 60, seconds // 3600
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
