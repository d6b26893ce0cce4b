"""Saves of an emulator: their description, what prevents resuming, and the options."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.core.errors import InputError, RefusedError
from bootwright.emulator.emulate import check_options
from bootwright.emulator.plan import CardFacts, machine_options
from bootwright.emulator.saves import (
    CurrentState,
    Save,
    check_name,
    obstacle,
    parse_save,
    unused_files,
)

CARD = CardFacts(
    image=Path("/images/card.img"),
    root_uuid="6f4a1c1e-0000-4000-8000-000000000001",
    kernel="/vmlinuz",
    initrd="/initrd.img",
    modules=frozenset({"virtio_blk", "virtio_mmio"}),
    host_keys=(),
)
SAVED = {
    "schema": "bootwright.emulator-save/1",
    "name": "one",
    "saved_at": "2026-11-30T05:38:32+00:00",
    "qemu": "7.2.22",
    "machine": machine_options(CARD, 2**31, 2),
    "ram": 2**31,
    "cpus": 2,
    "image": {
        "path": "/images/card.img",
        "size": 5 * 2**30,
        "mtime_ns": 1,
        "ctime_ns": 2,
        "inode": 3,
        "sha256": "a" * 64,
    },
    "disk": {"name": "one-0a1b2c3d.qcow2", "size": 181600256, "sha256": "b" * 64},
    "console": {"name": "one-0a1b2c3d.log", "size": 20000, "sha256": "c" * 64},
    "record": "{}\n",
}
FILE = Path("/saves/one.json")


def parsed(**different: object) -> Save:
    return parse_save(json.dumps(SAVED | different), FILE)


@pytest.mark.parametrize("name", ["", "-x", ".one", "One", "a/b", "..", "a b", "a" * 65, "one\n"])
def test_wrong_names_for_a_save_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a save"):
        check_name(name)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '"one"', "{}"),
        json.dumps({**SAVED, "schema": "bootwright.emulator-save/2"}),
        json.dumps({**SAVED, "disk": {"name": "../../x.qcow2", "size": 1, "sha256": "b" * 64}}),
        json.dumps({**SAVED, "disk": "one-0a1b2c3d.qcow2"}),
        json.dumps({**SAVED, "ram": "2 GiB"}),
        json.dumps({**SAVED, "more": 1}),
        json.dumps({**SAVED, "image": {**SAVED["image"], "sha256": "short"}}),  # type: ignore[dict-item]
    ],
)
def test_a_damaged_description_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="damaged, or from another version"):
        parse_save(text, FILE)


def test_a_description_under_another_name_is_refused() -> None:
    with pytest.raises(RefusedError, match="this is the save 'one'"):
        parse_save(json.dumps(SAVED), Path("/saves/two.json"))


def test_what_prevents_resuming() -> None:
    save = parsed()
    sizes = {"one-0a1b2c3d.qcow2": 181600256, "one-0a1b2c3d.log": 20000}
    current = CurrentState(save.qemu, sizes, save.image, CARD)
    assert obstacle(save, current) == ""
    changed = save.image.model_copy(update={"sha256": "d" * 64})
    touched = save.image.model_copy(update={"mtime_ns": 77, "inode": 78})
    assert obstacle(save, replace(current, image=touched)) == ""
    for different, why in (
        (replace(current, sizes={"one-0a1b2c3d.log": 20000}), "0a1b2c3d.qcow2 is gone"),
        (replace(current, sizes={"one-0a1b2c3d.qcow2": 181600256}), "0a1b2c3d.log is gone"),
        (
            replace(current, sizes=sizes | {"one-0a1b2c3d.qcow2": 1000}),
            "is damaged (1000 bytes instead of 181600256)",
        ),
        (
            replace(current, sizes=sizes | {"one-0a1b2c3d.log": 20001}),
            "is damaged (20001 bytes instead of 20000)",
        ),
        (replace(current, qemu="8.2.0"), "saved by QEMU 7.2.22, and this machine has QEMU 8.2.0"),
        (replace(current, image=None, card=None), "card image /images/card.img is gone"),
        (replace(current, image=changed, card=None), "card.img has changed since"),
        (replace(current, card=replace(CARD, root_uuid="other")), "QEMU with other options"),
    ):
        assert why in obstacle(save, different)


@pytest.mark.parametrize("key", ["mtime_ns", "ctime_ns", "inode", "size"])
def test_every_number_of_an_image_is_compared(key: str) -> None:
    image = parsed().image
    assert image.same_except_digest(image.model_copy(update={"sha256": "0" * 64}))
    assert not image.same_except_digest(image.model_copy(update={key: 77}))


def test_files_that_no_save_names() -> None:
    save = parsed()
    present = [
        save.disk.name,
        save.console.name,
        "one-ffffffff.qcow2",
        ".one.json.0a.tmp",
        "one-b-1.log",
    ]
    kept = ["one.json", "lock", "notes.txt"]
    assert unused_files(present + kept, [save]) == set(present[2:])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"--save": "one", "--list": True}, "--save and --list cannot be given together"),
        (
            {"--device": "x.img", "--resume": "one"},
            "--device and --resume cannot be given together",
        ),
        ({"--list": True, "--snapshot": True}, "--snapshot cannot be given with --list"),
        ({"--save": "one", "--ssh-port": "22"}, "--ssh-port cannot be given with --save"),
        ({"--resume": "one", "--snapshot": True}, "--snapshot cannot be given with --resume"),
        ({"--device": "x.img", "--identity": "id"}, "it is an option of --resume"),
        ({"--stop": True, "--timeout": "9"}, "it is an option of --device and --resume"),
        ({"--remove": "one", "--serial-port": "9"}, "cannot be given with --remove"),
    ],
)
def test_options_of_different_actions_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_options({"--device": "", "--stop": False} | given)


@pytest.mark.parametrize(
    "given",
    [
        {"--device": "x.img", "--snapshot": True, "--serial-port": "9", "--timeout": "9"},
        {
            "--resume": "one",
            "--identity": "id",
            "--serial-port": "9",
            "--ssh-port": "9",
            "--timeout": "9",
        },
        *({"--save": "one"}, {"--list": True}, {"--remove": "one"}, {"--stop": True}),
        {"--snapshot": True},
    ],
)
def test_options_of_the_same_action_are_accepted(given: dict[str, object]) -> None:
    check_options({"--device": "", "--ssh-port": "", "--list": False} | given)
