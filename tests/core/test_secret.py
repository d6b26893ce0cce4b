"""A secret cannot be printed by accident, and a passphrase is checked without printing it."""

import json
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.core.errors import FailedError, InputError
from bootwright.core.file_changes import FileChange
from bootwright.core.passphrase import MAX_BYTES, check_passphrase
from bootwright.core.secret import Secret, mask
from bootwright.core.text import sanitize_line

WORD = "correct horse"


def test_printing_a_secret_never_shows_it() -> None:
    secret = Secret(WORD.encode())
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r:>9}", f"{[secret]}"]
    shown.append(repr(FileChange("/etc/shadow", secret)))
    assert not any(WORD in text for text in shown)


def test_a_secret_cannot_be_pickled_or_dumped() -> None:
    secret = Secret(WORD.encode())
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps({"secret": secret})


@given(st.binary(min_size=1, max_size=600))
def test_a_passphrase_is_kept_whole_or_refused_without_being_shown(raw: bytes) -> None:
    try:
        secret = check_passphrase(raw, "a file")
    except InputError as error:
        assert len(raw) < 6 or repr(raw)[2:-1] not in str(error)
    else:
        assert secret.reveal() == raw.removesuffix(b"\n").removesuffix(b"\r")
        assert all(byte >= 0x20 and byte != 0x7F for byte in secret.reveal())


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"tab\tinside", "control character"),
        (b"two\nlines\n", "control character"),
        (b"nul\0", "control character"),
        (b"x" * (MAX_BYTES + 1), "longer than 511"),
    ],
)
def test_characters_that_cannot_be_typed_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_passphrase(raw, "a file")


def test_a_traceback_does_not_show_a_secret() -> None:
    try:
        check_passphrase(f"{WORD}\t".encode(), "a file")
    except InputError as error:
        assert WORD not in "".join(traceback.format_exception(error)).replace("{WORD}", "")


@pytest.mark.parametrize(
    "word",
    [
        "geheim wort 12",
        "geheim\u00a0wort",
        "abc\u0085def\u0085ghi",
        "abc\u2028def\u2028ghi",
        "ends in a blank ",
        " begins with one",
        'it\'s "quoted" $(here)',
    ],
)
def test_a_secret_is_masked_however_a_message_quotes_it(word: str) -> None:
    secret = Secret(word.encode())
    quoted = [
        word,
        word.strip(),
        repr(word),
        repr(word.encode()),
        json.dumps(word),
        sanitize_line(word),
    ]
    assert [text for text in quoted if len(mask(f"<{text}>")) > len('<"***">') + 4] == []
    del secret


def test_an_error_that_quotes_a_board_has_no_secret() -> None:
    secret = Secret(b"sudo-geheim-1")
    error = FailedError("pc: the answer was cut short, it is: 'sudo-geheim-1'")
    assert str(error) == "pc: the answer was cut short, it is: '***'"
    assert "geheim" not in "".join(traceback.format_exception(error))
    del secret
