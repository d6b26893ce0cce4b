"""Becoming root on a board by sudo, with a password or without one.

The password comes as the first line of the script's standard input, to the shell alone: it is
never in an argument or in the environment. It is tried once before the script is run, so that a
wrong one costs one try, and sudo never takes the script's own input for another.

Sources: sudo(8), sudoers(5).
"""

import shlex

from bootwright.errors import FailedError
from bootwright.secret import Secret

_NO_SUDO = "bootwright: no sudo"
_ASKS = "bootwright: sudo asks"
_WRONG = "bootwright: sudo refused the password"
_NOT_ALLOWED = "bootwright: sudo does not allow it"

_WITHOUT = f"""\
if [ "$(id -u)" -eq 0 ]; then exec sh -c "$1"; fi
command -v sudo >/dev/null 2>&1 || {{ echo {_NO_SUDO!r} >&2; exit 125; }}
sudo -n sh -c : </dev/null >/dev/null 2>&1 || {{ echo {_ASKS!r} >&2; exit 125; }}
exec sudo -n sh -c "$1"
"""

# -k: what sudo remembers of an earlier call does not count, or it would not read the password,
# and the script would. The shell's printf is its own, so that no process has it as an argument;
# what came from the environment or is made under allexport would be in that of each program.
_WITH = f"""\
set +a +x
unset password
IFS= read -r password
case $(command -v printf) in /*) echo {_ASKS!r} >&2; exit 125 ;; esac
if [ "$(id -u)" -eq 0 ]; then unset password; exec sh -c "$1"; fi
command -v sudo >/dev/null 2>&1 || {{ echo {_NO_SUDO!r} >&2; exit 125; }}
if sudo -k -n sh -c : </dev/null >/dev/null 2>&1; then
    unset password
    exec sudo -k -n sh -c "$1"
fi
said=$(printf '%s\\n' "$password" | LC_ALL=C sudo -k -S -p '' sh -c : 2>&1) || {{
    case $said in
    *"not in the sudoers file"* | *"not allowed to"* | *"may not run"*)
        echo {_NOT_ALLOWED!r} >&2 ;;
    *) echo {_WRONG!r} >&2 ;;
    esac
    exit 125
}}
{{ printf '%s\\n' "$password"; unset password; exec cat; }} | sudo -k -S -p '' sh -c "$1"
"""


class SudoPasswordError(FailedError):
    """sudo asks for a password, and none is known."""


def as_root(script: str, password: Secret | None) -> str:
    """Return the command line that runs ``script`` as root; see :func:`input_of`."""
    return shlex.join(["sh", "-c", _WITHOUT if password is None else _WITH, "sh", script])


def input_of(data: bytes, password: Secret | None) -> bytes:
    """Return what such a command line reads."""
    return data if password is None else password.reveal() + b"\n" + data


def check_sudo(stderr: bytes, where: str, user: str | None) -> None:
    """Raise if it was not the script that ended, but the way to root.

    Args:
        stderr: what came on standard error.
        where: the board, for the error.
        user: who logged in.

    Raises:
        SudoPasswordError: sudo asks for a password.
        FailedError: there is no sudo, it refused the password, or the user may not use it.
    """
    said = stderr.decode("utf-8", "replace")
    allow = (
        f'allow it to {user} in /etc/sudoers, or log in as root (user = "root" in bootwright.toml)'
    )
    if said.startswith(_NO_SUDO):
        raise FailedError(f"{where}: there is no sudo, and {user} is not root; {allow}")
    if said.startswith(_ASKS):
        raise SudoPasswordError(
            f"{where}: sudo asks for a password, and {user} is not root; {allow} (NOPASSWD)"
        )
    if said.startswith(_WRONG):
        raise FailedError(f"{where}: sudo refused the password of {user}; it was tried once")
    if said.startswith(_NOT_ALLOWED):
        raise FailedError(f"{where}: {user} may not use sudo; {allow}")
