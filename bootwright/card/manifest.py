"""What comes out of a flash: the manifest (``bootwright.flash/1``) and its text."""

from collections.abc import Mapping
from typing import Any

from bootwright.card.block_device import DeviceFacts, DeviceKind
from bootwright.card.geometry import Geometry
from bootwright.card.guard import describe
from bootwright.card.outcome import CardOutcome
from bootwright.card.plan import CardPlan
from bootwright.core.board import Board
from bootwright.core.config import Target
from bootwright.core.paths import display_path
from bootwright.core.units import SECTOR, format_size
from bootwright.rootfs.origin import Origin


def manifest(
    target: Target,
    board: Board,
    origin: Origin,
    device: DeviceFacts,
    plan: CardPlan,
    outcome: CardOutcome,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Return the document that describes a finished, verified card."""
    counters, luks = outcome.counters, outcome.luks
    root, data = plan.geometry.root, plan.geometry.docker_data
    return {
        "schema": "bootwright.flash/1",
        "target": target.name,
        "board": board.name,
        "rootfs": {
            "kind": origin.kind,
            "source": origin.source,
            "sha256": origin.sha256,
            "verified_by": origin.verified_by,
        },
        "device": _device(device, plan.geometry),
        "table": "dos",
        "partitions": [
            {
                "number": 1,
                "start_sector": root.sector,
                "sectors": root.sectors,
                "role": "root",
                "filesystem": "ext4",
                "uuid": plan.identity.root_uuid,
                "luks": None,
            },
            {
                "number": 2,
                "start_sector": data.sector,
                "sectors": data.sectors,
                "role": "docker-data",
                "filesystem": "crypto_LUKS",
                "uuid": luks.uuid,
                "luks": {
                    "uuid": luks.uuid,
                    "cipher": luks.cipher,
                    "sector_size": luks.sector_size,
                    "pbkdf": luks.pbkdf,
                    "memory_kib": luks.memory_kib,
                    "iterations": luks.iterations,
                    "threads": luks.threads,
                },
            },
        ],
        "boot_blobs": [
            {
                "name": blob.name,
                "sector": blob.sector,
                "bytes": len(blob.content),
                "sha256": blob.sha256,
                "known": blob.known,
            }
            for blob in plan.blobs
        ],
        "missing_boot_blobs": list(plan.missing_blobs),
        "bootable_on_board": plan.bootable_on_board,
        "mac": plan.identity.mac,
        "ssh_host_keys": [key.public for key in plan.identity.host_keys],
        "bytes": {
            "mapped": counters.mapped,
            "written": counters.written,
            "verified": counters.verified,
        },
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "verified": counters.verified >= counters.mapped,
    }


def summary(document: Mapping[str, Any]) -> list[str]:
    """Return the manifest as lines for the operator."""
    count, seconds = document["bytes"], document["seconds"]
    volume = document["partitions"][1]
    where = display_path(document["device"]["path"])
    lines = [
        f"{where} is finished and verified: {format_size(count['verified'])} read back equal,"
        f" {seconds['total']:.1f} s in all",
        f"root     {format_size(document['partitions'][0]['sectors'] * SECTOR)} ext4,"
        f" UUID {document['partitions'][0]['uuid']}",
        f"docker   {format_size(volume['sectors'] * SECTOR)} LUKS2"
        f" {volume['luks']['cipher']}, UUID {volume['uuid']}",
        f"MAC      {document['mac']}",
    ]
    if not document["bootable_on_board"]:
        missing = ", ".join(document["missing_boot_blobs"])
        lines.append(f"boots in the emulator and NOT on the board: {missing} missing (--blobs DIR)")
    return lines


def dry_run_document(
    target: Target,
    board: Board,
    device: DeviceFacts,
    geometry: Geometry,
    plan: CardPlan | None,
) -> dict[str, Any]:
    """Return what would be done. Without a ``plan`` the root file system is not there
    yet, and what depends on it is open.
    """
    steps = (
        plan.describe()
        if plan
        else [
            f"obtain the root file system {target.rootfs} (not in the cache); the cipher, the"
            " boot blobs and the files laid depend on it",
            f"write root at sector {geometry.root.sector} ({geometry.root.sectors} sectors) and"
            f" docker-data at {geometry.docker_data.sector}"
            f" ({geometry.docker_data.sectors} sectors), read everything back,"
            " and write the partition table last",
        ]
    )
    return {
        "schema": "bootwright.flash-plan/1",
        "target": target.name,
        "board": board.name,
        "device": _device(device, geometry),
        "contents": describe(device),
        "steps": steps,
        "warnings": plan.warnings() if plan else [],
    }


def plan_lines(document: Mapping[str, Any]) -> list[str]:
    """Return a dry run's document as lines for the operator."""
    warnings = [f"warning: {warning}" for warning in document["warnings"]]
    steps = [f"  {step}" for step in document["steps"]]
    return [*document["contents"], "This would be done:", *steps, *warnings, "Nothing was changed."]


def _device(device: DeviceFacts, geometry: Geometry) -> dict[str, Any]:
    return {
        "path": device.resolved,
        "kind": "block" if device.kind is DeviceKind.BLOCK else "file",
        "size_bytes": geometry.card_sectors * SECTOR,
        "model": device.identity.model or None,
        "serial": device.identity.serial or None,
    }
