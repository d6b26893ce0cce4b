"""Writing down what a person does at a console, without the secrets that are typed. Pure."""

import re

from bootwright.console.boot import BootWatcher
from bootwright.console.ports import Recorder
from bootwright.console.redact import Redactor
from bootwright.console.screen import Partial, Screen
from bootwright.core.secret import MASK, Secret

_ASKS = re.compile(
    r"(?i)(?:passw|passphrase|passcode|kennwort|wachtwoord|mot de passe|contrase|recovery key"
    r"|verification code|one-time|\botp|\bpin\b)[^\n]{0,100}[:!] ?$"
    r"|press Control-D to continue\): $"  # sulogin
    r"|\(press TAB for no echo\) $"
)
_ENDS = b"\r\n\x03\x04"  # Enter, Ctrl-C, Ctrl-D
_ERASES = b"\b\x7f"
_CLEARS = b"\x15"  # Ctrl-U


class SessionRecorder:
    """Tells a recorder what is printed and typed; a passphrase or password as a mask.

    While something is asked for that is not meant to be seen, what is printed is held
    back: it may show what is being typed. Enter decides it.

    Args:
        recorder: writes the transcript.
        volume: the encrypted volume's name in crypttab.
        mount: where it is mounted.
    """

    def __init__(self, recorder: Recorder, volume: str, mount: str) -> None:
        self._recorder = recorder
        self._watcher = BootWatcher(volume, mount)
        self._screen = Screen()
        self._asks = False
        self._redactor = Redactor()
        self._typed: bytearray | None = None
        self._held = b""

    def printed(self, data: bytes) -> None:
        """The board printed ``data``."""
        self._watcher.feed(data)
        for item in self._screen.feed(data):
            # Whatever cuts in, what asks waits until Enter.
            if isinstance(item, Partial) and item.char in ":! )" and _ASKS.search(item.text):
                self._asks = True
        if self._typed is None:
            self._pass_on(self._redactor.feed(data))
        else:
            self._held += data

    def typed(self, data: bytes) -> None:
        """The person typed ``data``."""
        for number in data:
            byte = bytes([number])
            if self._typed is None and not self._asked():
                self._recorder.typed(byte)
            else:
                self._type_secretly(byte)

    def idle(self) -> None:
        """Nothing has been printed for a moment: what was held back is no echo."""
        if self._typed is None and not self._redactor.watchful:
            self._pass_on(self._redactor.flush())

    def end(self) -> None:
        """The person has left."""
        self._finish(b"")

    def _asked(self) -> bool:
        return self._watcher.pending or self._asks

    def _type_secretly(self, byte: bytes) -> None:
        if self._typed is None:
            self._typed = bytearray()
        if byte in _ENDS:
            self._finish(byte)
        elif byte in _ERASES:
            del self._typed[-1:]
        elif byte in _CLEARS:
            self._typed.clear()
        elif byte >= b" ":
            self._typed += byte

    def _finish(self, end: bytes) -> None:
        if self._typed is not None:
            self._redactor.arm(Secret(bytes(self._typed)))
            self._recorder.typed(MASK.encode() + end)
            self._typed = None
            self._asks = False
            if self._watcher.pending:
                self._watcher.answered()
            held, self._held = self._held, b""
            self._pass_on(self._redactor.feed(held))
        if not end:
            self._pass_on(self._redactor.flush())

    def _pass_on(self, data: bytes) -> None:
        if data:
            self._recorder.printed(data)
