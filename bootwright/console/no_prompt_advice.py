"""Why a board did not ask for the passphrase, in words for the operator. Pure."""

from bootwright.console.boot import BootWatcher, State
from bootwright.core.text import sanitize_line

CHECK = (
    "nothing comes from the console. Is the board on, the cable in (TX to RX, GND), the speed "
    "right (--baud)? Does the kernel's `console=` name this port?"
)


def why_no_prompt(
    watcher: BootWatcher, *, connection_lost: bool, readable: bool, no_reaction: bool
) -> str:
    """Return why the volume's prompt was not answered, as far as the console shows it.

    Args:
        watcher: what was seen of the boot.
        connection_lost: the connection to the console was lost meanwhile.
        readable: the console's output is text.
        no_reaction: something that looked like the prompt did not react to keys.
    """
    if watcher.state is State.SILENT:
        if connection_lost:
            return "the connection to the console was lost, and nothing has come since"
        return CHECK
    if not readable:
        return "the console's output is not text: is the speed right (--baud)?"
    if no_reaction:
        return "what looked like a prompt did not react to keys"
    if watcher.other_disks:
        disks = ", ".join(map(sanitize_line, watcher.other_disks))
        return f"the boot asked for {disks}, not for this volume"
    line = sanitize_line(watcher.last_line)
    return f"the boot did not ask for the passphrase; its last line: {line}"
