"""Commands to a running QEMU, one at a time over its control socket (QMP)."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bootwright.core.errors import FailedError
from bootwright.core.run_log import logged

TIMEOUT_S = 5.0
"""Seconds that QEMU may take to answer a command."""


def qmp_command(
    control_socket: Path,
    command: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    timeout: float = TIMEOUT_S,
) -> Any:
    """Run a QMP command and return its result.

    Args:
        control_socket: the Unix socket; its path may be longer than the 107 bytes that the address
            of a Unix socket can have.
        command: the command, such as ``system_powerdown``.
        arguments: of the command.
        timeout: seconds that QEMU may take to answer.

    Raises:
        FailedError: QEMU does not answer, or refuses the command.
    """
    with logged("qemu", command, arguments=arguments or {}) as result:
        answer = _converse(control_socket, command, arguments, timeout)
        result["answer"] = answer
    return answer


def _converse(
    control_socket: Path, command: str, arguments: Mapping[str, Any] | None, timeout: float
) -> Any:
    try:
        directory = os.open(control_socket.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout)
                connection.connect(f"/proc/self/fd/{directory}/{control_socket.name}")
                with connection.makefile("rw", encoding="utf-8") as lines:
                    json.loads(lines.readline())  # the greeting
                    _ask(lines, "qmp_capabilities")
                    return _ask(lines, command, arguments)
        finally:
            os.close(directory)
    except (OSError, ValueError) as error:
        raise FailedError(f"the emulator does not answer ({command}): {error}") from error


def monitor_command(control_socket: Path, line: str, *, timeout: float = TIMEOUT_S) -> None:
    """Run a command of QEMU's human monitor that prints something only if it fails.

    Raises:
        FailedError: QEMU does not answer, or the command failed.
    """
    printed = qmp_command(
        control_socket, "human-monitor-command", {"command-line": line}, timeout=timeout
    )
    if printed.strip():
        raise FailedError(f"the emulator could not do {line!r}: {printed.strip()}")


def _ask(lines: Any, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
    request = {"execute": command} | ({"arguments": arguments} if arguments else {})
    lines.write(json.dumps(request) + "\n")
    lines.flush()
    while True:
        answer = json.loads(lines.readline())
        if "error" in answer:
            raise FailedError(f"the emulator refused {command}: {answer['error']['desc']}")
        if "return" in answer:
            return answer["return"]
        # Anything else is an event, which is not the answer.
