"""Recording what a person does at a console, without the secrets that are typed. Pure."""

import re

from bootwright.console.boot import BootWatcher
from bootwright.console.ports import Recorder
from bootwright.console.prompt import SECRET_WORDS
from bootwright.console.redact import Redactor
from bootwright.console.screen import Partial, Screen
from bootwright.core.secret import MASK, Secret

_ASKS = re.compile(
    rf"(?i)(?:{SECRET_WORDS})[^\n]{{0,100}}[:!?] ?$"
    r"|press Control-D to continue\): $"  # sulogin
    r"|\(press TAB for no echo\) $"
)
_ENDS = b"\r\n\x03\x04"  # Enter, Ctrl-C, Ctrl-D
_ERASES = b"\b\x7f"
_CLEARS = b"\x15"  # Ctrl-U
_ENTER = b"\r\n"
# What a terminal sends for one key, such as a cursor key; nothing echoes these as they are.
_KEY = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|[^\[O])", re.DOTALL)
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|.)", re.DOTALL)

LEAST_MASKED = 4
"""Bytes of a secret that is searched for in the output. Shorter ones are a part of many words."""


class _Unechoed:
    """Keys that the board has not echoed yet: if it never does, they are a secret.

    Attributes:
        keys: all of them, as they were typed.
        text: those of them that a terminal would echo as they are.
        is_plain: all of the text was echoed, before anything else was printed.
        is_secret: Enter was answered by a new line, and the text was not echoed.
        is_silent: nothing at all was printed for the text.
    """

    def __init__(self) -> None:
        self.keys = b""
        self.text = b""
        self._echoed = 0
        self._other_output = False
        self._sequence = b""
        self.is_secret = False

    def type(self, byte: bytes) -> None:
        """Add a key."""
        self.keys += byte
        if self._sequence or byte == b"\x1b":
            self._sequence += byte
            if _KEY.fullmatch(self._sequence):
                self._sequence = b""
        elif byte in _ERASES + _CLEARS:
            self._other_output = self._other_output or bool(self.text)
        elif byte >= b" ":
            self.text += byte

    def print(self, data: bytes) -> None:
        """Take what the board printed."""
        for number in _SEQUENCE.sub(b"", data):
            byte = bytes([number])
            if self.is_plain or self.is_secret:
                return
            if byte == b"\n" and self.ended:
                self.is_secret = True
            elif byte >= b" " or byte == b"\n":
                expected = self.text[self._echoed : self._echoed + 1]
                self._other_output = self._other_output or byte != expected
                self._echoed += 1

    @property
    def ended(self) -> bool:
        """Whether Enter was typed."""
        return self.keys[-1:] in (b"\r", b"\n", b"\x03", b"\x04")

    @property
    def is_plain(self) -> bool:
        return self._echoed == len(self.text) and not self._other_output and not self._sequence

    @property
    def is_silent(self) -> bool:
        return not self._echoed and not self._other_output


class SessionRecorder:
    """Passes on to a recorder what is printed and typed, passphrases and passwords masked.

    Secret is what is typed at a question for a secret, and whatever the board does not echo: what
    is typed is recorded when its echo has come.

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
        self._unechoed = _Unechoed()

    def printed(self, data: bytes) -> None:
        """Take ``data`` that the board printed."""
        self._watcher.feed(data)
        for item in self._screen.feed(data):
            # Other output may follow the question; it is open until Enter.
            if isinstance(item, Partial) and item.char in ":! )" and _ASKS.search(item.text):
                self._secret_asked = True
        self._unechoed.print(data)
        self._record_echoed()
        if self._secret is None:
            self._pass_on(self._redactor.feed(data))
        else:
            self._held += data

    def typed(self, data: bytes) -> None:
        """Take ``data`` that the person typed."""
        for number in data:
            byte = bytes([number])
            if self._secret is None and not self._is_secret():
                if self._unechoed.ended:
                    self._mask_unechoed()  # Typed ahead.
                self._unechoed.type(byte)
                self._record_echoed()
            else:
                self._mask_unechoed()
                self._add_to_secret(byte)

    def idle(self) -> None:
        """Pass on an unfinished line; call it when nothing was printed for a moment."""
        if self._secret is None and not self._redactor.expects_echo:
            self._pass_on(self._redactor.flush())

    def end(self) -> None:
        """Pass on what was held back; call it when the person has left the console."""
        self._mask_unechoed()
        self._finish(b"")

    def _record_echoed(self) -> None:
        """Record the keys whose echo has come, and mask those that turned out to be secret."""
        if self._unechoed.is_secret:
            self._mask_unechoed()
        elif self._unechoed.is_plain and self._unechoed.keys:
            for number in self._unechoed.keys:
                self._recorder.typed(bytes([number]))
            self._unechoed = _Unechoed()

    def _mask_unechoed(self) -> None:
        keys, self._unechoed = self._unechoed, _Unechoed()
        if not keys.keys:
            return
        if keys.is_silent and len(keys.text) >= LEAST_MASKED:
            self._redactor.arm(Secret(keys.text))
        self._recorder.typed(MASK.encode() + (keys.keys[-1:] if keys.ended else b""))

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
