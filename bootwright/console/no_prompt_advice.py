"""What to tell a person whose board did not ask. Pure."""

from bootwright.console.boot import BootWatcher, State
from bootwright.core.text import sanitize_line

CHECK = (
    "nothing comes from the console. Is the board on, the cable in (TX to RX, GND), the speed "
    "right (--baud)? Does the kernel's `console=` name this port?"
)


def why_no_prompt(watcher: BootWatcher, *, cut: bool, readable: bool, deaf: bool) -> str:
    """Return why the volume's prompt was not answered, as far as the console shows it.

    Args:
        watcher: what was seen of the boot.
        cut: the line was cut in between.
        readable: what came is text.
        deaf: something that looked like the prompt did not react to keys.
    """
    if watcher.state is State.SILENT:
        return "the line was cut, and nothing has come since" if cut else CHECK
    if not readable:
        return "what comes from the console is no text: is the speed right (--baud)?"
    if deaf:
        return "what looked like a prompt did not react to keys"
    if watcher.other_disks:
        disks = ", ".join(map(sanitize_line, watcher.other_disks))
        return f"the boot asked for {disks}, not for this volume"
    line = sanitize_line(watcher.last_line)
    return f"the boot did not ask for the passphrase; it says: {line}"
