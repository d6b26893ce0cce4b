"""Recognising a question for a disk's passphrase, and whose disk it is.

Sources: systemd's ``src/cryptsetup/cryptsetup.c`` and ``ask-password-api.c`` by tag,
Debian's cryptsetup-initramfs:

========= ==========================================================
v208-v239 ``Please enter passphrase for disk NAME! ``
v240-v244 ``Please enter passphrase for disk NAME: ``
v245+     … ``NAME: (press TAB for no echo) ``
v252+     ``Please enter <type> for disk NAME: …``, also a recovery key
verify    ``NAME! (verification) ``, later ``NAME (verification): ``
Debian    ``Please unlock disk NAME: `` (in the initial RAM disk)
========= ==========================================================

NAME is ``volume``, ``LABEL (volume)``, or either with `` on /mount/point``.
"""

import functools
import re
from dataclasses import dataclass

from bootwright.console.interleaved import AnyText, Name, Pattern

_PLEASE, _ENTER, _UNLOCK = "Please ", "enter ", "unlock disk "

ENTER, FOR_DISK = _PLEASE + _ENTER, " for disk "
"""The texts of systemd's question around the word for the secret, such as ``passphrase``."""

UNLOCK_DISK = _PLEASE + _UNLOCK
"""The text of the question of Debian's initial RAM disk, before the volume's name."""

# Both begin with the same word, outside the alternatives: the search for it is ten times as fast.
_START = re.compile(rf"{_PLEASE}(?:{_ENTER}(?P<secret>[^:!'\"]{{1,40}}?){FOR_DISK}|{_UNLOCK})")
# The shortest match is the name, because the text after the name may contain colons too.
_REST = re.compile(
    r"(?:(?P<bare>[\w.+\\-]+)|(?:(?!Please )[^!])*?\((?P<labelled>[^()]+)\))(?: on /[^\s:!]*)?"
    r"(?P<verify_before> \(verification\))?[:!](?P<verify_after> \(verification\))? "
    r"(?:\(press TAB for no echo\) )?(?:\(no echo\) )?"
)

_QUOTING = re.compile(
    # Inside quotation marks, an assignment, a file that is quoted; after a log's "unit[12]:".
    r"['\"`=|>:]$"
    # After the date of a log.
    r"|\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"
    # In the command line of the kernel, or in one that sudo logs.
    r"|(?i:command line)|bootargs|COMMAND="
    # After a shell's prompt: somebody types a command.
    r"|^(?:\[[^\]]*\]|\S{1,80})[#$%](?: |$)"
)
_END_OF_QUESTION = re.compile(r"(?:^|\s)disk [^:!'\"]{1,80}[:!]$")
_LOGIN = re.compile(
    r"(?:^|\s)(?!Last )[\w.-]+ login: $"
    # A shell: somebody is logged in already.
    r"|(?:^|\s)(?:\[?[\w.-]+@[\w.-]+[: ][^\s]*\]?|(?:ba)?sh-\d+\.\d+)[#$] $"
)
SECRET_WORDS = (
    r"passw|pass ?phrase|passcode|kennwort|wachtwoord|mot de passe|contrase|recovery key"
    r"|verification code|one-time|\botp\b|\bpin\b|\bpuk\b|\bpsk\b|\btokens?\b|\bsecret\b"
)
"""In a regular expression that ignores case: words by which programs ask for a secret."""

_SECRET_QUESTION = (
    rf"(?:(?i:{SECRET_WORDS})[^\n]{{0,100}}?[:!?]|[:!?] ?(?=\(press TAB for no echo\))"
    r"|press Control-D to continue\):)"
)
_ENDS_IN_SECRET_QUESTION = re.compile(
    _SECRET_QUESTION + r" *(?:\(press TAB for no echo\) ?)?(?:\(no echo\) ?)?$"
)
_HAS_SECRET_QUESTION = re.compile(_SECRET_QUESTION + r"(?=[\s\[(]|$)")
# A line without any of these words is no such question. Searching for them is much faster than
# matching the expressions above.
_MAY_ASK = (
    *("passw", "phrase", "passcode", "kennwort", "wachtwoord", "mot de", "contrase", "recovery"),
    *("verification", "one-time", "otp", "pin", "puk", "psk", "token", "secret", "press "),
)
# A piece of a disk's question, which may be a quotation, or interrupted.
_OF_A_DISK = re.compile(r"for disk |unlock disk ")
_LOCKS = "\N{LOCK WITH INK PEN}\N{CLOSED LOCK WITH KEY}"


