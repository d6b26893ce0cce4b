"""Why a board did not ask for the passphrase, in words for the operator. Pure."""

from bootwright.console.boot import BootWatcher, State
from bootwright.core.text import sanitize_line

CHECK = (
    "nothing comes from the console. Is the board on, the cable in (TX to RX, GND), the speed "
    "right (--baud)? Does the kernel's `console=` name this port?"
)


SPEED = "the console's output is not text: is the speed right (--baud)?"


def why_no_prompt(
    watcher: BootWatcher, *, lost: str, readable: bool, no_reaction: bool, quote: bool
) -> str:
    """Return why the volume's prompt was not answered, as far as the console shows it.

    Args:
        watcher: what was seen of the boot.
        lost: why the connection to the console was lost last; empty if it was not.
        readable: the console's output is text.
        no_reaction: something that looked like the prompt did not react to keys.
        quote: the board's output may be quoted, because no secret was typed.
    """
    if not readable:
        return SPEED
    if watcher.state is State.SILENT:
        return f"nothing has come since the connection was lost: {lost}" if lost else CHECK
    if no_reaction:
        return (
            "what looked like a prompt did not react to keys. Where the board's crypttab has"
            " `password-echo=no`, remove that, or type the passphrase by hand (`inv console`)"
        )
    waits = watcher.waiting_line or watcher.other_question
    if quote and waits and not watcher.other_disks:
        return _waits(waits)
    if watcher.other_disks:
        disks = ", ".join(map(sanitize_line, watcher.other_disks))
        return f"the boot asked for {disks}, not for this volume"
    if not quote:
        return "the boot did not ask for the passphrase again"
    line = sanitize_line(watcher.last_line)
    return f"the boot did not ask for the passphrase; its last line: {line}"


def _waits(question: str) -> str:
    """Return that the board waits at ``question``, a line that no disk's passphrase ends."""
    return (
        f'the board waits at "{sanitize_line(question[-100:])}". This is not the question for this'
        " volume, so nothing was typed there; see to it with `inv console`"
    )
