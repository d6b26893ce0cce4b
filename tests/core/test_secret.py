"""A secret cannot be printed by accident, and a passphrase is checked without printing it."""

import json
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.core.errors import InputError
from bootwright.core.file_changes import FileChange
from bootwright.core.passphrase import MAX_BYTES, check_passphrase
from bootwright.core.secret import Secret

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
