"""The texts that a simulated board prints about an encrypted volume, by systemd version. Pure.

They are recognised by :mod:`bootwright.console.prompt` and
:mod:`bootwright.console.status_lines`. Sources: systemd's
``cryptsetup.c``, ``ask-password-api.c`` and ``job.c`` by tag, Debian's cryptsetup-initramfs
and the recorded boots in ``tests/cases/console``.
"""

from dataclasses import dataclass

from bootwright.core.systemd import unit_name

INITRAMFS = 0
"""The "version" of Debian's initial RAM disk, whose question is not systemd's."""

HINT = b"(press TAB for no echo) "
HIDDEN = b"(no echo) "
LOCK = "\U0001f510 ".encode()
BOLD = b"\x1b[0;1;39m"
PLAIN = b"\x1b[0m"
GREY = b"\x1b[0;38;5;245m"
GREEN = b"\x1b[0;32m"
RED = b"\x1b[0;1;31m"
YELLOW = b"\x1b[0;1;33m"

_COLUMNS = 80
_STATUS = {"OK": (b"  OK  ", GREEN), "FAILED": (b"FAILED", RED), "DEPEND": (b"DEPEND", YELLOW)}


@dataclass(frozen=True)
class Dialect:
    """How one board prints.

    Attributes:
        version: systemd's, from 208; or :data:`INITRAMFS`.
        wanted: what is asked for; v252 and later may ask for a ``recovery key`` or a
            ``passphrase or recovery key``.
        lock: a padlock before the question (v246 and later, where the locale is UTF-8).
        colours: escape sequences around the question and in status lines.
        grey: the hint has a colour of its own (v247 and later, if the agent's own output is
            a terminal; on a serial console it rarely is).
        units: status lines name the unit before its description (v252 in Debian 12).
        shorten: status lines are shortened in the middle to fit 80 columns.
        line_end: of a status line; the terminal doubles the return of newer versions.
    """

    version: int = 252
    wanted: str = "passphrase"
    lock: bool = False
    colours: bool = True
    grey: bool = False
    units: bool = True
    shorten: bool = True
    line_end: bytes = b"\r\r\n"

    @property
    def hint(self) -> bytes:
        """Return the words that offer TAB; empty if this version has none."""
        return HINT if self.version >= 245 else b""

    def question(self, disk: str, *, verify: bool = False) -> tuple[bytes, ...]:
        """Return the question for ``disk`` as the strings that are written one by one.

        Args:
            disk: ``volume``, ``LABEL (volume)``, either with `` on /mount/point``.
            verify: it is the second of two questions for a new passphrase.
        """
        if self.version == INITRAMFS:
            return (f"Please unlock disk {disk}: ".encode(),)
        if self.version < 240:
            text = f"Please enter {self.wanted} for disk {disk}!" + " (verification)" * verify
        else:
            text = f"Please enter {self.wanted} for disk {disk}" + " (verification)" * verify + ":"
        hint = GREY + self.hint if self.grey and self.hint else self.hint
        parts = [LOCK * self.lock + text.encode(), b" ", hint]
        if self.colours:
            parts = [BOLD, *parts, PLAIN]
        return tuple(part for part in parts if part)

    def opened(self, volume: str, mount: str) -> bytes:
        """Return the lines from the open volume to its mounted file system."""
        if self.version == INITRAMFS:
            return f"cryptsetup: {volume}: set up successfully\r\n".encode()
        targets = "Encrypted Volumes" if self.version < 235 else "Local Encrypted Volumes"
        return (
            self._setup("OK", "Finished" if self.version >= 245 else "Started", volume)
            + self.status("OK", "Reached target", "cryptsetup.target", f"{targets}.")
            + self._mount("OK", "Mounted", mount)
        )

    def refused(self) -> bytes:
        """Return what is printed after a wrong passphrase, before the next question."""
        if self.version == INITRAMFS:
            return b"cryptsetup: ERROR: cryptsetup failed, bad password or options?\r\n"
        if self.version < 241:
            return b"Invalid passphrase.\r\n"
        return b"Failed to activate with specified passphrase. (Passphrase incorrect?)\r\n"

    def gave_up(self, volume: str, mount: str) -> bytes:
        """Return what is printed after the last wrong passphrase, up to the maintenance shell."""
        if self.version == INITRAMFS:
            return f"cryptsetup: ERROR: {volume}: maximum number of tries exceeded\r\n".encode()
        what = " to activate" if self.version >= 241 else ""
        service = f"systemd-cryptsetup@{unit_name(volume)}.service"
        return (
            f"Too many attempts{what}; giving up.\r\n".encode()
            + self._setup("FAILED", "Failed to start", volume)
            + f"See 'systemctl status {service}' for details.".encode()
            + self.line_end
            + self._mount("DEPEND", "Dependency failed for", mount)
        )

    def emergency(self, *, locked: bool) -> bytes:
        """Return what the maintenance shell prints; ``locked`` if root has no password (Debian)."""
        # Seen on Ubuntu (229) and on Debian (232).
        welcome = "Welcome to" if self.version < 230 else "You are in"
        end = "!" if self.version < 230 else "."
        text = f'{welcome} emergency mode{end} After logging in, type "journalctl -xb" to view\r\n'
        if locked:
            text += (
                "\r\nCannot open access to console, the root account is locked.\r\n"
                "See sulogin(8) man page for more details.\r\n\r\nPress Enter to continue.\r\n"
            )
        else:
            text += "Give root password for maintenance\r\n(or press Control-D to continue): "
        return text.encode()

    def status(self, kind: str, verb: str, unit: str, description: str) -> bytes:
        """Return a status line; ``kind`` is OK, FAILED or DEPEND.

        Args:
            kind: what the brackets hold.
            verb: ``Finished`` and the like.
            unit: the unit's name, shown by versions that do.
            description: the unit's title, with its full stop.
        """
        word, colour = _STATUS[kind]
        bold, plain = (BOLD, PLAIN) if self.colours else (b"", b"")
        named = f"{unit}".encode() + plain + f" - {description}".encode()
        what = bold + (named if self.units else description.encode() + plain)
        line = f"{verb} ".encode() + what
        label = colour + word + plain if self.colours else word
        return b"[" + label + b"] " + (_shorten(line) if self.shorten else line) + self.line_end

    def _setup(self, kind: str, verb: str, volume: str) -> bytes:
        unit = f"systemd-cryptsetup@{unit_name(volume)}.service"
        return self.status(kind, verb, unit, f"Cryptography Setup for {volume}.")

    def _mount(self, kind: str, verb: str, mount: str) -> bytes:
        return self.status(kind, verb, f"{unit_name(mount.strip('/'))}.mount", f"{mount}.")


def _shorten(line: bytes) -> bytes:
    """Replace the middle as systemd does: it counts escape sequences as visible characters."""
    room = _COLUMNS - len("[  OK  ] ") - 1
    text = line.decode()
    if len(text) <= room:
        return line
    head = room // 2
    return f"{text[:head]}…{text[head - room + 1 :]}".encode()
