"""No echo of a secret comes through, however it was cut; everything else does."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.console.redact import PIECE, Redactor
from bootwright.core.secret import Secret

SECRET = b"correct horse battery"
RECORD = b"[   47.067120] EXT4-fs (vda1): mounted\r\n"
STATUS = b"[  OK  ] Started something.\r\n"


def redactor(*secrets: bytes) -> Redactor:
    made = Redactor()
    for secret in secrets:
        made.arm(Secret(secret))
    return made


def through(data: bytes, *secrets: bytes, cuts: tuple[int, ...] = ()) -> bytes:
    made = redactor(*secrets or (SECRET,))
    places = [0, *sorted(cuts), len(data)]
    done = b"".join(made.feed(data[a:b]) for a, b in pairwise(places))
    return done + made.flush()


def test_nothing_is_held_or_changed_before_a_secret_is_armed() -> None:
    assert redactor().feed(b"correct horse ") == b"correct horse "


@pytest.mark.parametrize(
    ("data", "masked"),
    [
        (SECRET, b"***"),
        (b"\r\n[  OK  ] Finished it.\r\n", b"\r\n[  OK  ] Finished it.\r\n"),
        (b": " + SECRET + b"\r\nok\r\n", b"***\r\nok\r\n"),
        (SECRET[1:] + b"\r\n", b"***\r\n"),
        (SECRET[:9] + RECORD + SECRET[9:] + b"\r\n", b"***\r\n***\r\n"),
        (SECRET[:4] + STATUS + RECORD + SECRET[4:9] + RECORD + SECRET[9:], b"***\r\n" + RECORD
         + b"***" + RECORD + b"***"),
        (b"cor\0rect \x1b[0mhorse \rbattery\r\n", b"***\r\n"),
        # It stopped in the middle: the board was switched off.
        (b"correct ho\r\nU-Boot 2020.01\r\n", b"***\r\nU-Boot 2020.01\r\n"),
        (b"correct ho", b"***"),
        # Later, and not at a line's beginning, it is a whole or nothing.
        (b"\r\nthe correct way\r\nsh: " + SECRET + b": not found\r\n", b"\r\nthe correct way\r\n"
         b"sh: ***: not found\r\n"),
    ],
)  # fmt: skip
def test_echoes(data: bytes, masked: bytes) -> None:
    assert through(data) == masked
    made = redactor(SECRET)
    one_by_one = b"".join(made.feed(bytes([byte])) for byte in data) + made.flush()
    assert one_by_one == masked


def test_several_secrets() -> None:
    assert through(b"\r\nhorse: correct horse\r\n", b"horse", b"correct horse") == (
        b"\r\n***: ***\r\n"
    )


def test_an_echo_is_expected_for_some_lines() -> None:
    made = redactor(SECRET)
    assert made.expects_echo
    made.feed(b"line\r\n" * 10)
    assert not made.expects_echo
    made.arm(Secret(SECRET))
    assert made.expects_echo


def test_a_line_without_end_is_not_held_for_ever() -> None:
    assert redactor(SECRET).feed(b"x" * 10_000) == b"x" * 10_000


tears = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([RECORD, STATUS])), max_size=2)


@given(
    secret=st.text("abcdefgh XYZ_!9", min_size=6, max_size=20).map(str.encode),
    cut_in=tears,
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_no_chunking_and_no_tear_lets_a_piece_through(
    secret: bytes, cut_in: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    echo = secret
    for place, line in sorted(cut_in, key=lambda item: item[0], reverse=True):
        place = min(place, len(secret) - 1)
        echo = echo[:place] + line + echo[place:]
    data = echo + b"\r\nnext\r\n"
    shown = through(data, secret, cuts=tuple(min(cut, len(data)) for cut in cuts))
    assert shown == through(data, secret)
    for foreign in (RECORD, STATUS, b"next\r\n"):
        # What is left of several pieces, each too short to be masked, is not one piece.
        shown = shown.replace(foreign, b"\n")
    pieces = [secret[at : at + PIECE + 1] for at in range(len(secret) - PIECE)]
    assert not [piece for piece in pieces if piece in shown]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_chunks_do_not_matter(data: bytes, cuts: list[int]) -> None:
    assert through(data, b"\x01ab#", cuts=tuple(min(cut, len(data)) for cut in cuts)) == through(
        data, b"\x01ab#"
    )
