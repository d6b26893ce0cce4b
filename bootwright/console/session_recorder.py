"""Recording what a person does at a console, without the secrets that are typed. Pure."""

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
    """Passes on to a recorder what is printed and typed, passphrases and passwords masked.

    While a secret is being typed, the board's output is held back, because the board may echo
    the secret. When Enter ends it, the secret is known, and is masked in that output.

    Args:
        recorder: gets the masked output and keys.
        volume: the encrypted volume's name in crypttab.
        mount: where it is mounted.
    """

    def __init__(self, recorder: Recorder, volume: str, mount: str) -> None:
        self._recorder = recorder
        self._watcher = BootWatcher(volume, mount)
        self._screen = Screen()
        self._secret_asked = False
        self._redactor = Redactor()
        # The secret that is being typed; None while nothing secret is.
        self._secret: bytearray | None = None
        self._held = b""

    def printed(self, data: bytes) -> None:
        """Take ``data`` that the board printed."""
        self._watcher.feed(data)
        for item in self._screen.feed(data):
            # Other output may follow the question; it is open until Enter.
            if isinstance(item, Partial) and item.char in ":! )" and _ASKS.search(item.text):
                self._secret_asked = True
        if self._secret is None:
            self._pass_on(self._redactor.feed(data))
        else:
            self._held += data

    def typed(self, data: bytes) -> None:
        """Take ``data`` that the person typed."""
        for number in data:
            byte = bytes([number])
            if self._secret is None and not self._is_secret():
                self._recorder.typed(byte)
            else:
                self._add_to_secret(byte)

    def idle(self) -> None:
        """Pass on an unfinished line; call it when nothing was printed for a moment."""
        if self._secret is None and not self._redactor.expects_echo:
            self._pass_on(self._redactor.flush())

    def end(self) -> None:
        """Pass on what was held back; call it when the person has left the console."""
        self._finish(b"")

    def _is_secret(self) -> bool:
        return self._watcher.open_question.is_ours or self._secret_asked

    def _add_to_secret(self, byte: bytes) -> None:
        if self._secret is None:
            self._secret = bytearray()
        if byte in _ENDS:
            self._finish(byte)
        elif byte in _ERASES:
            del self._secret[-1:]
        elif byte in _CLEARS:
            self._secret.clear()
        elif byte >= b" ":
            self._secret += byte

    def _finish(self, end: bytes) -> None:
        if self._secret is not None:
            self._redactor.arm(Secret(bytes(self._secret)))
            self._recorder.typed(MASK.encode() + end)
            self._secret = None
            self._secret_asked = False
            if self._watcher.open_question.is_ours:
                self._watcher.passphrase_typed()
            held, self._held = self._held, b""
            self._pass_on(self._redactor.feed(held))
        if not end:
            self._pass_on(self._redactor.flush())

    def _pass_on(self, data: bytes) -> None:
        if data:
            self._recorder.printed(data)
