"""Getting the passphrase: from a private file, the target's command, or the keyboard."""

import getpass
import os
import stat
import sys
from pathlib import Path

from bootwright.config import Target
from bootwright.effects.process import run
from bootwright.errors import InputError
from bootwright.passphrase import check_passphrase
from bootwright.secret import Secret


def read_passphrase(target: Target, file: str | None, *, twice: bool) -> Secret:
    """Return the passphrase of the target's volume.

    Args:
        target: its ``passphrase_command`` is used when no file is given.
        file: a file that only its owner can read.
        twice: ask for it twice at the keyboard, when a new one is set.

    Raises:
        InputError: the file is open to others, there is no way to ask, the two do not
            match, the command failed, or the passphrase cannot be used.
        FailedError: the command does not exist.
    """
    if file is not None:
        return _from_file(Path(file))
    if target.passphrase_command:
        finished = run(target.passphrase_command, check=False)
        if finished.returncode != 0:
            # Its output may hold the passphrase, so it is not shown.
            raise InputError(
                f"passphrase_command of {target.name} ended with {finished.returncode}"
            )
        return check_passphrase(finished.stdout, f"passphrase_command of {target.name}")
    return _typed(twice)


def _from_file(path: Path) -> Secret:
    try:
        # Looked at and read through one descriptor, so that it cannot be exchanged between.
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise InputError(
                    f"{path}: group or others can read it (mode {mode:04o}); run: chmod 600 {path}"
                )
            return check_passphrase(file.read(4096), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error


def _typed(twice: bool) -> Secret:
    if not sys.stdin.isatty():
        raise InputError(
            "no passphrase: give --passphrase-file, or passphrase_command in bootwright.toml"
        )
    try:
        first = getpass.getpass("Passphrase for docker-data: ")
        secret = check_passphrase(first.encode(), "the keyboard")
        again = getpass.getpass("The same again: ") if twice else first
    except EOFError:
        raise InputError("the keyboard: no passphrase was typed; nothing was changed") from None
    except UnicodeDecodeError:
        # Not shown: the error would quote what was typed.
        raise InputError("the keyboard: what was typed is not UTF-8 text") from None
    if again != first:
        raise InputError("the two passphrases differ; nothing was changed")
    return secret
