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

# A wall message quotes the question; a real one never follows a quote.
_START = re.compile(r"(?<!['\"])Please (?:enter [^:!'\"]{1,40}? for|unlock) disk ")
_REST = re.compile(
    r"(?P<name>.+?)(?P<verify_before> \(verification\))?[:!](?P<verify_after> \(verification\))? "
    r"(?P<hint>\(press TAB for no echo\) )?(?P<hidden>\(no echo\) )?"
)
_NAME = re.compile(r"(?:(?:.* )?\((?P<labelled>[^()]+)\)|(?P<bare>\S+))(?: on /.*)?")


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
    if not starts:
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
