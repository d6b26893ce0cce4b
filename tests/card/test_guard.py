"""The guard against recorded devices: every JSON file in cases/guard is one case.

A case has the output of lsblk and facts of the kernel (or what the path is), the request, the
expected error (null if the destination is allowed), and parts of its message.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootwright.card.block_device import (
    UNFINISHED_MARK,
    BlockReadings,
    DeviceFacts,
    DeviceIdentity,
    DeviceKind,
    Partition,
    block_facts,
    file_facts,
    is_removable,
    is_unfinished,
    lsblk_identity,
    parse_blkid,
    parse_exclusive_flocks,
)
from bootwright.card.guard import (
    DEFAULT_IMAGE_SIZE,
    GuardRequest,
    card_size,
    check,
    describe,
    refusals,
)
from bootwright.card.io.confirm import confirm_device
from bootwright.core import errors
from bootwright.core.errors import BootwrightError, FailedError, RefusedError
from bootwright.core.units import GIB

CASES = sorted((Path(__file__).parent.parent / "cases" / "guard").glob("*.json"))


def load(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = json.loads(path.read_text())
    return case


def facts_of(case: dict[str, Any]) -> DeviceFacts:
    path = case["path"]
    resolved = case.get("resolved", path)
    facts = _facts_of(case, path, resolved)
    if "backing" in case:
        facts = facts.attached_to(facts_of(case["backing"]))
    return dataclasses.replace(
        facts,
        **{
            name: case[name]
            for name in ("may_write", "read_only", "stored_on", "table", "unfinished")
            if name in case
        },
    )


def _facts_of(case: dict[str, Any], path: str, resolved: str) -> DeviceFacts:
    uses = {node: [use] for node, use in case.get("uses", {}).items()}
    sfdisk = json.dumps(case["sfdisk"]) if "sfdisk" in case else ""
    if "lsblk" in case:
        readings = BlockReadings(
            json.dumps(case["lsblk"]),
            mountinfo="\n".join(case.get("mountinfo", ())),
            sfdisk=sfdisk,
            mmc_type=case.get("mmc_type", ""),
            uses=uses,
        )
        return block_facts(path, resolved, readings)
    kind = DeviceKind[case["kind"]]
    identity = DeviceIdentity(case.get("node", ""), case.get("size", 0))
    if kind is DeviceKind.FILE:
        return file_facts(path, resolved, identity, sfdisk, uses.get(identity.node, []))
    return DeviceFacts(path, resolved, kind, identity)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_each_case_is_allowed_or_refused_as_expected(path: Path) -> None:
    case = load(path)
    facts, request = facts_of(case), GuardRequest(**case.get("request", {}))
    if case["error"] is None:
        assert refusals(facts, request) == []
        check(facts, request)
        return
    with pytest.raises(BootwrightError) as caught:
        check(facts, request)
    assert type(caught.value) is getattr(errors, case["error"])
    assert case["says"], "a case with an error has parts of its message"
    for fragment in case["says"]:
        assert fragment in str(caught.value)


def test_every_line_names_the_destination() -> None:
    case = load(next(path for path in CASES if path.stem == "several-reasons"))
    with pytest.raises(RefusedError) as caught:
        check(facts_of(case), GuardRequest(needed=2 * GIB))
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert all(line.startswith("/dev/sdb: ") for line in lines)


def test_the_question_shows_what_a_loop_device_is_attached_to() -> None:
    facts = facts_of(load(CASES[0].with_name("ok-loop-on-a-file.json")))
    assert describe(facts)[:2] == [
        "/dev/loop3: a block device, 8.0 GiB (8589934592 bytes)",
        "attached to: /home/ann/f.img (a regular file on /dev/sda2)",
    ]
    assert "removable: yes" in describe(facts)


def test_only_exclusive_flocks_count_and_no_process_that_waits() -> None:
    text = (
        "1: FLOCK  ADVISORY  WRITE 4711 00:06:321 0 EOF\n"
        "1: -> FLOCK  ADVISORY  WRITE 4712 00:06:321 0 EOF\n"
        "2: FLOCK  ADVISORY  READ 29040 fe:00:16039972 0 EOF\n"
        "3: OFDLCK ADVISORY  WRITE -1 00:06:322 0 EOF\n"
    )
    assert parse_exclusive_flocks(text) == {"0:6/321": 4711}


def usb_card() -> DeviceFacts:
    return facts_of(load(next(path for path in CASES if path.stem == "ok-usb-card")))


def test_the_facts_of_a_card() -> None:
    facts = usb_card()
    assert facts.identity == DeviceIdentity("8:16", 31914983424, "SD  Transcend", "000000000039")
    assert (facts.device_type, facts.removable, facts.read_only) == ("disk", True, False)
    assert (facts.is_partition, facts.device_type == "loop", facts.unfinished) == (
        False,
        False,
        False,
    )
    assert facts.partitions == (
        Partition(1, "/dev/sdb1", 8192 * 512, 268435456, "vfat", "BOOT"),
        Partition(2, "/dev/sdb2", 532480 * 512, 30 * GIB, "ext4", "rootfs"),
    )


def test_the_table_on_the_disk_is_used_and_not_the_list_of_the_kernel() -> None:
    """The kernel may still know the partitions of an old table, or none."""
    case = load(next(path for path in CASES if path.stem == "ok-usb-card"))
    case["sfdisk"] = {
        "partitiontable": {
            "label": "dos",
            "sectorsize": 512,
            "partitions": [
                {"node": "/dev/sdb1", "start": 8192, "size": 1000, "type": "c"},
                {"node": "/dev/sdb3", "start": 10000, "size": 1000, "type": "83"},
            ],
        }
    }
    facts = facts_of(case)
    assert facts.table == "dos"
    assert facts.partitions == (
        Partition(1, "/dev/sdb1", 8192 * 512, 512000, "vfat", "BOOT"),
        Partition(3, "/dev/sdb3", 10000 * 512, 512000),
    )


def test_describe_shows_what_would_be_lost() -> None:
    assert describe(usb_card()) == [
        "/dev/sdb: a block device, 29.7 GiB (31914983424 bytes)",
        "model: SD  Transcend",
        "serial number: 000000000039",
        "removable: yes",
        "contents: a partition table",
        "  1: 256.0 MiB, vfat labelled 'BOOT'",
        "  2: 30.0 GiB, ext4 labelled 'rootfs'",
    ]


@pytest.mark.parametrize(
    ("stem", "request_", "size"),
    [
        ("ok-usb-card", GuardRequest(), 31914983424),
        ("ok-new-image", GuardRequest(), DEFAULT_IMAGE_SIZE),
        ("ok-new-image", GuardRequest(image_size=GIB), GIB),
        ("image-too-small", GuardRequest(), GIB),
        ("image-too-small", GuardRequest(image_size=2 * GIB), 2 * GIB),
    ],
)
def test_the_size_of_the_card(stem: str, request_: GuardRequest, size: int) -> None:
    facts = facts_of(load(next(path for path in CASES if path.stem == stem)))
    assert card_size(facts, request_) == size


@pytest.mark.parametrize(
    "tran", ["ata", "fc", "iscsi", "mmc", "nvme", "sas", "sata", "scsi", "spi"]
)
def test_a_disk_on_an_internal_bus_is_fixed_even_if_flagged_removable(tran: str) -> None:
    node = {"type": "disk", "rm": True, "hotplug": True, "tran": tran}
    assert not is_removable(node, "")
    assert is_removable({**node, "tran": None}, "")
    assert is_removable({**node, "tran": "usb"}, "")


def test_a_card_in_a_slot_of_the_board_is_removable_and_an_emmc_is_not() -> None:
    node = {"type": "disk", "rm": False, "hotplug": False, "tran": "mmc"}
    assert is_removable(node, "SD")
    flagged = {**node, "rm": True, "hotplug": True}
    assert not is_removable(flagged, "MMC")
    # util-linux before 2.39 names no bus. A boot area has no type.
    assert not is_removable({**flagged, "name": "mmcblk0boot0", "tran": None}, "")


@pytest.mark.parametrize("text", ["", "{}", '{"blockdevices": []}', "lsblk: not a block device"])
def test_a_device_that_lsblk_does_not_show(text: str) -> None:
    with pytest.raises(FailedError, match="/dev/sdb: lsblk does not show it"):
        lsblk_identity(text, "/dev/sdb", "")


def test_the_number_of_the_medium_is_part_of_the_identity() -> None:
    text = json.dumps(load(CASES[0].with_name("ok-usb-card.json"))["lsblk"])
    assert lsblk_identity(text, "/dev/sdb", "12\n").diskseq == 12
    assert lsblk_identity(text, "/dev/sdb", "").diskseq is None


def test_blkid_labels_are_unescaped() -> None:
    text = "DEVNAME=/dev/sdb\nLABEL=my\\ card\nTYPE=ext4\nUSAGE=filesystem\n"
    assert parse_blkid(text) == ("ext4", "my card")
    assert parse_blkid("") == ("", "")


def test_only_the_whole_mark_counts() -> None:
    assert is_unfinished(UNFINISHED_MARK.ljust(512, b"\0"))
    assert not is_unfinished(UNFINISHED_MARK[:20].ljust(512, b"\0"))
    assert not is_unfinished(b"")


def typing(answer: str, shown: list[str]) -> Callable[[str], str]:
    def ask(text: str) -> str:
        shown.append(text)
        return answer

    return ask


@pytest.mark.parametrize("answer", ["sdb", "/dev/sdb", " sdb \n"])
def test_typing_the_name_of_the_device_confirms(answer: str) -> None:
    shown: list[str] = []
    confirm_device(usb_card(), typing(answer, shown), yes=False)
    assert "serial number: 000000000039" in shown[0]
    assert "labelled 'rootfs'" in shown[0]


@pytest.mark.parametrize("answer", ["", "y", "yes", "sda", "sdb1", "/dev/sda", "SDB"])
def test_typing_something_else_refuses(answer: str) -> None:
    with pytest.raises(RefusedError, match="nothing was changed"):
        confirm_device(usb_card(), typing(answer, []), yes=False)


def test_without_a_terminal_the_option_yes_is_required() -> None:
    with pytest.raises(RefusedError, match="if you want that, give --yes"):
        confirm_device(usb_card(), None, yes=False)
    confirm_device(usb_card(), None, yes=True)


def test_overwriting_an_existing_image_is_confirmed_and_a_new_one_is_not() -> None:
    identity = DeviceIdentity("1:2", GIB)
    old = DeviceFacts("card.img", "/home/ann/card.img", DeviceKind.FILE, identity)
    with pytest.raises(RefusedError):
        confirm_device(old, None, yes=False)
    confirm_device(old, typing("card.img", []), yes=False)
    new = DeviceFacts("card.img", "/home/ann/card.img", DeviceKind.NEW, DeviceIdentity("", 0))
    confirm_device(new, None, yes=False)
