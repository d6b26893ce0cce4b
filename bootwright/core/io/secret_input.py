"""Reading a passphrase: from a private file, the target's command, or the keyboard."""

import getpass
import os
import resource
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from bootwright.core.config import Target
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.process import NotFinishedError, run
from bootwright.core.passphrase import check_passphrase
from bootwright.core.secret import Secret, printable

STDIN = "-"
"""In place of the name of a passphrase's file: standard input."""

STDERR_LINES, STDERR_CHARACTERS = 5, 500
"""How much is shown of what a command that failed wrote to standard error."""

COMMAND_S = 120.0
"""Seconds that a ``passphrase_command`` may take where nobody can answer it: without a terminal."""

TITLE = "Passphrase for docker-data"
"""The question for the passphrase of a target's volume."""


def read_passphrase(target: Target, file: str | None, *, twice: bool, title: str = TITLE) -> Secret:
    """Return the passphrase of the target's volume.

    Args:
        target: its ``passphrase_command`` is used when no file is given.
        file: a file that only its owner can read; ``-`` for standard input.
        twice: ask for it twice at the keyboard, when a new one is set.
        title: the question at the keyboard.

    Raises:
        InputError: others can read the file, there is no terminal to ask at, the two inputs
            differ, the command failed, or the passphrase cannot be used.
        FailedError: the command does not exist, or did not end without a terminal.
    """
    forbid_core_dumps()
    if file is not None:
        return _from_file(Path(file))
    if target.passphrase_command:
        return _from_command(target)
    return _typed(twice, title, "--passphrase-file, or passphrase_command in bootwright.toml")


def _from_command(target: Target) -> Secret:
    """Return what the target's ``passphrase_command`` writes to standard output."""
    what = f"passphrase_command of {target.name}"
    limit = None if has_terminal() else COMMAND_S
    try:
        finished = run(
            target.passphrase_command,
            check=False,
            timeout=limit,
            log_output=False,
            log_arguments=False,
            as_operator=True,
        )
    except NotFinishedError as error:
        written = _last_lines(error.stderr)
        raise FailedError(
            f"{what}: no end after {COMMAND_S:.0f} s, without a terminal on which it could ask."
            f" It wrote: {written or 'nothing'}"
        ) from None
    if finished.returncode == 0:
        return check_passphrase(finished.stdout, what)
    # Its output may hold the passphrase, or a part of it, which standard error may repeat.
    for part in {finished.stdout, *finished.stdout.splitlines()}:
        if part.strip():
            Secret(part.strip())  # Masked from now on.
    written = _last_lines(finished.stderr)
    no_reason = "; what it wrote is above" if os.isatty(2) else ", and wrote no reason"
    why = f": {written}" if written else no_reason
    raise InputError(f"{what} ended with {finished.returncode}{why}")


def has_terminal() -> bool:
    """Return whether this process has a terminal on which a program can ask; tty(4)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _last_lines(stderr: bytes) -> str:
    """Return the end of what a command wrote to standard error, safe to show; empty if nothing."""
    message = printable(stderr.decode("utf-8", "replace"))
    lines = [line.strip() for line in message.split("\n") if line.strip()]
    return " / ".join(lines[-STDERR_LINES:])[-STDERR_CHARACTERS:]


def forbid_core_dumps() -> None:
    """Forbid core dumps of this process, because its memory is going to hold a passphrase."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def read_new_passphrase(file: str | None, option: str, title: str, *, twice: bool) -> Secret:
    """Return a passphrase that the target's own ``passphrase_command`` does not give.

    Args:
        file: a file that only its owner can read; ``-`` for standard input.
        option: the option that names such a file, for error messages.
        title: the question at the keyboard.
        twice: ask for it twice at the keyboard, when a new one is set.

    Raises:
        InputError: others can read the file, there is no terminal to ask at, the two inputs
            differ, or the passphrase cannot be used.
    """
    return _from_file(Path(file)) if file is not None else _typed(twice, title, option)


def read_sudo_password(file: str | None, user: str) -> Secret:
    """Return the password of ``user`` for sudo: from a private file, or the keyboard.

    Raises:
        InputError: as :func:`read_new_passphrase`.
    """
    title = f"Password of {user} for sudo"
    return read_new_passphrase(file, "--sudo-password-file", title, twice=False)


def another_from_keyboard(
    target: Target, file: str | None
) -> Callable[[str], Secret | None] | None:
    """Return a function that asks for another passphrase after a wrong one.

    It shows a text and returns the typed passphrase, or ``None`` if nothing was typed. There is no
    function (``None``) if the first passphrase was not typed either.
    """
    if file is not None or target.passphrase_command or not sys.stdin.isatty():
        return None

    def ask(text: str) -> Secret | None:
        print(f"{text}. Enter alone gives up.", file=sys.stderr)
        try:
            return _once(TITLE)
        except EOFError:
            return None
        except InputError as error:
            # The board is still waiting for a passphrase, so ask once more.
            return ask(str(error))

    return ask


def _from_stdin() -> Secret:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            "standard input is a terminal, which would show the passphrase: omit the option, or"
            " pipe the passphrase to this command"
        )
    content = sys.stdin.buffer.read(4096)
    if not content:
        raise InputError("standard input is empty; only one option can read it")
    return check_passphrase(content, "standard input")


def _from_file(path: Path) -> Secret:
    if str(path) == STDIN:
        return _from_stdin()
    try:
        # Checked and read through one descriptor, so that it cannot be replaced in between.
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077 and not _is_credential(path):
                raise InputError(
                    f"{path}: group or others can read it (mode {mode:04o}); run: chmod 600 {path}"
                )
            return check_passphrase(file.read(4096), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error


def _is_credential(path: Path) -> bool:
    """Return whether systemd passed the file to this service alone (``LoadCredential=``).

    Its folder is closed to others; the file's group bits are those of an access list.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and path.absolute().parent == Path(folder)


def _typed(twice: bool, title: str, instead: str) -> Secret:
    if not sys.stdin.isatty():
        raise InputError(f"no passphrase: give {instead}")
    try:
        secret = _once(title)
        again = _once("The same again") if twice else secret
    except EOFError:
        secret = None
    if secret is None:
        raise InputError("the keyboard: no passphrase was typed; nothing was changed")
    if again != secret:
        raise InputError("the two passphrases differ; nothing was changed")
    return secret


def _once(title: str) -> Secret | None:
    """Return what is typed, without showing it; ``None`` if nothing is typed."""
    try:
        typed = getpass.getpass(f"{title}: ")
    except UnicodeDecodeError:
        # The original error would quote what was typed.
        raise InputError("the keyboard: what was typed is not UTF-8 text") from None
    try:
        return check_passphrase(typed.encode(), "the keyboard") if typed else None
    except UnicodeEncodeError:
        raise InputError("the keyboard: what was typed is not UTF-8 text") from None
