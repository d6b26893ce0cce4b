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

import re
from dataclasses import dataclass

from bootwright.console.interleaved import Any_, Name, Pattern

_START = re.compile(r"Please (?P<verb>enter [^:!'\"]{1,40}? for|unlock) disk ")
# The name that ends first is the name: what follows may hold colons of its own.
_REST = re.compile(
    r"(?:(?P<bare>[\w.+\\-]+)|(?:(?!Please )[^!])*?\((?P<labelled>[^()]+)\))(?: on /[^\s:!]*)?"
    r"(?P<verify_before> \(verification\))?[:!](?P<verify_after> \(verification\))? "
    r"(?:\(press TAB for no echo\) )?(?:\(no echo\) )?"
)

_QUOTING = re.compile(
    r"['\"`=|>:]$"  # in a wall message, an assignment, a file, after a log's "unit[12]:"
    r"|\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"  # a log
    r"|(?i:command line)|bootargs|COMMAND="  # the kernel's, sudo's
    r"|^(?:\[[^\]]*\]|\S{1,80})[#$%](?: |$)"  # a command that is being typed
)
_TORN_QUESTION = re.compile(r"(?:^|\s)disk [^:!'\"]{1,80}[:!]$")
_LOGIN = re.compile(
    r"(?:^|\s)(?!Last )[\w.-]+ login: $"
    # A shell: somebody is logged in already.
    r"|(?:^|\s)(?:\[?[\w.-]+@[\w.-]+[: ][^\s]*\]?|(?:ba)?sh-\d+\.\d+)[#$] $"
)
_LOCKS = "\N{LOCK WITH INK PEN}\N{CLOSED LOCK WITH KEY}"


@dataclass(frozen=True)
class Question:
    """A question for a passphrase on the line being printed.

    Attributes:
        start: where it begins in the line.
        volume: the volume's name.
        verification: it asks for the passphrase a second time, to set a new one.
        systemd: systemd asks, which answers a TAB; Debian's initial RAM disk does not.
    """

    start: int
    volume: str
    verification: bool
    systemd: bool


@dataclass
class Asked:
    """The question that the terminal belongs to: the last one that has begun.

    Attributes:
        number: the line that it ends in.
        end: where it ends there.
        ours: it asks for our volume's passphrase; ``None`` until that is known.
        answered: what is printed next is the verdict, or another question.
    """

    number: int
    end: int
    ours: bool | None = None
    answered: bool = False


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
        systemd=start["verb"] != "unlock",
    )


def may_begin(before: str) -> bool:
    """Say whether what comes after ``before`` on the same line can be a program's own words.

    It cannot where ``before`` introduces a quotation: a log, a command line, a message.
    """
    earlier = _last_start(before)
    if earlier is None:
        words = before.rstrip().rstrip(_LOCKS).rstrip()
        # The end of a question, whose beginning was torn off.
        return not _QUOTING.search(words[:-1] if _TORN_QUESTION.search(words) else words)
    # A question ends in a colon, and in no line break.
    rest = _REST.match(before, earlier.end())
    after = before[(rest or earlier).end() :]
    return may_begin(after) and may_begin(before[: earlier.start()])


def _last_start(text: str) -> re.Match[str] | None:
    return next(reversed(list(_START.finditer(text))), None)


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


def question_patterns(volume: str) -> list[tuple[str, Pattern]]:
    """Return what to look for in a console that tears lines; named as above."""
    label = Any_(lambda char: char not in ":!'\"")
    place = Any_(lambda char: char not in ":!'\" ")
    patterns: list[tuple[str, Pattern]] = []
    starts: list[tuple[str, Pattern]] = [
        (SYSTEMD, ("Please enter ", Any_(lambda char: char not in ":!'\""), " for disk ")),
        (INITRAMFS, ("Please unlock disk ",)),
    ]
    for asker, start in starts:
        patterns.append((BEGUN, start))
        named = Name(volume)
        for name in ((named,), (label, " (", named, ")"), ("(", named, ")")):
            for mount in ((), (" on /", place)):
                patterns += [(asker, (*start, *name, *mount, end)) for end in (": ", "! ")]
    return patterns
