"""Talking to a running QEMU: one command at a time over its control socket (QMP)."""

import json
import os
import socket
from pathlib import Path
from typing import Any

from bootwright.core.errors import FailedError

TIMEOUT_S = 5.0
"""Seconds that QEMU may take to answer a command."""


def qmp_command(control_socket: Path, command: str) -> Any:
    """Run a QMP command without arguments and return its result.

    Args:
        control_socket: the Unix socket; its path may be longer than such a socket's
            address allows.
        command: the command, such as ``system_powerdown``.

    Raises:
        FailedError: QEMU does not answer, or refused the command.
    """
    try:
        directory = os.open(control_socket.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(TIMEOUT_S)
                connection.connect(f"/proc/self/fd/{directory}/{control_socket.name}")
                with connection.makefile("rw", encoding="utf-8") as lines:
                    json.loads(lines.readline())  # the greeting
                    _ask(lines, "qmp_capabilities")
                    return _ask(lines, command)
        finally:
            os.close(directory)
    except (OSError, ValueError) as error:
        raise FailedError(f"the emulator does not answer ({command}): {error}") from error


def _ask(lines: Any, command: str) -> Any:
    lines.write(json.dumps({"execute": command}) + "\n")
    lines.flush()
    while True:
        answer = json.loads(lines.readline())
        if "error" in answer:
            raise FailedError(f"the emulator refused {command}: {answer['error']['desc']}")
        if "return" in answer:
            return answer["return"]
        # Anything else is an event that came in between.
