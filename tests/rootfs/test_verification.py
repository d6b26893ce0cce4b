"""Which checks a tarball has to pass, and which tarballs are refused."""

import pytest

from bootwright.core.errors import InputError, RefusedError
from bootwright.rootfs.gpg_status import GpgVerdict
from bootwright.rootfs.verification import (
    Checks,
    DownloadRecord,
    Verdict,
    check_pin,
    choose_checks,
    evaluate,
    is_still_verified,
    parse_digest,
    signature_obstacle,
)

PIN = "ab" * 32
KEY = "68B3537F39A313B3E574D06777193F152BDBE6A6"
GOOD, BAD = GpgVerdict(True, "signed"), GpgVerdict(False, "altered")


@pytest.mark.parametrize(
    ("published", "signing_key", "has_key", "why"),
    [
        (True, KEY, True, None),
        (True, KEY, False, "could not be obtained"),
        (True, None, False, "no signing key is pinned"),
        (False, KEY, True, "no signature is published"),
    ],
)
def test_why_a_signature_cannot_be_checked(
    published: bool, signing_key: str | None, has_key: bool, why: str | None
) -> None:
    obstacle = signature_obstacle(published, signing_key, has_key)
    assert (obstacle is None) if why is None else (obstacle is not None and why in obstacle)


@pytest.mark.parametrize(
    ("pin", "obstacle", "operator", "unverified", "expected"),
    [
        (None, None, False, False, Checks(None, True, "none")),
        (None, None, False, True, Checks(None, True, "none")),
        (PIN, None, False, False, Checks(PIN, True, "none")),
        (PIN, "no signature", False, False, Checks(PIN, False, "none")),
        (None, "no signature", False, True, Checks(None, False, "none")),
        (None, "no signature", True, False, Checks(None, False, "operator")),
        (PIN, None, True, False, Checks(PIN, True, "operator")),
        (None, "no signature", False, False, None),
    ],
)
def test_which_checks_are_chosen(
    pin: str | None,
    obstacle: str | None,
    operator: bool,
    unverified: bool,
    expected: Checks | None,
) -> None:
    if expected is None:
        with pytest.raises(RefusedError, match=r"no signature, and the target pins no SHA-256"):
            choose_checks(pin, obstacle, operator=operator, unverified=unverified, what="it")
        return
    got = choose_checks(pin, obstacle, operator=operator, unverified=unverified, what="it")
    assert got == expected


@pytest.mark.parametrize(
    ("checks", "sha256", "signature", "expected"),
    [
        (Checks(None, True, "none"), PIN, GOOD, Verdict("signature", KEY)),
        (Checks(PIN, True, "none"), PIN, GOOD, Verdict("pin", KEY)),
        (Checks(PIN, False, "none"), PIN, None, Verdict("pin")),
        (Checks(None, False, "none"), PIN, None, Verdict("none")),
        (Checks(None, False, "operator"), PIN, None, Verdict("operator")),
        (Checks(None, True, "operator"), PIN, GOOD, Verdict("signature", KEY)),
        (Checks(None, True, "none"), PIN, BAD, "altered"),
        (Checks(PIN, True, "none"), PIN, BAD, "altered"),
        (Checks(None, True, "operator"), PIN, BAD, "altered"),
        (Checks(None, True, "none"), PIN, None, "was not checked"),
        (Checks(PIN, True, "none"), "cd" * 32, GOOD, "not the file that the target pins"),
        (Checks(PIN, False, "operator"), "cd" * 32, None, "not the file that the target pins"),
    ],
)
def test_how_a_file_is_verified(
    checks: Checks, sha256: str, signature: GpgVerdict | None, expected: Verdict | str
) -> None:
    if isinstance(expected, str):
        with pytest.raises(RefusedError, match=expected):
            evaluate(checks, sha256, signature, KEY, "it")
    else:
        assert evaluate(checks, sha256, signature, KEY, "it") == expected


@pytest.mark.parametrize(
    ("signer", "pin", "signing_key", "expected"),
    [
        (KEY, None, KEY, True),
        (KEY, PIN, None, True),
        (None, PIN, KEY, True),
        (None, None, KEY, False),
        (None, None, None, False),
        (KEY, None, "0" * 40, False),
        (KEY, "cd" * 32, KEY, False),
    ],
)
def test_whether_an_older_check_is_enough_for_a_target(
    signer: str | None, pin: str | None, signing_key: str | None, expected: bool
) -> None:
    record = DownloadRecord(
        url="u", sha256=PIN, size=1, verified_by="none", signer=signer, date="d"
    )
    assert is_still_verified(record, pin, signing_key) is expected


@pytest.mark.parametrize("wrong", ["", "ab", "g" * 64, PIN + "0", f"sha256:{PIN}"])
def test_a_pin_that_is_not_a_digest_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        check_pin(wrong)


def test_a_pin_may_be_in_upper_or_lower_case() -> None:
    assert check_pin(f" {PIN.upper()}\n") == PIN
    assert check_pin(None) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("D41D8CD98F00B204E9800998ECF8427E  file.tar.gz\n", "d41d8cd98f00b204e9800998ecf8427e"),
        (f"{PIN} *file", PIN),
        ("MD5 (file) = d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e"),
        ("<html>404</html>", None),
        ("", None),
    ],
)
def test_the_digest_is_found_in_a_digest_file(text: str, expected: str | None) -> None:
    assert parse_digest(text) == expected
