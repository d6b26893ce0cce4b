"""Becoming root on a board by sudo, with a password or without one.

The password comes as the first line of the script's standard input, to the shell alone: it is
never in an argument or in the environment. It is tried before the script is run, so that a wrong
one is tried once and sudo never takes the script's own input for another; and what comes before
the mark in what sudo passes on is not the script's, so that the script never gets a password that
sudo did not read.

Sources: sudo(8), sudoers(5).
"""

import re
import shlex

from bootwright.core.errors import FailedError
from bootwright.core.secret import Secret, without_passphrase
from bootwright.core.text import sanitize_line

_NO_SUDO = "bootwright: no sudo"
_ASKS = "bootwright: sudo asks"
_NO_PRINTF = "bootwright: no printf"
_REFUSES = "bootwright: sudo refuses"
_INPUT = "bootwright: here the input begins"

_WITHOUT = f"""\
if [ "$(id -u)" -eq 0 ]; then exec sh -c "$1"; fi
command -v sudo >/dev/null 2>&1 || {{ echo {_NO_SUDO!r} >&2; exit 125; }}
sudo -n sh -c : </dev/null >/dev/null 2>&1 || {{ echo {_ASKS!r} >&2; exit 125; }}
exec sudo -n sh -c "$1"
"""

# What root's shell does first. A password that sudo did not read, as when a PAM module remembers
# the trial, is in front of the mark.
_FROM_MARK = f"""\
set +a +x
unset line
while IFS= read -r line; do
    if [ "$line" = {_INPUT!r} ]; then exec sh -c "$1"; fi
done
echo {_REFUSES!r} >&2
echo "it read more than the password" >&2
exit 125
"""

# -k: what sudo remembers of an earlier call does not count, so that it asks at the trial and at
# the script alike. The shell's printf is its own, so that no process has the password as an
# argument; what came from the environment or is made under allexport would be in that of each
# program.
_WITH = f"""\
set +a +x
unset password said
IFS= read -r password
if [ "$(id -u)" -eq 0 ]; then unset password; exec sh -c "$1"; fi
case $(command -v printf) in /*) echo {_NO_PRINTF!r} >&2; exit 125 ;; esac
command -v sudo >/dev/null 2>&1 || {{ echo {_NO_SUDO!r} >&2; exit 125; }}
if sudo -k -n sh -c : </dev/null >/dev/null 2>&1; then
    unset password
    exec sudo -k -n sh -c "$1"
fi
said=$(printf '%s\\n' "$password" | LC_ALL=C sudo -k -S -p '' sh -c : 2>&1) || {{
    printf '%s\\n' {_REFUSES!r} "$said" >&2
    exit 125
}}
{{
    printf '%s\\n' "$password" {_INPUT!r}
    unset password
    exec cat
}} | sudo -k -S -p '' sh -c "$2" sh "$1"
"""

_WRONG = re.compile(r"incorrect (password|authentication) attempt|try again", re.IGNORECASE)
_NOT_ALLOWED = re.compile(r"not in the sudoers file|not allowed to|may not run")
_TERMINAL = re.compile(r"must have a tty")


class SudoPasswordError(FailedError):
    """sudo asks for a password, and none is known."""


def as_root(script: str, password: Secret | None) -> str:
    """Return the command line that runs ``script`` as root; see :func:`input_of`."""
    if password is None:
        return shlex.join(["sh", "-c", _WITHOUT, "sh", script])
    return shlex.join(["sh", "-c", _WITH, "sh", script, _FROM_MARK])


def input_of(data: bytes, password: Secret | None) -> bytes:
    """Return what such a command line reads."""
    return data if password is None else password.reveal() + b"\n" + data


def check_sudo(stderr: bytes, where: str, user: str | None, password: Secret | None = None) -> None:
    """Raise if it was not the script that ended, but the way to root.

    Args:
        stderr: what came on standard error.
        where: the board, for the error.
        user: who logged in.
        password: what sudo was given; not shown, whatever the board says.

    Raises:
        SudoPasswordError: sudo asks for a password.
        FailedError: there is no sudo, it refused the password, or the user may not use it.
    """
    what, *lines = stderr.decode("utf-8", "replace").splitlines() or [""]
    allow = (
        f'allow it to {user} in /etc/sudoers, or log in as root (user = "root" in bootwright.toml)'
    )
    if what == _NO_SUDO:
        raise FailedError(f"{where}: there is no sudo, and {user} is not root; {allow}")
    if what == _NO_PRINTF:
        raise FailedError(
            f"{where}: the board's shell has no printf of its own: handing over a password would"
            f" show it to others there; {allow} (NOPASSWD)"
        )
    if what == _ASKS:
        raise SudoPasswordError(
            f"{where}: sudo asks for a password, and {user} is not root; {allow} (NOPASSWD)"
        )
    if what == _REFUSES:
        said = "; ".join(sanitize_line(line.strip()) for line in lines if line.strip())
        if password is not None:
            said = without_passphrase(
                said, sanitize_line(password.reveal().decode("utf-8", "replace"))
            )
        raise FailedError(f"{where}: {_refusal(said, user, allow)}")


def _refusal(said: str, user: str | None, allow: str) -> str:
    """Return why sudo refused, by what it said in English."""
    if _NOT_ALLOWED.search(said):
        return f"{user} may not use sudo; {allow}"
    if _TERMINAL.search(said):
        return "sudo wants a terminal, which scripts have not; take requiretty out of /etc/sudoers"
    if _WRONG.search(said):
        return (
            f"sudo refused the password of {user}; it was tried once. Give the right one, such as"
            " by --sudo-password-file: after a few wrong ones a board may lock the account"
        )
    return f"sudo refuses {user}: {said or 'it says nothing more'}"
