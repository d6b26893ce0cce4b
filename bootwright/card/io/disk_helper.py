"""The program that opens a disk as root, for ``inv flash`` of an ordinary user.

:mod:`bootwright.card.io.disk_by_sudo` starts it by sudo. It serves one disk: it checks it as the
guard does, opens it exclusively, checks who uses it, and passes the open descriptor. It is started
with Python's options ``-I -S``, so it and all that it imports need only the standard library.

It trusts nothing that the other side says: a disk is named by its numbers, not by a path, and the
facts by which it is opened are those that this program has read itself. A loop device is refused if
the file under it belongs to another user than the one who called sudo.

Standard input is a socket of the kind SOCK_SEQPACKET. Each message is one JSON object:

==========  ============================================  =======================================
``do``      further keys                                  the answer
==========  ============================================  =======================================
`inspect`   ``node`` (``major:minor``), ``allow_large``,  ``facts`` of the disk
            ``fixed_disk_serial``
`open`                                                    empty, with the open descriptor
`reread`                                                  ``reread``: whether the kernel has read
                                                          the partition table again
==========  ============================================  =======================================

An error is answered with ``error``, the name of its class, and ``message``. The program ends when
the other side closes the socket, so a disk does not stay locked.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[3]))

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
from typing import Any

from bootwright.card.block_device import DeviceFacts, DeviceKind
from bootwright.card.guard import GuardRequest, check
from bootwright.card.io import holders
from bootwright.card.io.inspect import inspect
from bootwright.card.io.medium import BlockDevice
from bootwright.card.io.opening import open_medium
from bootwright.core.errors import BootwrightError, InputError, RefusedError

MESSAGE_BYTES = 1 << 17
"""The longest message, in bytes: less than a socket's buffer (212,992 by default)."""

_IGNORED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP)
"""Signals of the terminal: they are for ``inv flash``, which closes the socket when it ends."""


class ServedDisk:
    """The disk that is served; ``user`` is the number of the user who called sudo."""

    def __init__(self, user: int) -> None:
        self._user = user
        self._facts: DeviceFacts | None = None
        self._opened: BlockDevice | None = None

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], tuple[int, ...]]:
        """Do what a message asks for; return the answer, and the descriptor to pass with it.

        Raises:
            BootwrightError: the disk is refused or failed, or the message is wrong.
        """
        match message.get("do"):
            case "inspect" if self._facts is None:
                return {"facts": dataclasses.asdict(self._inspect(message))}, ()
            case "open" if self._facts is not None and self._opened is None:
                medium = open_medium(self._facts, 0)
                assert isinstance(medium, BlockDevice)
                self._opened = medium
                return {}, (medium.fd,)
            case "reread" if self._opened is not None:
                return {"reread": self._opened.reread_table()}, ()
        raise InputError("disk helper: this message is not expected now")

    def _inspect(self, message: dict[str, Any]) -> DeviceFacts:
        node, serial = message.get("node"), message.get("fixed_disk_serial")
        if not isinstance(node, str) or not re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}", node):
            raise InputError("disk helper: a block device has to be named by its numbers")
        request = GuardRequest(
            allow_large=message.get("allow_large") is True,
            fixed_disk_serial=serial if isinstance(serial, str) else None,
        )
        # Only root makes names in /dev, so nobody else can exchange what this path names.
        path = holders.device_path(node)
        if not path or holders.node_of(path) != node:
            raise InputError(f"{path or node}: there is no such block device in /dev")
        facts = inspect(path)
        check(facts, request)
        _refuse_foreign_file(facts, self._user)
        self._facts = facts
        return facts


def _refuse_foreign_file(facts: DeviceFacts, user: int) -> None:
    """Refuse a loop device on a file that does not belong to the user.

    Who may write disks must not write other users' files by that. With the descriptor of a loop
    device one can also move its offset, and so write to all of the file (LOOP_SET_STATUS64).
    """
    for file in facts.layers[1:]:
        if file.kind is not DeviceKind.FILE:
            continue
        status = holders.status_of(file.resolved)
        if (
            status is None
            or holders.node_of_status(status) != file.identity.node
            or status.st_uid != user
        ):
            raise RefusedError(
                f"{facts.path}: it is attached to {file.resolved}, which is no file of yours; name"
                " another disk, or run 'sudo inv flash'"
            )


def serve(link: socket.socket, user: int) -> None:
    """Answer messages until the other side has closed the socket."""
    disk = ServedDisk(user)
    # The other side can end at any time (Ctrl-C, SIGKILL), also while an answer is on its way.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while data := link.recv(MESSAGE_BYTES):
            try:
                answer, passed = disk.answer(_parse(data))
            except BootwrightError as error:
                answer, passed = {"error": type(error).__name__, "message": str(error)}, ()
            socket.send_fds(link, [json.dumps(answer).encode()], passed)


def _parse(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise InputError("disk helper: a message has to be a JSON object")
    return message


def main() -> None:
    """Serve standard input, with nothing of the caller's environment."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    user = int(os.environ.get("SUDO_UID", os.getuid()))  # sudo itself sets it
    os.environ.clear()
    os.chdir("/")
    try:
        link = socket.socket(fileno=os.dup(0))
        is_pair = (link.family, link.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:
        is_pair = False
    if not is_pair:
        sys.exit("inv flash starts this program; it needs a socket as its standard input")
    with link:
        serve(link, user)


if __name__ == "__main__":
    main()
