"""Which new passphrases are called easy to guess."""

import pytest

from bootwright.core.secret import Secret
from bootwright.volume.passphrase_strength import WEAK, is_weak


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "12345678",
        "geheim123456",
        "Passw0rd!",
        "qwertzuiop",
        "2026-11-30",
        "aB3" * 60,
        "odroid1",
    ],
)
def test_passphrases_that_are_easy_to_guess(text: str) -> None:
    assert is_weak(Secret(text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        "correct horse battery staple",
        "lk3jhrfdw9e8u",
        "Grüße aus dem Ðorf ☃",
        "kv7 " * 2 + "x9Lq2#wPz0",
    ],
)
def test_passphrases_that_are_not(text: str) -> None:
    assert not is_weak(Secret(text.encode()))


def test_a_long_passphrase_and_one_that_is_not_utf_8_are_examined() -> None:
    assert not is_weak(Secret(b"correct horse battery staple " * 17))
    assert is_weak(Secret(b"\xff\xfe"))


def test_what_an_attacker_knows_does_not_make_it_stronger() -> None:
    text = Secret(b"Zugspitzkamera7")
    assert not is_weak(text)
    assert is_weak(text, ("", "zugspitzkamera"))


def test_the_warning_does_not_describe_the_passphrase() -> None:
    assert WEAK.isascii() and not any(character.isdigit() for character in WEAK)
