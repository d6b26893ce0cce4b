"""GnuPG's status lines, as gpg 2.2.40 wrote them for keys made by a test."""

import pytest

from bootwright.rootfs.gpg_status import (
    Signature,
    evaluate_signatures,
    parse_imported,
    parse_signatures,
)

PINNED = "68B3537F39A313B3E574D06777193F152BDBE6A6"
OTHER = "0123456789ABCDEF0123456789ABCDEF01234567"
SUBKEY = "FEDCBA9876543210FEDCBA9876543210FEDCBA98"

NEW = "[GNUPG:] NEWSIG\n"
GOOD = "[GNUPG:] GOODSIG 77193F152BDBE6A6 Some Body <some@body>\n"


def valid(key: str, primary: str | None = None) -> str:
    fields = f"{key} 2026-01-02 1767312000 0 4 0 22 10 00"
    return f"[GNUPG:] VALIDSIG {fields} {primary or key}\n"


@pytest.mark.parametrize(
    ("status", "good", "why"),
    [
        (NEW + GOOD + valid(PINNED) + "[GNUPG:] TRUST_UNDEFINED 0\n", True, "signed by"),
        (NEW + GOOD + valid(SUBKEY, PINNED), True, "signed by"),
        ("gpg: Good signature\n" + GOOD + "[GNUPG:]\n" + valid(PINNED), True, "signed by"),
        (NEW + GOOD + valid(OTHER), False, f"by {OTHER}: not the pinned key"),
        (NEW + GOOD + valid(PINNED, OTHER), False, "not the pinned key"),
        (NEW + GOOD, False, "does not call it valid"),
        (NEW + valid(PINNED), False, "contains no signature"),
        (NEW + "[GNUPG:] BADSIG 77193F152BDBE6A6 Some Body\n", False, "not what was signed"),
        (NEW + "[GNUPG:] EXPKEYSIG 77193F152BDBE6A6 X\n" + valid(PINNED), False, "key has expired"),
        (NEW + "[GNUPG:] EXPSIG 77193F152BDBE6A6 X\n" + valid(PINNED), False, "has expired"),
        (NEW + "[GNUPG:] REVKEYSIG 77193F152BDBE6A6 X\n" + valid(PINNED), False, "is revoked"),
        (
            NEW + "[GNUPG:] ERRSIG 77193F152BDBE6A6 22 10 00 1767312000 9 -\n"
            "[GNUPG:] NO_PUBKEY 77193F152BDBE6A6\n",
            False,
            "another key than the pinned",
        ),
        (NEW + "[GNUPG:] ERRSIG 77193F152BDBE6A6 22 10 00 1 4 -\n", False, "cannot be checked"),
        ("[GNUPG:] NODATA 4\n", False, "contains no signature"),
        ("", False, "contains no signature"),
        ("gpg: [GNUPG:] GOODSIG 1 x\n", False, "contains no signature"),
        (NEW + GOOD + valid(PINNED) + NEW + GOOD + valid(OTHER), True, "signed by"),
        (NEW + GOOD + valid(PINNED) + NEW + "[GNUPG:] BADSIG 1 X\n", False, "not what was signed"),
    ],
)
def test_which_signatures_are_accepted(status: str, good: bool, why: str) -> None:
    verdict = evaluate_signatures(parse_signatures(status), PINNED)
    assert verdict.good is good
    assert why in verdict.why


def test_a_valid_line_without_primary_is_about_the_primary_key_itself() -> None:
    status = GOOD + f"[GNUPG:] VALIDSIG {PINNED} 2026-01-02 1767312000\n"
    assert parse_signatures(status) == (Signature("good", "77193F152BDBE6A6", PINNED),)


def test_imported_keys() -> None:
    status = (
        "[GNUPG:] KEY_CONSIDERED 00 0\n"
        "[GNUPG:] IMPORTED 77193F152BDBE6A6 Some Body\n"
        f"[GNUPG:] IMPORT_OK 1 {PINNED}\n"
        f"[GNUPG:] IMPORT_OK 0 {OTHER}\n"
        "[GNUPG:] IMPORT_RES 2 0 1 0 0 0 0 0 0 0 0 0 0 0 0\n"
    )
    assert parse_imported(status) == (PINNED, OTHER)
    assert parse_imported("[GNUPG:] NODATA 1\n") == ()
