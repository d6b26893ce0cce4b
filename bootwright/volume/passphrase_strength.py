"""Whether a new passphrase of the volume is easy to guess. Pure."""

from collections.abc import Iterable

from bootwright.core.secret import Secret

SAFE_GUESSES = 10**12
"""How many guesses a passphrase has to withstand.

Whoever has the card guesses as fast as their machines compute Argon2id with 64 MiB. At an assumed
10,000 guesses in a second, which takes several large graphics cards, these are three years.
"""

MAX_LENGTH = 72
"""Characters that are examined: the library's own limit. What follows only makes it stronger."""

WEAK = (
    "this passphrase is easy to guess for somebody who has the card, because the guessing is then"
    " done on other machines and as often as they like. Better are five or more words chosen at"
    " random; 'inv passphrase TARGET change' sets another one"
)
"""The warning. It does not say why, because warnings are written to the log of the run."""


def is_weak(passphrase: Secret, known: Iterable[str] = ()) -> bool:
    """Return whether fewer than :data:`SAFE_GUESSES` guesses find the passphrase.

    The estimate is that of zxcvbn: common passwords, words, names, dates, keyboard patterns and
    repetitions count for little (Wheeler, "zxcvbn: Low-Budget Password Strength Estimation",
    USENIX Security 2016).

    Args:
        passphrase: the new passphrase.
        known: words that an attacker knows, such as the board's name.
    """
    from zxcvbn import zxcvbn  # Late, because it reads its lists of words.

    text = passphrase.reveal().decode("utf-8", "replace")[:MAX_LENGTH]
    words = [word for word in known if word]
    return bool(zxcvbn(text, user_inputs=words, max_length=MAX_LENGTH)["guesses"] < SAFE_GUESSES)
