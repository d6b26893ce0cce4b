"""``inv emulate``: boot a card image under QEMU and wait until it asks or is up."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootwright.console.boot import State
from bootwright.core import paths
from bootwright.core.board import load_board
from bootwright.core.errors import InputError
from bootwright.core.report import Reporter
from bootwright.core.units import MIB
from bootwright.emulator.io import qemu
from bootwright.emulator.io.card_image import open_root
from bootwright.emulator.io.wait import wait_until

RECORD = "/etc/bootwright/card.json"
"""Where a card says which target and board it was made for."""

DEFAULT_BOARD = "odroid-xu3"


@dataclass(frozen=True)
class EmulateOptions:
    """What the command line says. ``timeout`` in seconds."""

    device: str
    snapshot: bool = False
    serial_port: int | None = None
    ssh_port: int | None = None
    timeout: float = 600.0


def emulate(options: EmulateOptions, reporter: Reporter) -> dict[str, Any]:
    """Boot the image in the background; return when it asks for a passphrase or a login.

    Raises:
        InputError: the image is none, is unfinished, or its kernel has no virtio.
        RefusedError: an emulator runs already.
        FailedError: QEMU did not start, or the boot failed.
    """
    if not options.device:
        raise InputError("--device is missing: name the card image to boot (x.img)")
    image = Path(options.device)
    record = _record(image)
    board = load_board(paths.checkout() / "board", record.get("board", DEFAULT_BOARD))
    running = qemu.start(
        image,
        ram=board.ram_mib * MIB,
        cpus=board.cores,
        reporter=reporter,
        snapshot=options.snapshot,
        serial_port=options.serial_port,
        ssh_port=options.ssh_port,
    )
    (running.directory / "card.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    with reporter.step("Boot to the first prompt"):
        state = wait_until(running, "ready", timeout=options.timeout, reporter=reporter)
    log = str(running.console_log)
    return {**running.as_json(), "console_log": log, "state": state.value}


def lines(document: dict[str, Any]) -> list[str]:
    """Return the document of :func:`emulate` as lines for the operator."""
    asks = document["state"] == State.PROMPT.value
    following = "inv unlock emulator" if asks else "inv ssh emulator"
    waits = "asks for the passphrase" if asks else "is up"
    return [
        f"the emulator {waits}; go on with: {following}",
        f"serial console  socket://127.0.0.1:{document['serial_port']}"
        f" (log: {paths.display_path(document['console_log'])})",
        f"SSH             127.0.0.1 port {document['ssh_port']}",
        "stop it with    inv emulate --stop",
    ]


def _record(image: Path) -> dict[str, Any]:
    root = open_root(image.absolute())
    if not root.exists(RECORD):
        return {}
    record: dict[str, Any] = json.loads(root.read_file(RECORD))
    return record
