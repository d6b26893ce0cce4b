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

from bootwright.console.torn import Any_, Pattern

_START = re.compile(r"Please (?:enter [^:!'\"]{1,40}? for|unlock) disk ")
_REST = re.compile(
    r"(?P<name>.+?)(?P<verify_before> \(verification\))?[:!](?P<verify_after> \(verification\))? "
    r"(?P<hint>\(press TAB for no echo\) )?(?P<hidden>\(no echo\) )?"
)
_NAME = re.compile(r"(?:(?:.* )?\((?P<labelled>[^()]+)\)|(?P<bare>\S+))(?: on /.*)?")

_QUOTING = re.compile(
    r"['\"`=|>]\s*$"  # in a wall message, an assignment, a file
    r"|:\s+$"  # after a log's "unit[12]: "
    r"|(?i:command line)|bootargs"  # the kernel's
    r"|^(?:\[[^\]]*\]|\S{1,80})[#$%] "  # a command that is being typed
)


@dataclass(frozen=True)
class Question:
    """A question for a passphrase on the line being printed.

    Attributes:
        start: where it begins in the line.
        volume: the volume's name; the whole NAME if it has another form.
        verification: it asks for the passphrase a second time, to set a new one.
        tab_hint: it offers TAB to hide the length.
    """

    start: int
    volume: str
    verification: bool
    tab_hint: bool


def find_question(text: str) -> Question | None:
    """Return the question that ``text``, the line up to the cursor, ends in, or ``None``."""
    starts = list(_START.finditer(text))
    if not starts or not may_begin(text[: starts[-1].start()]):
        return None
    rest = _REST.fullmatch(text, starts[-1].end())
    if rest is None:
        return None
    name = _NAME.fullmatch(rest["name"])
    return Question(
        start=starts[-1].start(),
        volume=(name["labelled"] or name["bare"]) if name else rest["name"],
        verification=bool(rest["verify_before"] or rest["verify_after"]),
        tab_hint=bool(rest["hint"]),
    )


def may_begin(before: str) -> bool:
    """Say whether what comes after ``before`` on the same line can be a program's own words.

    It cannot where ``before`` introduces a quotation: a log, a command line, a message.
    """
    # The question for another disk ends in a colon, and no line break.
    earlier = list(_START.finditer(before))
    return not _QUOTING.search(before[: earlier[-1].start()] if earlier else before)


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
        for name in ((volume,), (label, f" ({volume})"), (f"({volume})",)):
            for mount in ((), (" on /", place)):
                patterns += [(asker, (*start, *name, *mount, end)) for end in (": ", "! ")]
    return patterns
