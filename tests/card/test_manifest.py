"""The manifest that `inv flash` returns: facts about the card, and no secret."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from bootwright.card.block_device import DeviceFacts, DeviceIdentity, DeviceKind
from bootwright.card.geometry import plan_geometry
from bootwright.card.io.identity import new_identity
from bootwright.card.manifest import FlashResult, dry_run, manifest
from bootwright.card.outcome import CardOutcome, Counters
from bootwright.card.plan import CardPlan
from bootwright.core import paths
from bootwright.core.board import PlacedBlob, load_board
from bootwright.core.config import load_config
from bootwright.core.units import GIB, SECTOR
from bootwright.rootfs.origin import Origin
from bootwright.volume.luks2_header import LuksFacts
from bootwright.volume.luks_plan import plan_luks
from tests.support.bench import STEPS
from tests.support.rootfs_facts import FACTS
from tests.support.schemas import check_document

ROOT = paths.checkout()
BOARD = load_board(ROOT / "board", "odroid-xu3")
TARGET = load_config(ROOT, "odroid", {"rootfs": "debian"}).target
IDENTITY = new_identity("auto", "bench")
SIZE = 8 * GIB
GEOMETRY = plan_geometry(BOARD, TARGET, SIZE)
ORIGIN = Origin("debian", "https://deb.example.net bookworm", "ab" * 32, "signature")
LUKS = LuksFacts(
    uuid=IDENTITY.luks_uuid,
    cipher="xchacha12,aes-adiantum-plain64",
    sector_size=4096,
    payload_offset=16 << 20,
    key_bytes=32,
    pbkdf="argon2id",
    memory_kib=65536,
    iterations=4,
    threads=2,
)
CARD = DeviceFacts(
    "/dev/disk/by-id/mmc-SD",
    "/dev/mmcblk0",
    DeviceKind.BLOCK,
    DeviceIdentity("179:0", SIZE, "SD32G", "0x1234abcd", 7),
)
IMAGE = DeviceFacts("card.img", "/tmp/card.img", DeviceKind.FILE, DeviceIdentity("", 0))
BLOBS = (
    PlacedBlob("bl1", 1, b"x" * 512, "blobs/bl1.bin", known=True),
    PlacedBlob("bl2", 31, b"y" * 100, "blobs/bl2.bin", known=False),
)

COUNTERS = Counters(1_000_000, 1_000_100, 1_000_000)

SECONDS = {**dict.fromkeys(("rootfs", *STEPS), 6.23456), "total": 75.0}


def plan(blobs: tuple[PlacedBlob, ...] = BLOBS, missing: tuple[str, ...] = ()) -> CardPlan:
    luks = plan_luks(BOARD, TARGET, FACTS, IDENTITY.luks_uuid)
    return CardPlan(Path("/cache/root.ext4"), GEOMETRY, IDENTITY, luks, (), blobs, missing)


def finished(
    card: CardPlan | None = None,
    device: DeviceFacts = CARD,
    counters: Counters = COUNTERS,
) -> FlashResult:
    outcome = CardOutcome(counters, LUKS)
    return manifest(TARGET, BOARD, ORIGIN, device, card or plan(), outcome, SECONDS)


def test_a_card_is_described_as_it_was_planned_and_written() -> None:
    document = check_document("flash", finished().document())
    assert (document["target"], document["board"]) == ("odroid", "odroid-xu3")
    assert document["rootfs"] == {
        "kind": "debian",
        "source": "https://deb.example.net bookworm",
        "sha256": "ab" * 32,
        "verified_by": "signature",
    }
    root, data = document["partitions"]
    assert (root["role"], root["filesystem"], root["uuid"], root["luks"]) == (
        *("root", "ext4", IDENTITY.root_uuid, None),
    )
    assert (root["start_sector"], root["sectors"]) == (GEOMETRY.root.sector, GEOMETRY.root.sectors)
    assert (data["start_sector"], data["sectors"]) == (
        *(GEOMETRY.docker_data.sector, GEOMETRY.docker_data.sectors),
    )
    assert (data["role"], data["filesystem"], data["uuid"]) == (
        *("docker-data", "crypto_LUKS", IDENTITY.luks_uuid),
    )
    # As in the header that was written, not as planned.
    assert data["luks"] == {
        "uuid": IDENTITY.luks_uuid,
        "cipher": "xchacha12,aes-adiantum-plain64",
        "sector_size": 4096,
        "pbkdf": "argon2id",
        "memory_kib": 65536,
        "iterations": 4,
        "threads": 2,
    }
    assert document["mac"] == IDENTITY.mac
    assert (document["seconds"]["write"], document["seconds"]["total"]) == (6.23, 75.0)
    assert document["bytes"] == {"mapped": 1_000_000, "written": 1_000_100, "verified": 1_000_000}


def test_the_manifest_has_the_path_of_the_device_and_not_of_a_link() -> None:
    assert check_document("flash", finished().document())["device"] == {
        "path": "/dev/mmcblk0",
        "kind": "block",
        "size_bytes": SIZE,
        "model": "SD32G",
        "serial": "0x1234abcd",
    }


def test_an_image_has_the_size_that_it_gets_and_no_serial_number() -> None:
    # It does not exist yet: its facts have no size.
    assert check_document("flash", finished(device=IMAGE).document())["device"] == {
        "path": "/tmp/card.img",
        "kind": "file",
        "size_bytes": SIZE,
        "model": None,
        "serial": None,
    }


def test_boot_blobs_have_their_digest_and_whether_it_is_known() -> None:
    document = check_document("flash", finished().document())
    blobs = document["boot_blobs"]
    assert [(blob["name"], blob["sector"], blob["bytes"], blob["known"]) for blob in blobs] == [
        ("bl1", 1, 512, True),
        ("bl2", 31, 100, False),
    ]
    assert blobs[0]["sha256"] == sha256(b"x" * 512).hexdigest()
    assert document["bootable_on_board"] is True
    assert document["missing_boot_blobs"] == []


def test_a_card_without_boot_blobs_does_not_boot_on_the_board() -> None:
    result = finished(plan((), ("bl1", "tzsw")))
    document = check_document("flash", result.document())
    assert document["bootable_on_board"] is False
    assert document["missing_boot_blobs"] == ["bl1", "tzsw"]
    assert result.lines()[-1] == (
        "boots in the emulator and NOT on the board: bl1, tzsw missing (--blobs DIR)"
    )
    assert not any("NOT" in line for line in finished().lines())


@pytest.mark.parametrize(
    ("verified", "expected"), [(1_000_000, True), (2_000_000, True), (999_999, False)]
)
def test_a_card_is_verified_only_if_all_of_it_was_read_back(verified: int, expected: bool) -> None:
    counters = Counters(1_000_000, 1_000_000, verified)
    assert finished(counters=counters).document()["verified"] is expected


def test_no_private_key_is_in_the_manifest() -> None:
    result = finished()
    document = check_document("flash", result.document())
    assert document["ssh_host_keys"] == [key.public for key in IDENTITY.host_keys]
    shown = json.dumps(document) + "\n".join(result.lines()) + repr(result)
    assert "PRIVATE" not in shown
    for key in IDENTITY.host_keys:
        lines = key.private.reveal().decode().splitlines()
        # A private key begins with the public one; its last line may contain only padding.
        secret = [line for line in lines[1:-2] if line not in key.public]
        assert secret
        assert not any(line in shown for line in secret)


def test_the_text_for_the_operator_has_device_partitions_and_duration() -> None:
    lines = finished().lines()
    assert (
        lines[0]
        == "/dev/mmcblk0 is finished and verified: 976.6 KiB read back equal, 75.0 s in all"
    )
    assert lines[1].endswith(f"ext4, UUID {IDENTITY.root_uuid}")
    assert lines[2].endswith(f"LUKS2 xchacha12,aes-adiantum-plain64, UUID {IDENTITY.luks_uuid}")
    assert lines[3] == f"MAC      {IDENTITY.mac}"


def test_a_dry_run_shows_each_step_and_what_is_there_now() -> None:
    card = plan(missing=("tzsw",))
    result = dry_run(TARGET, BOARD, CARD, GEOMETRY, card)
    document = check_document("flash-plan", result.document())
    assert document["steps"] == card.describe()
    assert document["device"]["path"] == "/dev/mmcblk0"
    assert any(
        "bl2 (blobs/bl2.bin) has a digest that is not recorded" in text for text in result.warnings
    )
    assert any("tzsw missing" in text for text in result.warnings)
    lines = result.lines()
    assert "model: SD32G" in lines
    assert lines.index("This would be done:") > 0
    assert f"  {card.describe()[0]}" in lines
    assert lines[-1] == "Nothing was changed."


def test_a_dry_run_without_a_root_file_system_says_what_depends_on_it() -> None:
    result = dry_run(TARGET, BOARD, IMAGE, GEOMETRY, None)
    document = check_document("flash-plan", result.document())
    assert "obtain the root file system debian (not in the cache)" in document["steps"][0]
    assert f"write root at sector {GEOMETRY.root.sector}" in document["steps"][1]
    assert document["warnings"] == []
    assert document["device"]["size_bytes"] == GEOMETRY.card_sectors * SECTOR


def test_an_unknown_model_is_null_and_not_an_empty_text() -> None:
    unknown = replace(CARD, identity=replace(CARD.identity, model="", serial=""))
    device = check_document("flash", finished(device=unknown).document())["device"]
    assert (device["model"], device["serial"]) == (None, None)
