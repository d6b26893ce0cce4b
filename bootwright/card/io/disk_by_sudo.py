"""A disk that an ordinary user may not open: a helper that sudo starts as root opens it.

:mod:`bootwright.card.io.disk_helper` is the helper. All else of a run stays the user's.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bootwright.card.block_device import DeviceFacts, DeviceKind
from bootwright.card.guard import GuardRequest
from bootwright.card.io.disk_helper import MESSAGE_BYTES
from bootwright.card.io.medium import BlockDevice
from bootwright.core.errors import BootwrightError, FailedError, InputError, RefusedError
from bootwright.core.io.process import missing_tool
from bootwright.core.run_log import event

HELPER = (
    # Not sys.executable: that is "python" or "python3", depending on how this program was started.
    str(Path(sys.prefix, "bin", "python3")),
    *("-I", "-S", "-B"),  # no variables, no site-packages, no bytecode of root in the checkout
    str(Path(__file__).with_name("disk_helper.py")),
)
"""The command line of the helper. It is always the same, so a rule in sudoers can name it."""

SUDO = ("sudo", "--prompt=Password for sudo, to open the disk: ", "--")

_ERRORS = {each.__name__: each for each in (FailedError, InputError, RefusedError)}
_FACTS = TypeAdapter(DeviceFacts)

_ENDED_S = 5.0
"""Seconds to wait for the end of the helper: it ends at once, unless sudo still asks."""


def needs_helper(facts: DeviceFacts) -> bool:
    """Return whether this user may not write to the disk, and sudo is there to open it."""
    return (
        facts.kind is DeviceKind.BLOCK
        and not facts.may_write
        and os.geteuid() != 0
        and shutil.which("sudo") is not None
    )


class DiskHelper:
    """A running helper, for one disk; made by :func:`start_helper`."""

    def __init__(self, child: subprocess.Popen[bytes], link: socket.socket) -> None:
        self._child, self._link = child, link
        self._path = ""

    def inspect(self, facts: DeviceFacts, request: GuardRequest) -> DeviceFacts:
        """Return the facts about a disk as root reads them; the guard has approved them.

        Args:
            facts: the facts as this user reads them.
            request: what the operator asks for.

        Raises:
            RefusedError: the guard refuses the disk, or sudo does not start the helper.
            FailedError: the helper failed.
        """
        self._path = facts.path
        answer, _ = self._ask(
            do="inspect",
            node=facts.identity.node,
            allow_large=request.allow_large,
            fixed_disk_serial=request.fixed_disk_serial,
        )
        return dataclasses.replace(_FACTS.validate_python(answer["facts"]), path=facts.path)

    def open(self) -> BlockDevice:
        """Return the disk, opened and checked as by :func:`.opening.open_medium`.

        Raises:
            RefusedError: it is in use, or it is not the one that was inspected.
            FailedError: it cannot be opened, or the helper failed.
        """
        _, passed = self._ask(do="open")
        if len(passed) != 1:
            raise FailedError(f"{self._path}: the helper that opens it has passed no descriptor")
        return _HelpedDevice(self, self._path, passed[0])

    def reread_table(self) -> bool:
        """Return whether the kernel has read the partition table again, as it does for root."""
        try:
            return self._ask(do="reread")[0].get("reread") is True
        except BootwrightError:
            return False  # The card is finished all the same.

    def _ask(self, **message: Any) -> tuple[dict[str, Any], list[int]]:
        try:
            self._link.send(json.dumps(message).encode())
            data, passed, _, _ = socket.recv_fds(
                self._link, MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            data, passed = b"", []
        if not data:
            raise self._ended()
        answer: dict[str, Any] = json.loads(data)
        if "error" in answer:
            raise _ERRORS.get(answer["error"], FailedError)(answer["message"])
        return answer, passed

    def _ended(self) -> BootwrightError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_ENDED_S)
        status = self._child.returncode
        return RefusedError(
            f"{self._path}: you may not write to it, and the helper that opens it as root did not"
            f" start or has ended (sudo: exit {status}; its message is above); nothing was"
            ' changed. What you can do: docs/flash.md, "Who may write the card"'
        )


class _HelpedDevice(BlockDevice):
    """A disk that the helper has opened."""

    def __init__(self, helper: DiskHelper, path: str, fd: int) -> None:
        super().__init__(path, fd)
        self._helper = helper

    def reread_table(self) -> bool:
        """Have the helper do it, since only root may; return whether the kernel did."""
        return self._helper.reread_table()


@contextlib.contextmanager
def start_helper(sudo: Sequence[str] = SUDO) -> Iterator[DiskHelper]:
    """Start the helper; it ends with the context.

    Args:
        sudo: the command that runs the helper as root. sudo asks on the terminal for the
            password, not on standard input.

    Raises:
        FailedError: there is no such command.
    """
    argv = [*sudo, *HELPER]
    event("process", "start", argv=argv)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        try:
            # With a pipe as its output sudo (use_pty) does not read the terminal, which is ours.
            child = subprocess.Popen(argv, stdin=theirs.fileno(), stdout=subprocess.PIPE)
        except FileNotFoundError:
            raise missing_tool(argv[0]) from None
        finally:
            theirs.close()
        try:
            yield DiskHelper(child, ours)
        finally:
            ours.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_ENDED_S)
            assert child.stdout is not None
            child.stdout.close()