@dataclass(frozen=True)
class Question:
    """A question for a passphrase on the line being printed.

    Attributes:
        start: where it begins in the line.
        volume: the volume's name.
        verification: it asks for a new passphrase a second time, to compare the two.
        systemd: systemd asks, and answers a TAB. Debian's initial RAM disk does not.
    """

    start: int
    volume: str
    verification: bool
    systemd: bool


def find_question(text: str) -> Question | None:
    """Return the question that ``text``, the line up to the cursor, ends in, or ``None``."""
    start = _last_start(text)
    if start is None or not may_begin(text[: start.start()]):
        return None
    rest = _REST.match(text, start.end())
    if rest is None or rest.end() != len(text):
        return None
    return Question(
        start=start.start(),
        volume=rest["bare"] or rest["labelled"],
        verification=bool(rest["verify_before"] or rest["verify_after"]),
        systemd=start["secret"] is not None,
    )


def may_begin(before: str) -> bool:
    """Return whether what follows ``before`` on the same line can be a program's own output.

    It cannot if ``before`` introduces a quotation: a log entry, a command line, a message.
    """
    earlier = _last_start(before)
    if earlier is None:
        words = before.rstrip().rstrip(_LOCKS).rstrip()
        # The colon at the end of a question introduces no quotation, also where other output
        # has separated that end from its beginning.
        return not _QUOTING.search(words[:-1] if _END_OF_QUESTION.search(words) else words)
    # Another question stands before it on the same line: systemd ends none with a line break.
    rest = _REST.match(before, earlier.end())
    after = before[(rest or earlier).end() :]
    return may_begin(after) and may_begin(before[: earlier.start()])


def _last_start(text: str) -> re.Match[str] | None:
    if _PLEASE not in text:
        return None
    return next(reversed(list(_START.finditer(text))), None)


@functools.lru_cache(maxsize=16)  # the line that waits is asked for at each read
def find_secret_question(text: str, *, finished: bool) -> str | None:
    """Return the question for a secret other than a disk's that is on a line, or ``None``.

    Args:
        text: the line as far as it is printed; only its last 200 characters matter.
        finished: the line has ended. Other output may stand after the question. Of a line that is
            being printed, the question has to be the end.
    """
    text = text[-200:]
    lower = text.lower()
    if not any(word in lower for word in _MAY_ASK):
        return None
    found = (_HAS_SECRET_QUESTION if finished else _ENDS_IN_SECRET_QUESTION).search(text)
    if found is None or _OF_A_DISK.search(text) or _QUOTING.search(text[: found.start()]):
        return None
    return text[: found.end()].strip()


def find_login(text: str) -> str | None:
    """Return the login or shell prompt that ``text``, the line up to the cursor, ends in."""
    found = _LOGIN.search(text[-100:])
    return found[0] if found else None


BEGUN = "begun"
"""A question for any disk has begun."""

SYSTEMD = "systemd"
"""The volume is asked for by systemd."""

INITRAMFS = "initramfs"
"""The volume is asked for by Debian's initial RAM disk, where a TAB is a character."""


_LABEL = AnyText(lambda char: char not in ":!'\"")
_MOUNT_POINT = AnyText(lambda char: char not in ":!'\" ")


def question_patterns(volume: str) -> list[tuple[str, Pattern]]:
    """Return the questions to find where other output interrupts them, each with its name.

    The names are :data:`BEGUN`, :data:`SYSTEMD` and :data:`INITRAMFS`.
    """
    patterns: list[tuple[str, Pattern]] = []
    starts: list[tuple[str, Pattern]] = [
        (SYSTEMD, (ENTER, _LABEL, FOR_DISK)),
        (INITRAMFS, (UNLOCK_DISK,)),
    ]
    for asker, start in starts:
        patterns.append((BEGUN, start))
        named = Name(volume)
        for name in ((named,), (_LABEL, " (", named, ")"), ("(", named, ")")):
            for mount in ((), (" on /", _MOUNT_POINT)):
                patterns += [(asker, (*start, *name, *mount, end)) for end in (": ", "! ")]
    return patterns
