"""Becoming root on a board by sudo, with a password or without one.

The password is the first line of standard input, and is read by the shell itself: it is never in an
argument or in the environment. It is tested first, so that a wrong one costs one attempt. Root's
shell discards its input up to a mark, so that the script never receives a password that sudo did
not consume. The scripts are ``remote/shell/sudo_*.sh``.

Sources: sudo(8), sudoers(5).
"""

import re

from bootwright.core.errors import FailedError
from bootwright.core.secret import Secret, without_passphrase
from bootwright.core.shell import quote_words, render
from bootwright.core.text import sanitize_line

# A line of standard error tells why there is no way to become root. There may be lines before it:
# a shell warns of a locale that the board does not have.
_NOT_ROOT = 125
"""The exit status then."""

_NO_SUDO = "bootwright: no sudo"
_ASKS = "bootwright: sudo asks"
_NO_PRINTF = "bootwright: no printf"
_REFUSES = "bootwright: sudo refuses"
_INPUT_MARK = "bootwright: here the input begins"

_WRONG = re.compile(r"incorrect (password|authentication) attempt|try again", re.IGNORECASE)
_NOT_ALLOWED = re.compile(r"not in the sudoers file|not allowed to|may not run")
_TERMINAL = re.compile(r"must have a tty")


class SudoPasswordError(FailedError):
    """sudo asks for a password, and none is known."""


def as_root(script: str, password: Secret | None) -> str:
    """Return the command line that runs ``script`` as root; see :func:`input_of`."""
    if password is None:
        wrapper = render("remote/shell/sudo_without_password.sh", no_sudo=_NO_SUDO, asks=_ASKS)
        return quote_words(["sh", "-c", wrapper, "sh", script])
    wrapper = render(
        "remote/shell/sudo_with_password.sh",
        no_sudo=_NO_SUDO,
        no_printf=_NO_PRINTF,
        refuses=_REFUSES,
        input_mark=_INPUT_MARK,
    )
    discard = render(
        "remote/shell/sudo_discard_password.sh", refuses=_REFUSES, input_mark=_INPUT_MARK
    )
    return quote_words(["sh", "-c", wrapper, "sh", script, discard])


def input_of(data: bytes, password: Secret | None) -> bytes:
    """Return the standard input of such a command line: ``data`` behind the password."""
    return data if password is None else password.reveal() + b"\n" + data


def check_sudo(
    status: int, stderr: bytes, where: str, user: str | None, password: Secret | None = None
) -> None:
    """Raise if the script was not run because there was no way to become root.

    Args:
        status: the exit status of the command line of :func:`as_root`.
        stderr: the standard error of it.
        where: the board, for the error.
        user: who logged in.
        password: what sudo was given; masked in the error, whatever the board prints.

    Raises:
        SudoPasswordError: sudo asks for a password.
        FailedError: there is no sudo, it refused the password, or the user may not use it.
    """
    if status != _NOT_ROOT:
        return
    marks = (_NO_SUDO, _NO_PRINTF, _ASKS, _REFUSES)
    written = stderr.decode("utf-8", "replace").splitlines()
    at = next((number for number, line in enumerate(written) if line in marks), len(written))
    reason, *lines = written[at:] or [""]
    allow = (
        f'allow it to {user} in /etc/sudoers, or log in as root (user = "root" in bootwright.toml)'
    )
    if reason == _NO_SUDO:
        raise FailedError(f"{where}: there is no sudo, and {user} is not root; {allow}")
    if reason == _NO_PRINTF:
        raise FailedError(
            f"{where}: the board's shell has no printf of its own: handing over a password would"
            f" show it to others there; {allow} (NOPASSWD)"
        )
    if reason == _ASKS:
        raise SudoPasswordError(
            f"{where}: sudo asks for a password, and {user} is not root; {allow} (NOPASSWD)"
        )
    if reason == _REFUSES:
        message = "; ".join(sanitize_line(line.strip()) for line in lines if line.strip())
        if password is not None:
            message = without_passphrase(
                message, sanitize_line(password.reveal().decode("utf-8", "replace"))
            )
        raise FailedError(f"{where}: {_refusal(message, user, allow)}")


def _refusal(message: str, user: str | None, allow: str) -> str:
    """Return why sudo refused, from its own message in English."""
    if _NOT_ALLOWED.search(message):
        return f"{user} may not use sudo; {allow}"
    if _TERMINAL.search(message):
        return "sudo wants a terminal, and scripts have none; remove requiretty from /etc/sudoers"
    if _WRONG.search(message):
        return (
            f"sudo refused the password of {user}; it was tried once. Give the right one, such as"
            " by --sudo-password-file: after a few wrong ones a board may lock the account"
        )
    return f"sudo refuses {user}: {message or 'it says nothing more'}"
